import sys

import matplotlib.image
import numpy as np
import pytest

from velora_sb3.plotting import EpisodeTrace, hidden_state_trace
from velora_sb3.plotting.hidden_state_trace import order_of_units

STEPS = np.arange(40)


def trace(units=6, frames=0, scale=0.9, **others):
    states = scale * np.sin(STEPS[:, None] / 5 + np.arange(units))
    pictures = {10 * number: np.full((20, 30, 3), 60 * number, np.uint8) for number in range(frames)}
    zeros = np.zeros(40)
    return EpisodeTrace(states, [], zeros, zeros, zeros, pictures, **others)


@pytest.mark.parametrize("with_lines", [True, False])
def test_the_picture(tmp_path, with_lines):
    lines = {"cos": (np.cos(STEPS / 5), "C0-")} if with_lines else None
    figure = hidden_state_trace(trace(frames=4), lines, "an episode", "cosine in m")
    frames, (units, *rest) = figure.axes[:4], figure.axes[4:]
    assert [axes.get_title() for axes in frames] == ["step 0", "step 10", "step 20", "step 30"]
    assert units.get_ylabel() == "6 units"
    assert (units if not with_lines else rest[1]).get_xlabel() == "step"
    assert figure.get_suptitle() == "an episode"
    if with_lines:
        assert rest[1].get_ylabel() == "cosine in m"
    shown = units.images[0].get_array()
    assert shown.shape == (6, 40)
    np.testing.assert_array_equal(np.sort(shown[:, 7]), np.sort(trace().states[7]))
    figure.savefig(tmp_path / "trace.png")
    assert matplotlib.image.imread(tmp_path / "trace.png").shape[1] == 960


def test_units_that_are_not_carried_are_told():
    assert hidden_state_trace(trace(carried=False)).axes[0].get_ylabel() == "6 units, reset at each step"


@pytest.mark.parametrize(("scale", "extend"), [(0.9, "neither"), (1.5, "both")])
def test_values_beyond_the_colours_are_told(scale, extend):
    colours = hidden_state_trace(trace(scale=scale)).axes[0].images[0].colorbar
    assert colours.extend == extend


def test_no_units():
    with pytest.raises(ValueError, match="is not recurrent and has no liquid cell"):
        hidden_state_trace(trace(units=0))


def test_a_missing_matplotlib_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'plotting needs matplotlib: pip install "velora-sb3\[plot\]"'):
        hidden_state_trace(trace())


def test_units_that_move_alike_stand_side_by_side():
    time = np.linspace(0, 20, 200)
    states = np.stack([np.sin(time), np.cos(time), np.sin(time) * 1.1, np.cos(time) * 0.9], axis=1)
    order = order_of_units(states).tolist()
    assert abs(order.index(0) - order.index(2)) == 1
    assert abs(order.index(1) - order.index(3)) == 1
