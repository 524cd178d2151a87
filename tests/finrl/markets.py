"""Small markets for the tests."""

import gymnasium as gym
import numpy as np
import pandas as pd

from velora_sb3.finrl import add_indicators, make_trading_env, synthetic_prices

INDICATORS = ["macd", "rsi_5"]


def frame(closes, tickers=("A", "B"), **columns):
    """Prices by day and ticker, on days from a Thursday on."""
    days = pd.bdate_range("2024-03-07", periods=len(closes)).strftime("%Y-%m-%d")
    table = {"date": np.repeat(days, len(tickers)), "tic": list(tickers) * len(closes)}
    values = np.asarray(closes, dtype=float).ravel()
    return pd.DataFrame({**table, "close": values, **columns}, index=np.repeat(range(len(closes)), len(tickers)))


def market(days=12, tickers=2, seed=0, **settings):
    """An environment on synthetic prices."""
    prices = add_indicators(synthetic_prices(tickers, days, seed), INDICATORS)
    return make_trading_env(prices, indicators=INDICATORS, **settings)


class Scaled(gym.ObservationWrapper):
    """Numbers around 0, so that an untrained network reacts to them."""

    def observation(self, observation):
        centre = np.r_[1e6, np.full(len(observation) - 1, 100)]
        return (3 * (np.asarray(observation) / centre - 1)).astype(np.float32)


def scaled(days=12, tickers=2, seed=0, **settings):
    """The same, with observations that a network reacts to, and much trade."""
    return Scaled(market(days, tickers, seed, hmax=5000, **settings))


def plain(closes, tickers=("A", "B"), **settings):
    """An environment on given prices, without costs."""
    return make_trading_env(frame(closes, tickers), **{"cost_pct": 0.0, "initial_amount": 1000, **settings})
