from datetime import datetime, timedelta, timezone
from decimal import Decimal

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation, FrameStackObservation
from stable_baselines3.common import env_checker

from tests.envs.clock import ClockEnv, act, spans
from velora_sb3.envs import TimeDeltaObservation


def told(key, values):
    return ClockEnv(infos=[{key: value} for value in values])


def test_a_box_becomes_a_dict_and_the_rest_is_as_it_was():
    plain, env = ClockEnv(length=2), TimeDeltaObservation(ClockEnv(length=2), dt=0.5)
    assert env.observation_space["observation"] == plain.observation_space
    assert env.observation_space["timespans"] == spaces.Box(0, np.inf, (1,), np.float32)
    np.testing.assert_array_equal(env.reset(seed=3)[0]["observation"], plain.reset(seed=3)[0])
    for _ in range(2):
        observation, *rest = act(env)
        expected, *as_expected = act(plain)
        assert observation in env.observation_space
        np.testing.assert_array_equal(observation["observation"], expected)
        assert rest == as_expected


def test_a_dict_gets_one_more_entry():
    inner = TimeDeltaObservation(ClockEnv(), timespans_key="age")
    env = TimeDeltaObservation(inner, dt=2.0)
    assert set(env.observation_space) == set(env.reset()[0]) == {"observation", "age", "timespans"}
    assert act(env)[0]["timespans"] == [2.0]


def test_a_constant_step():
    assert spans(TimeDeltaObservation(ClockEnv(), dt=0.25), 2) == [0.25, 0.25, 0.25]
    assert spans(TimeDeltaObservation(ClockEnv()), 1) == [1.0, 1.0]


@pytest.mark.parametrize("times", [[7, 0.1, 0.0, 0.3], [None, np.float32(0.1), np.array([0.0]), np.float64(0.3)]])
def test_elapsed_times(times):
    env = TimeDeltaObservation(told("elapsed", times), dt=0.5, elapsed_key="elapsed", unit=0.1)
    assert spans(env, 3) == pytest.approx([0.5, 1.0, 0.0, 3.0])


@pytest.mark.parametrize("passed", [timedelta(minutes=3), np.timedelta64(3, "m"), pd.Timedelta("3min"), 180.0])
@pytest.mark.parametrize("unit", ["1min", timedelta(minutes=1), np.timedelta64(1, "m"), 60])
def test_elapsed_durations(passed, unit):
    env = TimeDeltaObservation(told("dt", [None, passed]), elapsed_key="dt", unit=unit)
    assert spans(env, 1) == [1.0, 3.0]


class Unprintable(float):
    def __repr__(self):
        raise AssertionError("formatted in a step without an error")


def test_a_step_formats_no_error():
    assert spans(TimeDeltaObservation(told("dt", [None, Unprintable(2)]), elapsed_key="dt"), 1) == [1.0, 2.0]


def test_timestamps_that_are_numbers():
    env = TimeDeltaObservation(told("time", [1.7e9, 1.7e9 + 0.02, 1.7e9 + 0.06]), timestamp_key="time", unit=0.02)
    assert spans(env, 2) == pytest.approx([1.0, 1.0, 2.0], rel=1e-4)


def test_nanoseconds_and_decimals_are_exact():
    since_1970 = 1_709_510_400_000_000_000
    for first in (since_1970, np.int64(since_1970), np.array([since_1970])):
        env = TimeDeltaObservation(told("time", [first, first + 100]), timestamp_key="time", unit=50)
        assert spans(env, 1) == [1.0, 2.0]
    env = TimeDeltaObservation(told("dt", [None, Decimal("0.5")]), elapsed_key="dt")
    assert spans(env, 1) == [1.0, 0.5]


@pytest.mark.parametrize(
    "read", [str, pd.Timestamp, np.datetime64, datetime.fromisoformat, lambda day: datetime.fromisoformat(day).date()]
)
def test_a_weekend_is_three_days(read):
    days = ["2024-03-07", "2024-03-08", "2024-03-11"]  # Thursday, Friday, Monday
    env = TimeDeltaObservation(told("date", map(read, days)), timestamp_key="date", unit="1D")
    assert spans(env, 2) == [1.0, 1.0, 3.0]


def test_timestamps_are_exact_to_the_microsecond_and_know_time_zones():
    first = datetime(2024, 3, 7, 12, tzinfo=timezone.utc)
    second = (first + timedelta(microseconds=5)).astimezone(timezone(timedelta(hours=2)))
    env = TimeDeltaObservation(told("time", [first, second]), timestamp_key="time", unit="1us")
    assert spans(env, 1) == [1.0, 5.0]


def test_an_episode_s_first_observation_does_not_look_back_to_the_episode_before():
    env = TimeDeltaObservation(told("time", [10.0, 14.0]), timestamp_key="time")
    assert spans(env, 1) == spans(env, 1) == [1.0, 4.0]


