import numpy as np
import pytest

from velora_sb3.callbacks.hooks.reductions import new_reduction


def pushed(values, reduce=None, window=None, ema_coeff=None, clear_on_reduce=None):
    reduction = new_reduction("x", reduce, window, ema_coeff, clear_on_reduce)
    for value in values:
        reduction.push(value)
    return reduction


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({}, 2.5),
        ({"window": 2}, 3.0),
        ({"reduce": "min"}, 1.0),
        ({"reduce": "min", "window": 2}, 2.0),
        ({"reduce": "max"}, 4.0),
        ({"reduce": "max", "window": 1}, 2.0),
        ({"reduce": "sum"}, 10.0),
        ({"reduce": "sum", "window": 3}, 9.0),
        ({"reduce": "lifetime_sum"}, 10.0),
        ({"ema_coeff": 0.25}, 2.09375),
        ({"reduce": "mean", "ema_coeff": 0.25}, 2.09375),
        ({"reduce": "item"}, 2.0),
        ({"reduce": "item_series", "window": 3}, [3.0, 4.0, 2.0]),
    ],
)
def test_values_become_one(settings, value):
    assert pushed([1.0, 3.0, 4.0, 2.0], **settings).peek() == value


def test_the_usual_moving_average():
    assert pushed([2.0, 3.0], "ema").peek() == pytest.approx(0.99 * 2 + 0.01 * 3)


@pytest.mark.parametrize(
    ("settings", "after"),
    [
        ({}, 5.0),
        ({"clear_on_reduce": False}, 3.0),
        ({"window": 2}, 4.0),
        ({"window": 2, "clear_on_reduce": True}, 5.0),
        ({"reduce": "sum"}, 5.0),
        ({"reduce": "lifetime_sum"}, 9.0),
        ({"reduce": "max"}, 5.0),
        ({"ema_coeff": 0.5}, 3.5),
        ({"reduce": "item_series"}, [5.0]),
        ({"reduce": "item_series", "clear_on_reduce": False}, [5.0]),
    ],
)
def test_what_is_forgotten_after_a_row(settings, after):
    reduction = pushed([1.0, 3.0], **settings)
    reduction.clear()
    assert not reduction.fresh
    reduction.push(5.0)
    assert reduction.fresh and reduction.peek() == after


def test_without_values_since_it_tells_what_was_written():
    reduction = pushed([1.0, 3.0])
    reduction.clear()
    assert reduction.peek() == 2.0
    assert new_reduction("x", None, None, None, None).peek() is None


@pytest.mark.parametrize("settings", [{}, {"reduce": "ema"}, {"reduce": "max", "window": 5}])
def test_memory_is_bounded(settings):
    assert len(pushed(range(1000), **settings).latest) <= 5


@pytest.mark.parametrize("settings", [{}, {"window": 3}])
@pytest.mark.parametrize("value", [np.zeros((2, 3)), "text", None])
def test_numbers_are_needed(settings, value):
    with pytest.raises(TypeError, match="x: reduce='mean' needs a number, got an? .* pass reduce='item'"):
        pushed([value], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduce": "median"}, "one of mean, min"),
        ({"window": 0}, "window must be"),
        ({"window": True}, "window must be"),
        ({"window": 2, "ema_coeff": 0.1}, "takes no window, got window=2"),
        ({"reduce": "lifetime_sum", "window": 2}, "takes no window, got window=2"),
        ({"reduce": "max", "ema_coeff": 0.1}, "ema_coeff=0.1 needs reduce=.ema."),
        ({"ema_coeff": 0.0}, "ema_coeff must be"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        pushed([], **settings)


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({}, 2.5),
        ({"window": 6}, 2.5),
        ({"reduce": "min"}, 1.0),
        ({"reduce": "max"}, 4.0),
        ({"reduce": "max", "window": 6}, 4.0),
        ({"reduce": "sum"}, 10.0),
        ({"reduce": "lifetime_sum"}, 10.0),
        ({"ema_coeff": 0.25}, 2.09375),
    ],
)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_nan_is_left_out_wherever_it_stands(place, settings, value):
    values = [1.0, 3.0, 4.0, 2.0]
    assert pushed([*values[:place], np.nan, *values[place:]], **settings).peek() == value
    assert np.isnan(pushed([np.nan, np.nan], **settings).peek())
