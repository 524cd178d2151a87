"""Daily stock trading, equivalent to FinRL's environment of the same name."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from numbers import Real
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3._validation import check_bool, check_integer, check_number
from velora_sb3.finrl.prices.load_prices import check_columns, check_numbers
from velora_sb3.finrl.trading_files import draw_account, write_episode

MOST_SHARES = 2**53  # larger numbers of shares are not exact
STATE = ("episode", "day", "cash", "turbulence", "reward", "cost", "trades", "terminal")
HISTORY = ("shares", "asset_memory", "rewards_memory", "actions_memory")


class StockTradingEnv(gym.Env[np.ndarray, np.ndarray]):
    r"""Trades whole shares of several stocks at each day's close, with transaction costs and without leverage.

    Constructor, observations, rewards, records and trajectories are those of FinRL's ``StockTradingEnv``; FinRL itself
    is not needed. :func:`make_trading_env` fills in most arguments.

    - Observation ``(1 + 2 n + k n,)`` for n stocks and k indicators: cash, closing prices, shares held, then each
      indicator for all stocks.
    - Action ``(n,)`` in [-1, 1]: multiplied by ``hmax`` and truncated, the number of shares to buy, or to sell if
      negative. Sales are executed first, then purchases as far as the cash goes, each the largest first.
    - Reward: the change of the account value (cash and shares) by the next day's close, times ``reward_scaling``.
    - The step after the last day ends the episode. It does not trade, and repeats the previous reward.
    - If the first indicator of a stock is exactly 1, the stock cannot be traded that day.
    - On a day with turbulence at or above the threshold all shares are sold and none bought.

    Unlike FinRL's, it accepts prices without indicators, and a single stock may start with shares.

    Args:
        df: One row per day and ticker, sorted by both, with ``date``, ``tic``, ``close`` and the indicators; the index
            is the day number. :func:`load_prices` and :func:`data_split` return such frames.
        stock_dim: Number of stocks n.
        hmax: Maximum number of shares of a stock to trade per day.
        initial_amount: Initial cash.
        num_stock_shares: ``(n,)`` initial shares.
        buy_cost_pct: ``(n,)`` transaction cost of buying, as a fraction of the price below 1: 0.001 is 0.1 percent.
        sell_cost_pct: ``(n,)`` transaction cost of selling.
        reward_scaling: Factor of the reward.
        state_space: Size of the observation.
        action_space: Number of stocks.
        tech_indicator_list: Columns to observe.
        turbulence_threshold: Turbulence at which to sell everything; None to ignore turbulence.
        risk_indicator_col: Column of the turbulence; the first stock's value counts.
        make_plots: Whether each episode writes ``results/account_value_trade_<episode>.png``.
        print_verbosity: Episodes between printed summaries; 0 for none.
        day: Initial day, until the first ``reset``.
        initial: False to start from ``previous_state``.
        previous_state: A ``state`` of another environment, whose cash and shares are carried over.
        model_name: With ``mode``, each episode writes CSV files to ``results``, as FinRL's ensemble expects them.
        mode: See ``model_name``.
        iteration: Part of the names of these files.

    Attributes:
        state: The observation, as a list at full precision.
        asset_memory: The account value on each day of the episode so far.
        actions_memory: Shares traded at each step, as executed; negative for sales.
        date_memory: The dates of the episode so far.
        rewards_memory: Rewards before scaling.
        cost: Transaction costs of the episode so far.
        trades: Number of trades in the episode so far.

    Raises:
        ValueError: If an argument is out of range, or contradicts another or the prices.
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
        self.df, self.stock_dim = df, check_integer("stock_dim", stock_dim)
        self.hmax = check_number("hmax", hmax, above=0)
        self.initial_amount = check_number("initial_amount", initial_amount, least=0)
        self.num_stock_shares, self.buy_cost_pct, self.sell_cost_pct = (
            [values] if isinstance(values, Real) else list(values)
            for values in (num_stock_shares, buy_cost_pct, sell_cost_pct)
        )
        self.reward_scaling = check_number("reward_scaling", reward_scaling)
        self.state_space = check_integer("state_space", state_space)
        names = [tech_indicator_list] if isinstance(tech_indicator_list, str) else tech_indicator_list
        self.tech_indicator_list = list(names)
        if turbulence_threshold not in (None, math.inf):
            turbulence_threshold = check_number("turbulence_threshold", turbulence_threshold)
        self.turbulence_threshold, self.risk_indicator_col = turbulence_threshold, risk_indicator_col
        self.make_plots = check_bool("make_plots", make_plots)
        self.print_verbosity = check_integer("print_verbosity", print_verbosity, least=0)
        self.initial, self.previous_state = check_bool("initial", initial), list(previous_state)
        self.model_name, self.mode, self.iteration = model_name, mode, iteration
        self._check_sizes(action_space)
        self._read_prices()
        day = check_integer("day", day, 0, len(self._closes) - 1)
        self.action_space = spaces.Box(-1.0, 1.0, (stock_dim,), np.float32)
        self.observation_space = spaces.Box(-np.inf, np.inf, (state_space,), np.float32)
        self.episode = 0
        self._start(day)

    def _check_sizes(self, action_space: int) -> None:
        needed = ["date", "tic", "close", *self.tech_indicator_list]
        if self.turbulence_threshold is not None:
            needed.append(self.risk_indicator_col)
        if missing := [name for name in needed if name not in self.df.columns]:
            raise ValueError(f"df has no column {', '.join(missing)}; it has {', '.join(map(str, self.df.columns))}")
        check_columns(self.df)
        n, size = self.stock_dim, 1 + self.stock_dim * (2 + len(self.tech_indicator_list))
        if self.df["tic"].nunique() != n:
            raise ValueError(f"stock_dim is {n}, but df has {self.df['tic'].nunique()} tickers")
        if self.state_space != size:
            raise ValueError(
                f"state_space must be {size} (cash, {n} prices, {n} holdings and {len(self.tech_indicator_list)} "
                f"indicators per stock), got {self.state_space}"
            )
        if action_space != n:
            raise ValueError(f"action_space must be the number of stocks, {n}, got {action_space}")
        for name in ("num_stock_shares", "buy_cost_pct", "sell_cost_pct"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} must hold one number per stock, {n} in all, got {len(getattr(self, name))}")
        for cost in ("buy_cost_pct", "sell_cost_pct"):
            for value in getattr(self, cost):
                check_number(f"each of {cost}", value, least=0, below=1)
        for shares in self.num_stock_shares:
            check_number("each of num_stock_shares", shares, least=0)
        for value in self.previous_state:
            check_number("each of previous_state", value)
        if not self.initial and len(self.previous_state) < 1 + 2 * n:
            raise ValueError("initial=False starts from the state of another environment: pass it as previous_state")

    def _read_prices(self) -> None:
        days = np.asarray(self.df.index)
        n = self.stock_dim
        if len(days) % n or not np.array_equal(days, np.repeat(np.arange(len(days) // n), n)):
            raise ValueError(
                "the index of df must be the day number, from 0, with one row per ticker and day: use "
                "velora_sb3.finrl.data_split"
            )
        if len(days) < 2 * n:
            raise ValueError("df must cover at least two days")
        tickers = self.df["tic"].to_numpy().reshape(-1, n)
        if not (tickers == tickers[0]).all():
            raise ValueError("df must have the same tickers in the same order on every day: sort by date and tic")
        risk = [] if self.turbulence_threshold is None else [self.risk_indicator_col]
        numbers = list(dict.fromkeys(["close", *self.tech_indicator_list, *risk]))
        check_numbers(self.df[["date", "tic", *numbers]], numbers)
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
        self.turbulence = 0.0  # as in FinRL, the first day is never turbulent
        self.reward, self.cost, self.trades, self.terminal = 0.0, 0.0, 0, False
        self.asset_memory, self.date_memory = [self.account_value], [self._dates[day]]
        self.rewards_memory: list[float] = []
        self.actions_memory: list[np.ndarray] = []

    @property
    def account_value(self) -> float:
        """Cash plus the value of all shares at today's close."""
        return self.cash + float(self._closes[self.day] @ self.shares)

    @property
    def state(self) -> list[float]:
        """Cash, closing prices, shares and indicators."""
        today = [self._closes[self.day], self.shares, self._indicators[self.day]]
        return [self.cash, *np.concatenate(today).tolist()]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode on the first day."""
        super().reset(seed=seed)
        self._start(0)
        self.episode += 1
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Trade at today's close and advance to the next; ``info`` holds ``date`` and ``account_value``.

        Raises:
            ValueError: If the action is not one finite number per stock.
        """
        action = np.asarray(action)
        if action.shape != (self.stock_dim,):
            raise ValueError(f"an action is one number for each of {self.stock_dim} stocks, got shape {action.shape}")
        if not np.isfinite(action).all():
            raise ValueError(f"the action is {action}, not finite: the policy has diverged; lower its learning rate")
        self.terminal = self.day == len(self._closes) - 1
        if self.terminal:
            self._end_episode()
        else:
            before = self.account_value
            self.actions_memory.append(self._trade(np.clip(action * self.hmax, -MOST_SHARES, MOST_SHARES).astype(int)))
            self.day += 1
            if self._turbulence is not None:
                self.turbulence = float(self._turbulence[self.day])
            self.asset_memory.append(self.account_value)
            self.date_memory.append(self._dates[self.day])
            self.rewards_memory.append(self.account_value - before)
            self.reward = self.rewards_memory[-1] * self.reward_scaling
        return self._observation(), self.reward, self.terminal, False, self._info()

    def _trade(self, wanted: np.ndarray) -> np.ndarray:
        """Execute the trades that are possible; returns the shares traded ``(n,)``."""
        prices, executed = self._closes[self.day], np.zeros_like(wanted)
        tradable = np.ones(self.stock_dim, dtype=bool)
        if self._indicators.size:
            tradable = self._indicators[self.day, : self.stock_dim] != 1
        if self.turbulence_threshold is not None and self.turbulence >= self.turbulence_threshold:
            tradable[:] = True
            wanted = -np.ceil(self.shares).astype(int)
        order = np.argsort(wanted)
        for stock in order[wanted[order] < 0]:
            number = min(-wanted[stock], self.shares[stock]) if tradable[stock] else 0
            if number > 0:
                self._settle(stock, -number, prices[stock] * number, self.sell_cost_pct[stock])
            executed[stock] = -number
        for stock in order[::-1][wanted[order[::-1]] > 0]:
            affordable = max(self.cash // (prices[stock] * (1 + self.buy_cost_pct[stock])), 0)
            number = min(wanted[stock], affordable) if tradable[stock] else 0
            if tradable[stock]:  # FinRL counts a purchase that was not affordable as a trade
                self._settle(stock, number, prices[stock] * number, self.buy_cost_pct[stock])
            executed[stock] = number
        return executed

    def _settle(self, stock: int, number: float, value: float, cost_pct: float) -> None:
        """Exchange shares for cash; the transaction cost is always deducted."""
        self.cash -= value * (1 + cost_pct) if number >= 0 else -value * (1 - cost_pct)
        self.shares[stock] += number
        self.cost += value * cost_pct
        self.trades += 1

    def _end_episode(self) -> None:
        if self.print_verbosity and self.episode % self.print_verbosity == 0:
            print(
                f"episode {self.episode}: {self.asset_memory[0]:.2f} -> {self.asset_memory[-1]:.2f} in "
                f"{self.day} days, {self.trades} trades, cost {self.cost:.2f}"
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
        """The state, which FinRL's ensemble reads by this method."""
        return self.state

    def save_asset_memory(self) -> pd.DataFrame:
        """Account value by day of the episode so far, in columns ``date`` and ``account_value``."""
        return pd.DataFrame({"date": self.date_memory, "account_value": self.asset_memory})

    def save_action_memory(self) -> pd.DataFrame:
        """Shares traded by date, one column per stock; a single stock has the columns ``date`` and ``actions``."""
        dates = self.date_memory[:-1]
        if self.stock_dim == 1:
            return pd.DataFrame({"date": dates, "actions": self.actions_memory})
        table = np.array(self.actions_memory, dtype=int).reshape(-1, self.stock_dim)
        return pd.DataFrame(table, columns=self._tickers, index=pd.Index(dates, name="date"))

    @cached_property
    def _checkpoint_key(self) -> str:
        """What tells prices apart: an episode in a checkpoint resumes only on those on which it started."""
        digest = hashlib.sha256(repr((self._tickers, self._dates)).encode())
        for table in (self._closes, self._indicators, self._turbulence):
            digest.update(b"" if table is None else table.tobytes())
        return digest.hexdigest()

    def get_state(self) -> dict[str, Any]:
        """The state of the running episode, for checkpoints."""
        kind = type(self)
        if kind is not StockTradingEnv and kind.get_state is StockTradingEnv.get_state:
            raise NotImplementedError(f"{kind.__name__} may have more state: give it its own get_state and set_state")
        state = {name: getattr(self, name) for name in STATE}
        return {**state, **{name: np.array(getattr(self, name)) for name in HISTORY}}

    def set_state(self, state: dict[str, Any]) -> None:
        """Resume an episode of ``get_state``, on the same prices."""
        vars(self).update({name: state[name] for name in STATE}, shares=state["shares"])
        self.asset_memory, self.rewards_memory = (state[name].tolist() for name in HISTORY[1:3])
        self.actions_memory = list(state["actions_memory"])
        self.date_memory = self._dates[self.day + 1 - len(self.asset_memory) : self.day + 1]

    def get_sb_env(self) -> tuple[DummyVecEnv, Any]:
        """A vectorized environment that holds this one, and its first observation."""
        vec_env = DummyVecEnv([lambda: self])
        return vec_env, vec_env.reset()
