import json

from velora_sb3.callbacks.checkpointing.return_statistics import ReturnStatistics


def test_before_the_first_episode():
    assert ReturnStatistics().summary() == {"best_return": None, "average_return": None, "recent_returns": []}


def test_numbers():
    statistics = ReturnStatistics()
    for value in range(-12, 0):
        statistics.add(float(value))
    assert statistics.summary() == {
        "best_return": -1.0,
        "average_return": -6.5,
        "recent_returns": [float(value) for value in range(-10, 0)],
    }


def test_state_round_trip():
    whole, halves = ReturnStatistics(), ReturnStatistics()
    for value in (3.0, 1.0, 2.0):
        whole.add(value)
    halves.add(3.0)
    state = json.loads(json.dumps(halves.state_dict()))
    halves = ReturnStatistics()
    halves.load_state_dict(state)
    halves.add(1.0)
    halves.add(2.0)
    assert halves.summary() == whole.summary()
    assert state == {"best": 3.0, "recent": [3.0], "sum": 3.0, "count": 1}


def test_nan_is_left_out_of_best_and_averages():
    statistics = ReturnStatistics()
    statistics.add(float("nan"))
    assert (statistics.best, statistics.average, statistics.recent_average) == (None, None, None)
    for value in (2.0, float("nan"), 4.0):
        statistics.add(value)
    assert (statistics.best, statistics.average, statistics.recent_average) == (4.0, 3.0, 3.0)
    assert len(statistics.recent) == 4
