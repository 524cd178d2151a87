import numpy as np
import pytest

from tests.plotting.test_hidden_state_trace import trace
from velora_sb3.plotting import time_constants


def of(values, **others):
    episode = trace(**others)
    episode.time_constants = np.asarray(values)
    return time_constants(episode)


def test_units_are_sorted_by_their_median():
    values = np.full((100, 3), [5.0, 0.5, 2.0]) * np.linspace(0.9, 1.1, 100)[:, None]
    left, right = of(values).axes
    (medians,) = left.get_lines()[:1]
    assert medians.get_xdata().tolist() == [1, 2, 3]
    np.testing.assert_allclose(medians.get_ydata(), [0.5, 2, 5], rtol=0.01)
    middle90 = left.collections[0].get_segments()
    np.testing.assert_allclose(middle90[0][:, 1], 0.5 * np.array([0.91, 1.09]), rtol=0.01)
    assert left.get_ylabel() == "time constant (steps)"
    assert left.get_yscale() == "log"
    assert sum(bar.get_width() for bar in right.patches) == pytest.approx(100)  # per cent


def test_the_environments_unit():
    assert of(np.ones((4, 2)), timed=True).axes[0].get_ylabel() == "time constant (environment time)"


def test_a_gate_that_never_opens_does_not_stretch_the_axis():
    values = np.random.default_rng(0).uniform(1, 2, size=(1000, 3))
    values[0, 0] = 1e30
    assert of(values).axes[0].get_ylim()[1] < 10


def test_steps_that_take_no_time_are_left_out():
    values = np.full((6, 2), [5.0, 0.5])
    values[0] = 0
    left, right = of(values, timed=True).axes
    np.testing.assert_allclose(left.get_lines()[0].get_ydata(), [0.5, 5])
    assert sum(bar.get_width() for bar in right.patches) == pytest.approx(100)  # per cent
    with pytest.raises(ValueError, match="every timespan of the episode is 0"):
        of(np.zeros((6, 2)), timed=True)


def test_no_liquid_cell():
    with pytest.raises(ValueError, match="no CfC, LTC or LRC cell"):
        time_constants(trace())
