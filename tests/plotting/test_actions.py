import numpy as np
import pytest
from gymnasium import spaces

from velora_sb3.plotting import action_histogram
from velora_sb3.plotting.actions import draw_shares


def test_numbers_between_their_bounds():
    space = spaces.Box(np.array([-2.0, -1.0]), np.array([2.0, 1.0]), dtype=np.float64)
    first, second = action_histogram(np.array([[-2.0, 0.0], [2.0, 0.1], [2.0, 0.1], [1.9, 0.9]]), space).axes
    assert (first.get_xlim(), second.get_xlim()) == ((-2, 2), (-1, 1))
    assert [bar.get_height() for bar in first.patches if bar.get_height()] == [25, 75]
    assert (first.get_xlabel(), first.get_ylabel(), second.get_ylabel()) == ("action 0", "% of steps", "")


def test_numbers_without_bounds():
    (axes,) = action_histogram(np.array([[3.0], [9.0]]), spaces.Box(-np.inf, np.inf, (1,))).axes
    assert sum(bar.get_height() for bar in axes.patches) == 100


@pytest.mark.parametrize(
    ("space", "actions", "shares"),
    [
        (spaces.Discrete(3), [0, 2, 2, 2], [[25, 0, 75]]),
        (spaces.Discrete(2, start=5), [5, 6, 6, 6], [[25, 75]]),
        (spaces.MultiDiscrete([2, 3]), [[0, 2], [0, 1]], [[100, 0], [0, 50, 50]]),
        (spaces.MultiBinary(2), [[0, 1], [1, 1]], [[50, 50], [0, 100]]),
    ],
)
def test_choices(space, actions, shares):
    panels = action_histogram(np.array(actions), space).axes
    assert [[bar.get_height() for bar in axes.patches] for axes in panels] == shares


def test_at_most_twelve_panels():
    figure = action_histogram(np.zeros((3, 40)), spaces.Box(-1, 1, (40,)), "many")
    assert len(figure.axes) == 12
    assert figure.get_suptitle() == "many (first 12 of 40 dimensions)"


@pytest.mark.parametrize(("choices", "labels"), [(["left", "right"], ["left", "right"]), (None, ["0", "1"])])
def test_shares_of_named_choices(choices, labels):
    histograms = [("action", np.array([-0.5, 0.5, 1.5]), np.array([0.25, 0.75]))]
    (axes,) = draw_shares(histograms, continuous=False, choices=choices).axes
    assert [bar.get_height() for bar in axes.patches] == [25, 75]
    assert [label.get_text() for label in axes.get_xticklabels()] == labels


def test_another_space():
    with pytest.raises(ValueError, match="expected an action space of Box"):
        action_histogram(np.zeros(1), spaces.Text(3))
