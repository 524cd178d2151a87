from velora_sb3.cli.errors import UserError, reason, unknown


def test_the_message_is_one_line():
    assert str(UserError("first\n  second\n")) == "first second"


def test_unknown_names_all_choices():
    assert str(unknown("fruit", "aple", {"pear", "apple"})) == (
        "unknown fruit 'aple': did you mean 'apple'? choose from apple, pear"
    )


def test_an_exception_without_words_gives_its_name():
    assert reason(AssertionError()) == "AssertionError"
    assert reason(ValueError("why")) == "why"
