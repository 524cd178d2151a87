import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env

from tests.finrl.markets import frame, market, plain
from velora_sb3.finrl import DaysElapsed, StockTradingEnv, load_prices, make_trading_env

unbounded = pytest.mark.filterwarnings("ignore:.*infinity. This is probably too")


def act(*shares):
    return np.array(shares, dtype=np.float32)


def at(times, **settings):
    """Two stocks at these times."""
    rows = [(time, ticker, 10.0) for time in times for ticker in ("A", "B")]
    prices = load_prices(pd.DataFrame(rows, columns=["date", "tic", "close"]))
    return make_trading_env(prices, timespans=True, **settings)


def spans(env):
    first = env.reset()[0]["timespans"].item()
    return [first, *(env.step(act(0, 0))[0]["timespans"].item() for _ in range(len(env.unwrapped._closes) - 1))]


@unbounded
def test_days_elapsed():
    env = plain([[1, 1]] * 4, timespans=True, unit=2.0)
    assert isinstance(env, DaysElapsed)
    check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    days = [env.step(act(0, 0))[0]["timespans"].item() for _ in range(4)]
    assert [observation["timespans"].item(), *days] == [0.5, 0.5, 1.5, 0.5, 0]  # Thursday, Friday, Monday, Tuesday
    vec_env, first = env.get_sb_env()
    assert first["observation"].shape == (1, 5)
    assert vec_env.env_method("save_asset_memory")[0]["account_value"].tolist() == [1000]
    assert env.df is env.unwrapped.df


def test_days_elapsed_needs_dates():
    with pytest.raises(ValueError, match="no date_memory"):
        DaysElapsed(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="unit must be a finite number above 0"):
        market(timespans=True, unit=0)
    back = frame([[1, 1], [1, 1]])
    back["date"] = ["2024-03-08"] * 2 + ["2024-03-07"] * 2
    env = DaysElapsed(StockTradingEnv(back, 2, 1, 1, [0, 0], [0, 0], [0, 0], 1, 5, 2, []))
    env.reset()
    with pytest.raises(ValueError, match="dates go backwards"):
        env.step(act(0, 0))


def test_minutes_are_counted_in_minutes():
    """A minute is one unit, whatever its length in days; so is the first timespan."""
    minutes = pd.date_range("2024-03-07 15:57", periods=3, freq="min").append(
        pd.date_range("2024-03-08 09:30", periods=2, freq="min")
    )
    assert spans(at(minutes)) == pytest.approx([1, 1, 1, 17 * 60 + 31, 1])
    assert spans(at(minutes, unit=1 / 24)) == pytest.approx(np.array([1, 1, 1, 17 * 60 + 31, 1]) / 60)


def test_weeks_are_counted_in_days():
    assert spans(at(pd.date_range("2024-03-08", periods=4, freq="7D"))) == [7, 7, 7, 7]


@pytest.mark.parametrize("night", ["2024-03-10", "2024-11-03"])
def test_an_hour_lasts_one_hour_when_the_clock_is_changed(night):
    hours = pd.date_range(night, periods=6, freq="h", tz="America/New_York")
    for times in (hours, [str(hour) for hour in hours], hours.tz_convert("UTC")):
        assert spans(at(times, unit=1 / 24)) == pytest.approx([1] * 6)


def test_days_of_a_time_zone_are_whole_days():
    days = pd.bdate_range("2024-03-07", periods=4, tz="America/New_York")
    assert spans(at(days)) == [1, 1, 3, 1]


@pytest.mark.parametrize("kind", [int, object])
def test_dates_that_are_numbers(kind):
    """Without ``load_prices``: they are dates, not nanoseconds since 1970."""
    prices = frame([[1, 1]] * 3)
    prices["date"] = prices["date"].str.replace("-", "").astype(int).astype(kind)
    assert spans(make_trading_env(prices, timespans=True)) == [1, 1, 3]


def test_dates_that_are_ambiguous_or_mixed():
    prices = frame([[1, 1]] * 2)
    with pytest.raises(ValueError, match="ambiguous date '01/02/2024'"):
        make_trading_env(prices.assign(date=["01/02/2024"] * 2 + ["02/02/2024"] * 2), timespans=True)
    mixed = ["2024-03-07 10:00:00"] * 2 + ["2024-03-08 10:00:00+00:00"] * 2
    with pytest.raises(ValueError, match="has a time zone"):
        make_trading_env(prices.assign(date=mixed), timespans=True)


def test_a_date_that_is_missing():
    env = DaysElapsed(plain([[1, 1]] * 2))
    env.unwrapped._dates[1] = pd.NaT
    env.reset()
    with pytest.raises(ValueError, match="unreadable date NaT"):
        env.step(act(0, 0))
