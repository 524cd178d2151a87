from argparse import ArgumentTypeError

import pytest

from velora_sb3.cli.argument_types import positive, seed, whole_number, zero_or_more


@pytest.mark.parametrize(("text", "number"), [("20", 20), ("20_000", 20_000), ("2e4", 20_000), ("-3", -3)])
def test_whole_numbers(text, number):
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "inf", "nan"])
def test_what_is_none(text):
    with pytest.raises(ArgumentTypeError, match="not a whole number"):
        whole_number(text)


def test_bounds():
    assert positive("1") == 1
    assert zero_or_more("0") == 0
    assert seed(str(2**31 - 1)) == 2**31 - 1
    for read, text in [(positive, "0"), (zero_or_more, "-1"), (seed, "-1"), (seed, str(2**31))]:
        with pytest.raises(ArgumentTypeError, match="must be"):
            read(text)
