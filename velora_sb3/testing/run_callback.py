"""Run a callback through a scripted training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from numpy.typing import ArrayLike
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3._validation import check_integer
from velora_sb3.testing.scripted_env import Info, Script, ScriptedEnv


@dataclass
class ScriptedRun:
    """The result of :func:`run_callback`.

    Attributes:
        model: The model after ``learn()``.
        hooks: The methods that SB3 called on the callback, in order: ``init_callback``, ``on_training_start``,
            ``on_rollout_start``, ``on_step``, ``on_rollout_end``, ``on_training_end``.
        answers: The return value of ``on_step`` at each step.
        rows: The dumped rows of the logger; ``"step"`` is the timestep.
        error: The scripted error, if it was raised.
    """

    model: BaseAlgorithm
    hooks: list[str] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def num_timesteps(self) -> int:
        """Number of timesteps, over all environments."""
        return self.model.num_timesteps

    @property
    def stopped(self) -> bool:
        """Whether the callback stopped training."""
        return bool(self.answers) and not self.answers[-1]

    def logged(self, key: str) -> list[Any]:
        """The dumped values of a key.

        Args:
            key: Such as ``early_stopping/reward``.

        Returns:
            The values in order.
        """
        return [row[key] for row in self.rows if key in row]


def run_callback(
    callback: BaseCallback,
    rewards: ArrayLike,
    *,
    dones: ArrayLike | None = None,
    truncations: ArrayLike | None = None,
    observations: ArrayLike | None = None,
    infos: Sequence[Info | Sequence[Info]] | None = None,
    logged: Sequence[Mapping[str, Any]] | None = None,
    rollout_length: int | None = None,
    off_policy: bool = False,
    raises: tuple[int, BaseException] | None = None,
    monitor: bool = True,
) -> ScriptedRun:
    """Run a callback through ``learn()`` with scripted environments and no training.

    The loop is SB3's own, with a tiny A2C, or DQN if ``off_policy``, whose ``train()`` does nothing. So hooks,
    ``locals``, ``model``, ``logger`` and ``training_env`` are those of real training.

    Args:
        callback: The callback, or SB3's ``CallbackList``.
        rewards: ``(T,)``, or ``(T, n_envs)`` for several environments.
        dones: Where an episode terminates, shaped like the rewards; by default only at the last step.
        truncations: Where an episode is truncated, shaped like the rewards; by default nowhere.
        observations: ``(T + 1, ...)``, or ``(T + 1, n_envs, ...)`` if the rewards have that axis: at the start and
            after each step, including the last of an episode. Zeros by default.
        infos: The info of each step, or a sequence with one per environment.
        logged: For each dump of SB3, the numbers to add to it.
        rollout_length: Steps per rollout, which must divide ``T``. By default 1 if ``off_policy``; otherwise one
            rollout per row of ``logged``, or a single one without.
        off_policy: Whether to use DQN, which dumps when episodes end, instead of A2C, which dumps after each rollout.
        raises: A step, from 0, and the exception that the environment raises there, such as ``KeyboardInterrupt()``.
        monitor: Whether the environments have SB3's ``Monitor``.

    Returns:
        The run. Exceptions of the callback are raised; the scripted one is in ``error``.

    Raises:
        ValueError: If the lengths do not match.
    """
    script = Script(rewards, dones, truncations, observations, infos, raises)
    if rollout_length is None:
        rollout_length = 1 if off_policy else max(len(script) // len(logged), 1) if logged else len(script)
    if len(script) % check_integer("rollout_length", rollout_length):
        raise ValueError(f"rollout_length must divide the {len(script)} steps of the script, got {rollout_length}")
    env = DummyVecEnv([_maker(script, index, monitor) for index in range(script.n_envs)])
    common: dict[str, Any] = {"policy_kwargs": {"net_arch": [2]}, "seed": 0, "device": "cpu"}
    model: BaseAlgorithm
    if off_policy:
        replay: dict[str, Any] = {"buffer_size": 10, "learning_starts": 0, "train_freq": rollout_length}
        model = ScriptedDQN("MlpPolicy", env, **replay, **common)
    else:
        model = ScriptedA2C("MlpPolicy", env, n_steps=rollout_length, **common)
    model.script_rows = list(logged or [])
    run = ScriptedRun(model)
    model.set_logger(Logger(None, [_Rows(run.rows)]))
    try:
        model.learn(script.rewards.size, callback=_Watched([callback], run), log_interval=1)
    except BaseException as error:
        if raises is None or error is not raises[1]:
            raise
        run.error = error
    return run


class _Scripted:
    """Does not train, and logs scripted rows."""

    script_rows: list[Mapping[str, Any]]
    logger: Logger

    def train(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def dump_logs(self, *arguments: Any) -> None:
        """Add the next scripted row to SB3's."""
        if self.script_rows:
            for key, value in self.script_rows.pop(0).items():
                self.logger.record(key, value)
        super().dump_logs(*arguments)  # type: ignore[misc]


class ScriptedA2C(_Scripted, A2C):
    """A2C with a scripted log."""


class ScriptedDQN(_Scripted, DQN):
    """DQN with a scripted log."""


def _maker(script: Script, index: int, monitor: bool) -> Callable[[], gym.Env[Any, Any]]:
    def make() -> gym.Env[Any, Any]:
        env = ScriptedEnv(script, index)
        return Monitor(env) if monitor else env

    return make


class _Watched(CallbackList):
    """Records the methods that SB3 calls."""

    def __init__(self, callbacks: list[BaseCallback], run: ScriptedRun) -> None:
        super().__init__(callbacks)
        self._run = run

    def _init_callback(self) -> None:
        self._run.hooks.append("init_callback")
        super()._init_callback()

    def _on_training_start(self) -> None:
        self._run.hooks.append("on_training_start")
        super()._on_training_start()

    def _on_rollout_start(self) -> None:
        self._run.hooks.append("on_rollout_start")
        super()._on_rollout_start()

    def _on_step(self) -> bool:
        self._run.hooks.append("on_step")
        answer = [callback.on_step() for callback in self.callbacks][-1]
        self._run.answers.append(answer)
        return bool(answer)

    def _on_rollout_end(self) -> None:
        self._run.hooks.append("on_rollout_end")
        super()._on_rollout_end()

    def _on_training_end(self) -> None:
        self._run.hooks.append("on_training_end")
        super()._on_training_end()


class _Rows(KVWriter):
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        self._rows.append({**key_values, "step": step})

    def close(self) -> None:
        """Nothing is open."""
