from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import dataclass

import pytest

from velora_sb3.cli.errors import UserError
from velora_sb3.cli.options import add_options, check_values, given_options, integer, option, positive, seed


@dataclass
class Settings:
    name: str = option("a name")
    size: int = option("a size (default: {default})", default=3, least=1, below=10)
    rate: float | None = option("a rate", default=None, metavar="HZ", group="more")
    kind: str | None = option("a kind", default=None, choices=("a", "b"), group="more")
    parts: list[str] = option("parts", default_factory=list)
    extra_kwargs: dict[str, object] = option("a mapping", default_factory=dict)
    hidden: int = 0


def parse(*argv):
    parser = ArgumentParser(prog="x", exit_on_error=False)
    add_options(parser, Settings)
    return given_options(parser.parse_args(argv), Settings)


@pytest.mark.parametrize(("text", "number"), [("20", 20), ("20_000", 20_000), ("2e4", 20_000), ("-3", -3)])
def test_integers(text, number):
    assert integer()(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "inf", "nan"])
def test_what_is_no_integer(text):
    with pytest.raises(ArgumentTypeError, match="not an integer"):
        integer()(text)


def test_limits():
    assert positive("1") == 1
    assert integer(0)("0") == 0
    assert seed(str(2**31 - 1)) == 2**31 - 1
    for read, text in [(positive, "0"), (integer(0), "-1"), (seed, "-1"), (seed, str(2**31))]:
        with pytest.raises(ArgumentTypeError, match="must be"):
            read(text)


def test_only_what_is_given_is_returned():
    assert parse() == {}
    given = parse("--name", "n", "--size", "2e0", "--rate", "1", "--parts", "a", "b", "--extra-kwargs", "{c: 1}")
    assert given == {"name": "n", "size": 2, "rate": 1.0, "parts": ["a", "b"], "extra_kwargs": {"c": 1}}


def test_help_has_defaults_and_groups():
    parser = ArgumentParser(prog="x")
    add_options(parser, Settings)
    text = " ".join(parser.format_help().split())
    assert "a size (default: 3)" in text
    assert text.endswith("more: --rate HZ a rate --kind {a,b} a kind")
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "'name' is missing"),
        ({"sise": 1}, "unknown entry 'sise': did you mean 'size'"),
        ({"name": 1}, "name must be a string, got 1"),
        ({"size": True}, "size must be an integer, got True"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"size": 10}, "size must be below 10, got 10"),
        ({"rate": "x"}, "rate must be a number or null, got 'x'"),
        ({"kind": "c"}, "kind must be one of a, b, got 'c'"),
        ({"parts": ["a", 1]}, "parts must be a list, got"),
    ],
)
def test_values_of_a_file(values, told):
    with pytest.raises(UserError, match=told):
        check_values({"name": "n", **values} if values else values, Settings, "a.json")


def test_values_that_fit():
    values = {"name": "n", "rate": 1, "kind": None, "extra_kwargs": {}, "hidden": 1}
    assert check_values(values, Settings, "a.json") == values


def test_whole_numbers_in_powers_of_ten_are_integers():
    checked = check_values({"name": "n", "size": 5e0, "rate": 1e3}, Settings, "a.json")
    assert (type(checked["size"]), type(checked["rate"])) == (int, float)
    with pytest.raises(UserError, match="size must be an integer, got 5.5"):
        check_values({"name": "n", "size": 5.5}, Settings, "a.json")
