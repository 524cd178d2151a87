import re

import numpy as np
import pytest

from velora_sb3.callbacks.arguments import number, whole_number


def test_what_is_right_comes_back():
    assert whole_number("count", 3) == 3
    assert whole_number("count", 0, least=0) == 0
    assert (number("rate", np.float32(0.5), above=0), number("rate", 1, most=1)) == (0.5, 1.0)
    assert number("rate", 0, least=0) == 0.0


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "2", None])
def test_a_count_that_is_none(value):
    with pytest.raises(ValueError, match=f"count must be a whole number of at least 1, got {value!r}"):
        whole_number("count", value)


@pytest.mark.parametrize("value", [0, 1.1, -1, True, float("nan"), float("inf"), "0.5", None, 1j])
def test_a_quantity_that_is_none(value):
    with pytest.raises(ValueError, match=re.escape(f"rate must be a number above 0 and of at most 1, got {value!r}")):
        number("rate", value, above=0, most=1)
