import re

import numpy as np
import pytest

from velora_sb3._validation import check_bool, check_choice, check_integer, check_number, check_timesteps, suggestion


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_an_integer_comes_back_as_pythons(value):
    assert type(check_integer("count", value)) is int
    assert check_integer("count", value) == 3


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5)])
def test_a_number_comes_back_as_a_float(value):
    assert type(check_number("rate", value, above=0)) is float
    assert check_number("rate", value, above=0) == 0.5


def test_limits_belong_to_the_range_unless_they_are_strict():
    assert check_integer("count", 0, least=0) == 0
    assert check_integer("count", 5, most=5) == 5
    assert (check_number("rate", 0, least=0), check_number("rate", 1, most=1)) == (0.0, 1.0)
    for limits in ({"above": 1}, {"below": 1}):
        with pytest.raises(ValueError, match="rate must be a finite number"):
            check_number("rate", 1, **limits)


@pytest.mark.parametrize("value", [0, -1, True, np.True_, 2.0, "2", None])
def test_what_is_no_count(value):
    with pytest.raises(ValueError, match=re.escape(f"count must be an integer of at least 1, got {value!r}")):
        check_integer("count", value)


def test_timesteps_may_be_written_as_a_float():
    for value in (1e6, 1_000_000, np.float64(1e6), np.int64(10**6)):
        checked = check_timesteps("every_n_timesteps", value)
        assert (checked, type(checked)) == (10**6, int)
    for value in (1.5, 0.0, -1e3, float("nan"), float("inf"), np.float64(0.5), True, "1e6", None):
        with pytest.raises(ValueError, match="every_n_timesteps must be an integer of at least 1, got "):
            check_timesteps("every_n_timesteps", value)


def test_a_count_above_its_limit():
    with pytest.raises(ValueError, match="day must be an integer from 0 to 4, got 5"):
        check_integer("day", 5, least=0, most=4)


@pytest.mark.parametrize("value", [0, 1.1, -1, True, float("nan"), float("inf"), "0.5", None, 1j])
def test_what_is_no_quantity(value):
    wanted = f"rate must be a finite number above 0 and at most 1, got {value!r}"
    with pytest.raises(ValueError, match=re.escape(wanted)):
        check_number("rate", value, above=0, most=1)


def test_a_switch():
    assert check_bool("on", True) is True
    assert check_bool("on", np.bool_(False)) is False
    for value in (1, None, "yes"):
        with pytest.raises(ValueError, match=f"on must be True or False, got {value!r}"):
            check_bool("on", value)


def test_a_choice():
    assert check_choice("mode", "max", ("min", "max")) == "max"
    for value in ("mean", None, ["max"]):
        with pytest.raises(ValueError, match=re.escape(f"mode must be one of 'min', 'max', got {value!r}")):
            check_choice("mode", value, ("min", "max"))


def test_close_names_are_suggested_whatever_their_case():
    assert suggestion("mlppolcy", ["MlpPolicy", "Other"]) == "did you mean 'MlpPolicy'? "
    assert suggestion("zzz", ["MlpPolicy"]) == ""
