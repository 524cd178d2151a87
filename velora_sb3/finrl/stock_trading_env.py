"""Trading shares day by day, as FinRL's environment of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3.finrl.load_prices import check_numbers
from velora_sb3.finrl.trading_files import draw_account, write_episode


class StockTradingEnv(gym.Env[np.ndarray, np.ndarray]):
    r"""Buys and sells whole shares of several stocks at each day's close, with costs and without debt.

    It has the constructor, observations, rewards and records of FinRL's ``StockTradingEnv`` and gives the same
    trajectories, without FinRL being installed. :func:`make_trading_env` fills in most arguments.

    - Observation ``(1 + 2 n + k n,)`` for n stocks and k indicators: cash, the closes, the shares held, then each
      indicator for all stocks.
    - Action ``(n,)`` from -1 to 1: times ``hmax`` and cut to a whole number it is how many shares to buy, or if
      negative to sell. Sales come first, the largest first; then purchases, the largest first, as far as cash reaches.
    - Reward: what the account (cash and shares) gained until the next day's close, times ``reward_scaling``.
    - The step after the last day ends the episode. It trades nothing, and its reward is that of the step before again.
    - If the first indicator of a stock is exactly 1, the stock cannot be traded that day.
    - On a day with turbulence at or above the threshold everything is sold, and nothing bought.

    Unlike FinRL's, it takes prices without any indicators, and a single stock may start with shares.

    Args:
        df: A row for each day and ticker, by date and ticker, with ``date``, ``tic``, ``close`` and the indicators;
            the index is the number of the day. :func:`load_prices` and :func:`data_split` return such frames.
        stock_dim: Number of stocks.
        hmax: Most shares of a stock to trade in a day.
        initial_amount: Cash at the start.
        num_stock_shares: ``(n,)`` shares held at the start.
        buy_cost_pct: ``(n,)`` cost of buying, as a share of the price: 0.001 is 0.1 percent.
        sell_cost_pct: ``(n,)`` cost of selling.
        reward_scaling: Factor of the reward.
        state_space: Size of the observation.
        action_space: Number of stocks.
        tech_indicator_list: Columns that are observed.
        turbulence_threshold: None for no threshold.
        risk_indicator_col: Column that is compared with it; the first stock's counts.
        make_plots: Whether each episode leaves ``results/account_value_trade_<episode>.png``.
        print_verbosity: A line is printed for every so many episodes; 0 for none.
        day: Day to start at, until the first ``reset``.
        initial: False to go on from ``previous_state``.
        previous_state: A ``state`` of another environment: its cash and shares are taken over.
        model_name: With ``mode``, each episode leaves CSV files in ``results``, as FinRL's ensemble reads them.
        mode: As ``model_name``.
        iteration: Part of the names of those files.

    Attributes:
        state: The observation, as a list of exact numbers.
        asset_memory: The account's value on each day of the episode so far.
        actions_memory: Shares bought (or sold, negative) in each step, as they were carried out.
        date_memory: The days.
        rewards_memory: Rewards before scaling.
        cost: What trading has cost in the episode.
        trades: How many trades there were.

    Raises:
        ValueError: If arguments do not fit each other or the prices.
    """

    metadata = {"render_modes": ["human"]}

    def __init__(
        self,
        df: pd.DataFrame,
        stock_dim: int,
        hmax: int,
        initial_amount: float,
        num_stock_shares: Sequence[float],
        buy_cost_pct: Sequence[float],
        sell_cost_pct: Sequence[float],
        reward_scaling: float,
        state_space: int,
        action_space: int,
        tech_indicator_list: Sequence[str],
        turbulence_threshold: float | None = None,
        risk_indicator_col: str = "turbulence",
        make_plots: bool = False,
        print_verbosity: int = 10,
        day: int = 0,
        initial: bool = True,
        previous_state: Sequence[float] = (),
        model_name: str = "",
        mode: str = "",
        iteration: int | str = "",
    ) -> None:
        self.df, self.stock_dim, self.hmax = df, stock_dim, hmax
        self.initial_amount, self.num_stock_shares = initial_amount, list(num_stock_shares)
        self.buy_cost_pct, self.sell_cost_pct = list(buy_cost_pct), list(sell_cost_pct)
        self.reward_scaling, self.state_space = reward_scaling, state_space
        self.tech_indicator_list = list(tech_indicator_list)
        self.turbulence_threshold, self.risk_indicator_col = turbulence_threshold, risk_indicator_col
        self.make_plots, self.print_verbosity = make_plots, print_verbosity
        self.initial, self.previous_state = initial, list(previous_state)
        self.model_name, self.mode, self.iteration = model_name, mode, iteration
        self._check(action_space)
        self._read_prices()
        if not 0 <= day < len(self._closes):
            raise ValueError(f"day must be from 0 to {len(self._closes) - 1}, got {day}")
        self.action_space = spaces.Box(-1.0, 1.0, (stock_dim,), np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (state_space,), np.float32)
        self.episode = 0
        self._start(day)

    def _check(self, action_space: int) -> None:
        needed = ["date", "tic", "close", *self.tech_indicator_list]
        if self.turbulence_threshold is not None:
            needed.append(self.risk_indicator_col)
        if missing := [name for name in needed if name not in self.df.columns]:
            raise ValueError(f"df has no column {', '.join(missing)}; it has {', '.join(map(str, self.df.columns))}")
        n, size = self.stock_dim, 1 + self.stock_dim * (2 + len(self.tech_indicator_list))
        if self.df["tic"].nunique() != n:
            raise ValueError(f"stock_dim is {n}, df has {self.df['tic'].nunique()} tickers")
        if self.state_space != size:
            raise ValueError(
                f"state_space must be {size}: cash, {n} prices, {n} shares and for each stock "
                f"{len(self.tech_indicator_list)} indicators, got {self.state_space}"
            )
        if action_space != n:
            raise ValueError(f"action_space must be the number of stocks, {n}, got {action_space}")
        for name in ("num_stock_shares", "buy_cost_pct", "sell_cost_pct"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} needs a number for each of {n} stocks, got {len(getattr(self, name))}")
        if not self.initial and len(self.previous_state) < 1 + 2 * n:
            raise ValueError("initial=False goes on from the state of another environment: pass previous_state")
        if self.print_verbosity < 0:
            raise ValueError(f"print_verbosity must be at least 0, got {self.print_verbosity}")

    def _read_prices(self) -> None:
        days = np.asarray(self.df.index)
        n = self.stock_dim
        if len(days) % n or not np.array_equal(days, np.repeat(np.arange(len(days) // n), n)):
            raise ValueError(
                "df's index must be the number of the day, 0 for the first, with a row for each ticker: "
                "velora_sb3.finrl.data_split makes it so"
            )
        if len(days) < 2 * n:
            raise ValueError("df must have at least two days: nothing is gained within one")
        tickers = self.df["tic"].to_numpy().reshape(-1, n)
        if not (tickers == tickers[0]).all():
            raise ValueError("df must have the same tickers in the same order on each day: sort by date and tic")
        check_numbers(self.df[["date", "tic", "close", *self.tech_indicator_list]])
        self._tickers = [str(ticker) for ticker in tickers[0]]
        self._dates = list(self.df["date"].to_numpy().reshape(-1, n)[:, 0])
        self._closes = self._table("close")  # (days, n)
        indicators = [self._table(name) for name in self.tech_indicator_list]
        self._indicators = np.hstack([np.empty((len(self._closes), 0)), *indicators])  # (days, k n)
        self._turbulence = None if self.turbulence_threshold is None else self._table(self.risk_indicator_col)[:, 0]

    def _table(self, column: str) -> np.ndarray:
        return self.df[column].to_numpy(dtype=np.float64).reshape(-1, self.stock_dim)

    def _start(self, day: int) -> None:
        n = self.stock_dim
        first = [self.initial_amount] if self.initial else self.previous_state[:1]
        held = self.num_stock_shares if self.initial else self.previous_state[n + 1 : 2 * n + 1]
        self.day, self.cash, self.shares = day, float(first[0]), np.array(held, dtype=np.float64)
        self.turbulence = 0.0  # as FinRL: the first day is never turbulent
        self.reward, self.cost, self.trades, self.terminal = 0.0, 0.0, 0, False
        self.asset_memory, self.date_memory = [self.account_value], [self._dates[day]]
        self.rewards_memory: list[float] = []
        self.actions_memory: list[np.ndarray] = []

    @property
    def account_value(self) -> float:
        """Cash and shares at today's close."""
        return self.cash + float(self._closes[self.day] @ self.shares)

    @property
    def state(self) -> list[float]:
        """Cash, closes, shares, indicators."""
        today = [self._closes[self.day], self.shares, self._indicators[self.day]]
        return [self.cash, *np.concatenate(today).tolist()]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Go back to the first day."""
        super().reset(seed=seed)
        self._start(0)
        self.episode += 1
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Trade at today's close and go on to the next day's; ``info`` has ``date`` and ``account_value``."""
        self.terminal = self.day == len(self._closes) - 1
        if self.terminal:
            self._end_episode()
        else:
            before = self.account_value
            self.actions_memory.append(self._trade((np.asarray(action) * self.hmax).astype(int)))
            self.day += 1
            if self._turbulence is not None:
                self.turbulence = float(self._turbulence[self.day])
            self.asset_memory.append(self.account_value)
            self.date_memory.append(self._dates[self.day])
            self.rewards_memory.append(self.account_value - before)
            self.reward = self.rewards_memory[-1] * self.reward_scaling
        return self._observation(), self.reward, self.terminal, False, self._info()

    def _trade(self, wanted: np.ndarray) -> np.ndarray:
        """Carry out what can be; returns the shares that changed hands ``(n,)``."""
        prices, done = self._closes[self.day], np.zeros_like(wanted)
        can = np.ones(self.stock_dim, dtype=bool)
        if self._indicators.size:
            can = self._indicators[self.day, : self.stock_dim] != 1
        if self.turbulence_threshold is not None and self.turbulence >= self.turbulence_threshold:
            can[:] = True
            wanted = -np.ceil(self.shares).astype(int)
        order = np.argsort(wanted)
        for stock in order[wanted[order] < 0]:
            number = min(-wanted[stock], self.shares[stock]) if can[stock] else 0
            if number > 0:
                self._settle(stock, -number, prices[stock] * number, self.sell_cost_pct[stock])
            done[stock] = -number
        for stock in order[::-1][wanted[order[::-1]] > 0]:
            affordable = max(self.cash // (prices[stock] * (1 + self.buy_cost_pct[stock])), 0)
            number = min(wanted[stock], affordable) if can[stock] else 0
            if can[stock]:  # FinRL counts a purchase that cash did not reach for
                self._settle(stock, number, prices[stock] * number, self.buy_cost_pct[stock])
            done[stock] = number
        return done

    def _settle(self, stock: int, number: float, value: float, cost_pct: float) -> None:
        """Move shares one way and money the other; the cost comes off either way."""
        self.cash -= value * (1 + cost_pct) if number >= 0 else -value * (1 - cost_pct)
        self.shares[stock] += number
        self.cost += value * cost_pct
        self.trades += 1

    def _end_episode(self) -> None:
        if self.print_verbosity and self.episode % self.print_verbosity == 0:
            print(
                f"episode {self.episode}: {self.asset_memory[0]:.2f} -> {self.asset_memory[-1]:.2f} in "
                f"{self.day} days, {self.trades} trades, costs {self.cost:.2f}"
            )
        if self.make_plots:
            draw_account(self.asset_memory, f"account_value_trade_{self.episode}.png")
        if self.model_name and self.mode:
            name = f"{self.mode}_{self.model_name}_{self.iteration}"
            write_episode(name, self.save_asset_memory(), self.save_action_memory(), self.rewards_memory)

    def _observation(self) -> np.ndarray:
        return np.array(self.state, dtype=np.float32)

    def _info(self) -> dict[str, Any]:
        return {"date": self.date_memory[-1], "account_value": self.asset_memory[-1]}

    def render(self) -> Any:
        """The state, as FinRL's ensemble asks for it."""
        return self.state

    def save_asset_memory(self) -> pd.DataFrame:
        """``date`` and ``account_value`` of each day of the episode so far."""
        return pd.DataFrame({"date": self.date_memory, "account_value": self.asset_memory})

    def save_action_memory(self) -> pd.DataFrame:
        """The shares that each step traded: by date, a column for each stock; for one ``date`` and ``actions``."""
        dates = self.date_memory[:-1]
        if self.stock_dim == 1:
            return pd.DataFrame({"date": dates, "actions": self.actions_memory})
        table = np.array(self.actions_memory, dtype=int).reshape(-1, self.stock_dim)
        return pd.DataFrame(table, columns=self._tickers, index=pd.Index(dates, name="date"))

    def get_sb_env(self) -> tuple[DummyVecEnv, Any]:
        """This environment as a vectorized one, and its first observation."""
        vec_env = DummyVecEnv([lambda: self])
        return vec_env, vec_env.reset()
