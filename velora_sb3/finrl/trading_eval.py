"""Evaluation of a trading agent with performance figures."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._validation import check_integer
from velora_sb3.callbacks.hooks.eval_callback import EvalCallback
from velora_sb3.finrl.normalization import check_fits, save_statistics
from velora_sb3.finrl.performance import performance
from velora_sb3.finrl.prices.dates import TRADING_DAYS, dates_per_year, read_dates


class TradingEvalCallback(EvalCallback):
    """An ``EvalCallback`` that also logs return, risk and risk-adjusted return of the account.

    In addition to ``eval/mean_reward`` it logs ``eval/sharpe_ratio``, ``eval/sortino_ratio``, ``eval/max_drawdown``,
    ``eval/annual_return``, ``eval/annual_volatility``, ``eval/final_account_value`` and, if the environment trades
    shares, ``eval/turnover``. Each is the mean over the episodes of the evaluation; :mod:`velora_sb3.finrl.performance`
    defines them. An undefined figure, such as the Sharpe ratio of an agent that does not trade, is not logged. Of
    an account that falls to zero or below, only the last value is logged, with a warning.

    With ``best_model_save_path`` the statistics of a ``VecNormalize`` are saved as ``best_model_vecnormalize.pkl``,
    where :meth:`DRLAgent.DRL_prediction_load_from_file` finds them.

    The account values come from the environment's ``asset_memory``, read before the reset at the end of the episode
    clears it. In a ``SubprocVecEnv`` the environment must have appended the last value one step before the episode
    ends, as FinRL's does.

    Args:
        eval_env: A trading environment, single or vectorized, with ``asset_memory``: the account value on each day.
        periods_per_year: Environment steps in a year; None to tell from the dates of its prices: 252 for trading days.
        **settings: Arguments of SB3's ``EvalCallback``: ``eval_freq``, ``n_eval_episodes``, ``callback_after_eval``,
            ``best_model_save_path``, ``log_path`` and so on. ``warn`` defaults to False, as no ``Monitor`` is needed.

    Attributes:
        figures: The mean figures of each evaluation by name, with ``timesteps``; oldest first.

    Raises:
        ValueError: If ``periods_per_year`` is not a positive integer; when training starts, if an environment has no
            ``asset_memory``, is the training environment or does not fit the model.
    """

    def __init__(
        self, eval_env: gym.Env[Any, Any] | VecEnv, *, periods_per_year: int | None = None, **settings: Any
    ) -> None:
        super().__init__(eval_env, **{"warn": False, **settings})
        self.periods_per_year = (
            None if periods_per_year is None else check_integer("periods_per_year", periods_per_year)
        )
        self.figures: list[dict[str, float]] = []
        self._prices: list[np.ndarray] | None = None  # (days, stocks) of each environment
        self._seen: dict[int, tuple[list[float], list[float], list[Any]]] = {}
        self._episodes: list[dict[str, float]] = []
        self._warned = False

    @property
    def sharpe_history(self) -> list[float]:
        """The Sharpe ratio of each evaluation; NaN where it is undefined."""
        return [each.get("sharpe_ratio", math.nan) for each in self.figures]

    @property
    def max_drawdown_history(self) -> list[float]:
        """The maximum drawdown of each evaluation."""
        return [each.get("max_drawdown", math.nan) for each in self.figures]

    def state_dict(self) -> dict[str, Any]:
        """The figures so far, as plain data. Checkpoints store the state of SB3's ``EvalCallback`` separately."""
        return {"figures": self.figures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Args:
            state: A state returned by :meth:`state_dict`.
        """
        self.figures = [dict(each) for each in state["figures"]]

    def _init_callback(self) -> None:
        super()._init_callback()
        if not self.eval_env.has_attr("asset_memory"):
            raise ValueError(
                "TradingEvalCallback needs a trading environment: eval_env has no asset_memory, the list of account "
                "values; use SB3's EvalCallback for other environments"
            )
        if self.eval_env is self.training_env:
            raise ValueError(
                "eval_env is the training environment, and evaluating would interrupt its episodes: create another"
            )
        check_fits(self.model, self.eval_env)
        self._prices = self._read_prices()
        if self.periods_per_year is None:
            self.periods_per_year = TRADING_DAYS
            if self.eval_env.has_attr("df") and "date" in (frame := self.eval_env.get_attr("df")[0]):
                self.periods_per_year = dates_per_year(read_dates(frame["date"].reset_index(drop=True)))

    def _read_prices(self) -> list[np.ndarray] | None:
        """Closing prices ``(days, stocks)`` of each environment; None where actions are not shares of stocks."""
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
        best = self.best_mean_reward
        go_on = super()._on_step()
        if self.best_model_save_path is not None and self.best_mean_reward > best:
            save_statistics(self.model, Path(self.best_model_save_path) / "best_model")
        return go_on

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """Called by SB3 at each step of the evaluation, before it logs."""
        super()._log_success_callback(locals_, globals_)
        index = int(locals_["i"])
        if not locals_["done"]:
            memory = self._read("asset_memory", index)
            trades = [] if self._prices is None else self._read("actions_memory", index)
            self._seen[index] = (memory, list(memory), trades)
        elif index in self._seen:
            # The live list may have gained the last day's value since; a reset replaces it with a new list.
            live, copied, trades = self._seen.pop(index)
            values = max(live, copied, key=len)
            if len(values) > 1:
                self._record(self._figures(values, self._traded(index, trades)))

    def _figures(self, values: list[float], traded: list[float] | None) -> dict[str, float]:
        """The figures of an episode; of an account that lost everything, which has no returns, what is left."""
        try:
            return performance(values, traded, self.periods_per_year)
        except ValueError as error:
            if not self._warned:
                self._warned = True
                text = f"TradingEvalCallback: an evaluation has no figures but the final account value: {error}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
            return {"final_account_value": float(values[-1])}

    def _read(self, name: str, index: int) -> list[Any]:
        memory: list[Any] = self.eval_env.get_attr(name, index)[0]
        return memory

    def _traded(self, index: int, trades: list[Any]) -> list[float] | None:
        if self._prices is None:
            return None
        pairs = zip(trades, self._prices[index], strict=False)
        return [float(np.abs(shares) @ closes) for shares, closes in pairs]

    def _record(self, figures: dict[str, float]) -> None:
        self._episodes.append(figures)
        for name in figures:
            values = [each[name] for each in self._episodes if not math.isnan(each[name])]
            if values:
                self.figures[-1][name] = float(np.mean(values))
                self.logger.record(f"eval/{name}", self.figures[-1][name])
