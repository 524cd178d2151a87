import pytest

from velora_sb3.callbacks.base.triggers import EveryTimesteps


def fired(period, timesteps, start=0):
    every = EveryTimesteps(period)
    every.timestep = start
    return [timestep for timestep in timesteps if every.crossed(timestep)]


def test_it_fires_at_multiples_and_where_the_count_jumps_over_them():
    assert fired(10, range(1, 31)) == [10, 20, 30]
    assert fired(10, range(3, 40, 3)) == [12, 21, 30]


def test_it_fires_once_for_a_jump_over_several():
    assert fired(10, [35, 36]) == [35]


def test_a_resumed_run_fires_where_an_uninterrupted_one_does():
    assert fired(10, range(1, 16)) + fired(10, range(16, 31), start=15) == fired(10, range(1, 31))


def test_a_period_may_be_written_as_a_float():
    assert fired(1e1, range(1, 31)) == [10, 20, 30]
    assert type(EveryTimesteps(1e4).period) is int


def test_a_period_of_0():
    with pytest.raises(ValueError, match="every_n_timesteps must be an integer of at least 1, got 0"):
        EveryTimesteps(0)
