"""Evaluation of a trading agent, with the figures by which trading is judged."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.finrl.performance import PERIODS_PER_YEAR, performance


class TradingEvalCallback(EvalCallback):
    """SB3's ``EvalCallback`` that also logs what the account says: return, risk, and return for risk.

    Beside ``eval/mean_reward`` the logger gets ``eval/sharpe_ratio``, ``eval/sortino_ratio``, ``eval/max_drawdown``,
    ``eval/annual_return``, ``eval/annual_volatility``, ``eval/final_account_value`` and, where the environment trades
    shares, ``eval/turnover``: each the mean over the episodes of the evaluation, as
    :mod:`velora_sb3.finrl.performance` defines them. One that is not defined, such as the Sharpe ratio of an agent that
    does not trade, is left out.

    The account's value is read from the environment's ``asset_memory`` before the reset at the end of the episode,
    which empties it. In other processes an environment must have put its last value there one step earlier, as FinRL's
    does.

    Args:
        eval_env: A trading environment, one or vectorized: with ``asset_memory``, the account's value on each day.
        periods_per_year: Steps of the environment in a year.
        **settings: All further arguments are SB3's: ``eval_freq``, ``n_eval_episodes``, ``callback_after_eval``,
            ``best_model_save_path``, ``log_path`` and so on. ``warn`` is False unless given, as the account needs no
            ``Monitor``.

    Attributes:
        figures: The means of each evaluation, oldest first, by name, with ``timesteps``.

    Raises:
        ValueError: When training starts, if an environment has no ``asset_memory``.
    """

    def __init__(
        self, eval_env: gym.Env[Any, Any] | VecEnv, *, periods_per_year: int = PERIODS_PER_YEAR, **settings: Any
    ) -> None:
        super().__init__(eval_env, **{"warn": False, **settings})
        if periods_per_year < 1:
            raise ValueError(f"periods_per_year must be at least 1, got {periods_per_year!r}")
        self.periods_per_year = periods_per_year
        self.figures: list[dict[str, float]] = []
        self._prices: list[np.ndarray] | None = None  # (days, stocks) of each environment
        self._seen: dict[int, tuple[list[float], list[float], list[Any]]] = {}
        self._episodes: list[dict[str, float]] = []

    @property
    def sharpe_history(self) -> list[float]:
        """The Sharpe ratio of each evaluation; NaN where it was not defined."""
        return [each.get("sharpe_ratio", math.nan) for each in self.figures]

    @property
    def max_drawdown_history(self) -> list[float]:
        """The maximum drawdown of each evaluation."""
        return [each.get("max_drawdown", math.nan) for each in self.figures]

    def state_dict(self) -> dict[str, Any]:
        """The figures so far, as plain data; what SB3's class remembers, checkpoints store by themselves."""
        return {"figures": self.figures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What :meth:`state_dict` gave.
        """
        self.figures = [dict(each) for each in state["figures"]]

    def _init_callback(self) -> None:
        super()._init_callback()
        if not self.eval_env.has_attr("asset_memory"):
            raise ValueError(
                "TradingEvalCallback needs a trading environment: eval_env has no asset_memory, the list of the "
                "account's values; use SB3's EvalCallback for other environments"
            )
        if self.eval_env is self.training_env:
            raise ValueError("eval_env is the training environment: evaluating would tear its episodes, make a second")
        self._prices = self._read_prices()

    def _read_prices(self) -> list[np.ndarray] | None:
        """Closes by day, where actions are shares of stocks."""
        if not all(self.eval_env.has_attr(name) for name in ("df", "stock_dim", "hmax", "actions_memory")):
            return None
        frames, stocks = self.eval_env.get_attr("df"), self.eval_env.get_attr("stock_dim")
        return [
            frame["close"].to_numpy(dtype=np.float64).reshape(-1, n) for frame, n in zip(frames, stocks, strict=True)
        ]

    def _on_step(self) -> bool:
        if self.eval_freq > 0 and self.n_calls % self.eval_freq == 0:
            self._seen, self._episodes = {}, []
            self.figures.append({"timesteps": float(self.num_timesteps)})
        return super()._on_step()

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """As SB3's, which calls it in each step of the evaluation, before it logs."""
        super()._log_success_callback(locals_, globals_)
        index = int(locals_["i"])
        if not locals_["done"]:
            memory = self._read("asset_memory", index)
            trades = [] if self._prices is None else self._read("actions_memory", index)
            self._seen[index] = (memory, list(memory), trades)
        elif index in self._seen:
            # The list itself may have got the last day's value meanwhile; a reset makes a new one.
            live, copied, trades = self._seen.pop(index)
            values = max(live, copied, key=len)
            if len(values) > 1:
                self._take(performance(values, self._traded(index, trades), self.periods_per_year))

    def _read(self, name: str, index: int) -> list[Any]:
        memory: list[Any] = self.eval_env.get_attr(name, index)[0]
        return memory

    def _traded(self, index: int, trades: list[Any]) -> list[float] | None:
        if self._prices is None:
            return None
        pairs = zip(trades, self._prices[index], strict=False)
        return [float(np.abs(shares) @ closes) for shares, closes in pairs]

    def _take(self, figures: dict[str, float]) -> None:
        self._episodes.append(figures)
        for name in figures:
            values = [each[name] for each in self._episodes if not math.isnan(each[name])]
            if values:
                self.figures[-1][name] = float(np.mean(values))
                self.logger.record(f"eval/{name}", self.figures[-1][name])
