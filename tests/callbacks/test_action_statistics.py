import json

import numpy as np
import pytest
from gymnasium import spaces

from velora_sb3.callbacks.action_statistics import ActionStatistics

BOX = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 10], np.float32))


def taken(space, *steps, names=None):
    statistics = ActionStatistics(space, names)
    for actions in steps:
        statistics.add(np.asarray(actions))
    return statistics


def test_a_box_has_statistics_of_each_dimension():
    actions = np.random.default_rng(0).uniform([-1, 0], [1, 10], (50, 2, 2))  # 50 steps of 2 environments
    actions[0, 0], actions[1, 1] = [-1, 10], [0, 0]
    found = taken(BOX, *actions, names=["left", "right"]).summary()
    rows = actions.reshape(-1, 2)
    for number, name in enumerate(["left", "right"]):
        column = rows[:, number]
        expected = (column.mean(), column.std(), column.min(), column.max())
        assert [found[f"{name}_{what}"] for what in ("mean", "std", "min", "max")] == pytest.approx(expected)
    assert (found["left_at_bounds"], found["right_at_bounds"]) == (0.01, 0.02)
    assert (found["zeros"], found["at_bounds"]) == pytest.approx((0.01, 0.015))
    assert found["magnitude"] == pytest.approx(np.abs(rows).mean())


def test_the_deviation_survives_large_numbers():
    space = spaces.Box(1e8 - 1, 1e8 + 1, (1,), np.float64)
    assert taken(space, [[1e8 - 0.5]], [[1e8 + 0.5]]).summary()["0_std"] == pytest.approx(0.5)


def test_discrete_has_shares_and_their_entropy():
    found = taken(spaces.Discrete(3, start=5), [5, 6], [6, 6], names=["sell", "hold", "buy"]).summary()
    assert {name: found[f"{name}_share"] for name in ("sell", "hold", "buy")} == {"sell": 0.25, "hold": 0.75, "buy": 0}
    assert found["entropy"] == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))


def test_one_choice_alone_has_no_entropy():
    assert taken(spaces.Discrete(2), [1, 1]).summary() == {"0_share": 0.0, "1_share": 1.0, "entropy": 0.0}


@pytest.mark.parametrize(("space", "choices"), [(spaces.MultiDiscrete([2, 3]), 3), (spaces.MultiBinary(2), 2)])
def test_many_dimensions_have_shares_of_their_own(space, choices):
    found = taken(space, [[0, 1]], [[1, 1]]).summary()
    assert (found["0_is_0_share"], found["0_is_1_share"]) == (0.5, 0.5)
    assert [found[f"1_is_{choice}_share"] for choice in range(choices)] == [0, 1, 0][:choices]
    assert (found["0_entropy"], found["1_entropy"]) == (pytest.approx(np.log(2)), 0.0)
    assert found["entropy"] == pytest.approx(np.log(2) / 2)


def test_hundreds_of_numbers_are_left_out():
    assert set(taken(spaces.Box(-1, 1, (33,)), np.zeros((1, 33))).summary()) == {"magnitude", "zeros", "at_bounds"}
    assert set(taken(spaces.Discrete(33), [3]).summary()) == {"entropy"}


def test_histograms():
    ((name, edges, shares),) = taken(spaces.Box(0, 4, (1,)), [[0.0]], [[4.0]], [[4.0]], [[2.05]]).histograms()
    assert (name, edges[0], edges[-1], len(shares)) == ("0", 0.0, 4.0, 40)
    assert (shares[0], shares[20], shares[-1], shares.sum()) == (0.25, 0.25, 0.5, 1.0)
    ((name, edges, shares),) = taken(spaces.Discrete(2, start=5), [5], [6], [6]).histograms()
    assert (name, list(edges), list(shares)) == ("action", [4.5, 5.5, 6.5], [1 / 3, 2 / 3])


@pytest.mark.parametrize("space", [BOX, spaces.Discrete(3), spaces.MultiDiscrete([2, 3])])
def test_a_state_goes_on_and_sums_add_up(space):
    steps = [np.stack([space.sample(), space.sample()]) for _ in range(20)]
    whole, resumed = taken(space, *steps), ActionStatistics(space, None)
    resumed.load_state_dict(json.loads(json.dumps(taken(space, *steps[:7]).state_dict())))
    for actions in steps[7:]:
        resumed.add(actions)
    assert resumed.summary() == whole.summary()
    added = taken(space, *steps[:7])
    added.merge(taken(space, *steps[7:]))
    assert added.summary() == pytest.approx(whole.summary())
    empty = ActionStatistics(space, None)
    empty.load_state_dict(json.loads(json.dumps(empty.state_dict())))
    empty.merge(whole)
    assert empty.summary() == whole.summary()


def test_nothing_taken_in():
    assert ActionStatistics(BOX, None).summary() == {}


def test_wrong_names_and_spaces():
    with pytest.raises(ValueError, match="names must have 2 entries for Box.*, got 1: \\['left'\\]"):
        ActionStatistics(BOX, ["left"])
    with pytest.raises(
        ValueError, match="expected an action space of Box, Discrete, MultiDiscrete or MultiBinary, got Text"
    ):
        ActionStatistics(spaces.Text(3), None)