@pytest.mark.parametrize("wrapped", [ClockEnv, lambda: gym.make("CartPole-v1")], ids=["box", "CartPole"])
@pytest.mark.filterwarnings("ignore:.*(different from the unwrapped|infinity|render modes|`spec`)")
def test_the_checkers_of_gymnasium_and_sb3_pass(wrapped):
    check_env(TimeDeltaObservation(wrapped()))
    env_checker.check_env(TimeDeltaObservation(wrapped()))


def test_the_spec_makes_it_again():
    env = TimeDeltaObservation(gym.make("CartPole-v1"), dt=0.02, unit="20ms")
    again = gym.make(env.spec)
    assert again.observation_space == env.observation_space
    assert again.reset(seed=0)[0]["timespans"] == env.reset(seed=0)[0]["timespans"]


def test_flattened_the_time_is_the_last_feature():
    env = FlattenObservation(TimeDeltaObservation(ClockEnv(), dt=0.5))
    observation, _ = env.reset(seed=0)
    assert isinstance(env.observation_space, spaces.Box)
    assert (observation.shape, observation[-1]) == ((4,), 0.5)


def test_a_frame_stack_around_it_has_a_time_for_each_frame():
    env = FrameStackObservation(TimeDeltaObservation(told("dt", [0, 2.0, 3.0]), elapsed_key="dt"), 3)
    env.reset(seed=0)
    act(env)
    assert act(env)[0]["timespans"].ravel().tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dt": 0}, "dt must be a finite number above 0, got 0"),
        ({"dt": "1D"}, "dt must be a finite number above 0, got '1D'"),
        ({"unit": -1.0}, "unit must be a finite number above 0, got -1.0"),
        ({"unit": "60"}, "'60' is neither a number nor a duration such as '1min' or '1D'"),
        ({"unit": "soon"}, "'soon' is neither a number nor a duration such as '1min' or '1D'"),
        ({"elapsed_key": "dt", "timestamp_key": "time"}, "are mutually exclusive: pass only one"),
    ],
)
def test_what_cannot_be_told_apart_is_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimeDeltaObservation(ClockEnv(), **arguments)


def test_a_key_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="already has an entry 'timespans': choose another timespans_key"):
        TimeDeltaObservation(TimeDeltaObservation(ClockEnv()))


@pytest.mark.parametrize(
    ("key", "infos", "message"),
    [
        ("elapsed_key", [{}, {"other": 1}], "info has no key 'time'; it has 'other'$"),
        (
            "timestamp_key",
            [{}, {"time": 1}],
            "info has no key 'time'; it has none; reset.. must return a timestamp too",
        ),
        ("elapsed_key", [{}, {"time": -1.0}], r"info\['time'\] is -1.0: the time .* must be finite and not negative"),
        ("elapsed_key", [{}, {"time": "0.5"}], "'0.5' is neither a number nor a duration"),
        ("elapsed_key", [{}, {"time": float("nan")}], "must be finite and not negative"),
        ("timestamp_key", [{"time": 3}, {"time": 1}], r"changed from 3 to 1: the time .* not negative"),
        ("timestamp_key", [{"time": 3}, {"time": "2024-01-01"}], "use dates or numbers, not both"),
        ("timestamp_key", [{"time": "noon-ish"}], "'noon-ish' is neither a number nor a date"),
        ("timestamp_key", [{"time": "01/02/2024 09:30"}], "may have the day or the month first: write dates as 2024"),
        ("timestamp_key", [{"time": "13.02.2024"}], "may have the day or the month first"),
        ("timestamp_key", [{"time": "Thu 01/02/2024"}], "may have the day or the month first"),
        ("timestamp_key", [{"time": "10:00 01/02/24"}], "may have the day or the month first"),
        ("timestamp_key", [{"time": "01 02 2024"}], "may have the day or the month first"),
        ("timestamp_key", [{"time": None}], "the time is missing: None is neither a number nor a date"),
        ("timestamp_key", [{"time": 0.0}, {"time": None}], "the time is missing"),
        ("timestamp_key", [{"time": "2024-01-01"}, {"time": pd.NaT}], "the time is missing"),
        ("timestamp_key", [{"time": "2024-01-01"}, {"time": "2024-01-02T00:00Z"}], "a time zone, or none"),
        ("timestamp_key", [{"time": "2024-01-01T00:00Z"}, {"time": "2024-01-02"}], "a time zone, or none"),
    ],
)
def test_time_that_cannot_be_read_is_explained(key, infos, message):
    env = TimeDeltaObservation(ClockEnv(infos=infos), **{key: "time"})
    with pytest.raises(ValueError, match=message):
        spans(env, 1)
