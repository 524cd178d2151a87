"""A trading environment from prices alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import pandas as pd

from velora_sb3._validation import check_bool
from velora_sb3.finrl.days_elapsed import DaysElapsed
from velora_sb3.finrl.prices.dates import check_order, read_dates
from velora_sb3.finrl.prices.indicators import INDICATORS
from velora_sb3.finrl.prices.load_prices import check_columns, number_days
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
    unit: float | None = None,
    env_class: type[gym.Env[Any, Any]] = StockTradingEnv,
    **settings: Any,
) -> gym.Env[Any, Any]:
    """Build a trading environment, with all sizes taken from the prices.

    Args:
        prices: Prices as :func:`load_prices`, :func:`add_indicators` and :func:`data_split` return them, or a slice of
            their days.
        indicators: Columns to observe; None for those of :data:`INDICATORS` that ``prices`` has.
        hmax: Maximum number of shares of a stock to trade per day.
        initial_amount: Initial cash.
        cost_pct: Transaction cost of buying and of selling, as a fraction of the price below 1.
        reward_scaling: Factor of the reward.
        timespans: Whether to add the days since the last observation, for liquid policies: see :class:`DaysElapsed`.
        unit: Days per unit of time of the cell; None for a day, or the usual time between dates that are closer.
        env_class: The class to build. Any class with the same constructor works, such as FinRL's ``StockTradingEnv``.
        **settings: Further arguments of the constructor.

    Returns:
        The environment.

    Raises:
        ValueError: If the prices lack a column or have one twice, their dates go backwards, or the environment refuses
            them.
    """
    check_columns(prices)
    check_order(read_dates(prices["date"].reset_index(drop=True)))
    stocks = int(prices["tic"].nunique())
    if indicators is None:
        indicators = [name for name in INDICATORS if name in prices.columns]
    if isinstance(indicators, str):
        indicators = [indicators]
    timespans = check_bool("timespans", timespans)
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
