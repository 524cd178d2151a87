"""A trading environment from prices alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import pandas as pd

from velora_sb3.finrl.days_elapsed import DaysElapsed
from velora_sb3.finrl.indicators import INDICATORS
from velora_sb3.finrl.load_prices import number_days
from velora_sb3.finrl.stock_trading_env import StockTradingEnv


def make_trading_env(
    prices: pd.DataFrame,
    *,
    indicators: Sequence[str] | None = None,
    hmax: int = 100,
    initial_amount: float = 1_000_000,
    cost_pct: float = 0.001,
    reward_scaling: float = 1e-4,
    timespans: bool = False,
    unit: float = 1.0,
    env_class: type[gym.Env[Any, Any]] = StockTradingEnv,
    **settings: Any,
) -> gym.Env[Any, Any]:
    """Build a trading environment whose sizes are those of the prices.

    Args:
        prices: As :func:`load_prices`, :func:`add_indicators` and :func:`data_split` return them, or a part of them.
        indicators: Columns to observe; None for those of :data:`INDICATORS` that the prices have.
        hmax: Most shares of a stock to trade in a day.
        initial_amount: Cash at the start.
        cost_pct: Cost of buying and of selling, as a share of the price.
        reward_scaling: Factor of the reward.
        timespans: Whether to add the days since the last observation, for liquid policies: see :class:`DaysElapsed`.
        unit: How many days the cell counts as 1.
        env_class: The class to build: another with the same constructor, such as FinRL's own ``StockTradingEnv``.
        **settings: Further arguments of its constructor.

    Returns:
        The environment.
    """
    stocks = int(prices["tic"].nunique())
    if indicators is None:
        indicators = [name for name in INDICATORS if name in prices.columns]
    arguments = {
        "stock_dim": stocks,
        "hmax": hmax,
        "initial_amount": initial_amount,
        "num_stock_shares": [0] * stocks,
        "buy_cost_pct": [cost_pct] * stocks,
        "sell_cost_pct": [cost_pct] * stocks,
        "reward_scaling": reward_scaling,
        "state_space": 1 + stocks * (2 + len(indicators)),
        "action_space": stocks,
        "tech_indicator_list": list(indicators),
        "print_verbosity": 0 if env_class is StockTradingEnv else 1_000_000,
    }
    env = env_class(df=number_days(prices), **{**arguments, **settings})  # type: ignore[call-arg]
    return DaysElapsed(env, unit) if timespans else env
