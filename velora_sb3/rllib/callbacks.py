"""``EpisodeCallback`` and ``LambdaCallback`` as callbacks of RLlib."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from stable_baselines3.common.logger import Figure, Image

from velora_sb3.callbacks import EpisodeCallback
from velora_sb3.callbacks.hooks.metrics_logger import Key, MetricsLogger, is_number
from velora_sb3.callbacks.hooks.running_episode import RunningEpisode
from velora_sb3.callbacks.hooks.signatures import EPISODE_HOOKS, EVALUATION_HOOKS, HOOKS, Hook

ON_ENV_RUNNERS = (*EPISODE_HOOKS, "on_environment_created", "on_sample_end")


def as_rllib(*callbacks: EpisodeCallback) -> type[RLlibCallback]:
    """Make an RLlibCallback of callbacks with hooks.

    ::

        config.callbacks(as_rllib(MyCallback()))

    Hooks, their order and their arguments are those of :class:`velora_sb3.callbacks.EpisodeCallback`, except for these:
    ``algorithm`` is RLlib's, and hooks of episodes, samples and environments do not have it, as they run on environment
    runners; ``env`` is a Gymnasium ``VectorEnv``; ``rl_module`` is an RLModule; an action is the module's, which RLlib
    may rescale or clip for the environment. Hooks of evaluations have no ``evaluation``. An episode is whole: its
    return and length count from its start, also where RLlib has cut it. ``on_train_result`` is called after each
    ``Algorithm.train()``.

    In this process (``num_env_runners=0``) the callbacks are the ones given here, so what they collect can be read from
    them. Each environment runner in another process has a copy.

    Args:
        *callbacks: The callbacks. They share episodes and metrics.

    Returns:
        A class for ``AlgorithmConfig.callbacks()``.

    Raises:
        TypeError: If one is not an ``EpisodeCallback``, or a hook requires an argument that RLlib does not have.
    """
    for callback in callbacks:
        if not isinstance(callback, EpisodeCallback):
            raise TypeError(f"as_rllib takes an EpisodeCallback or a LambdaCallback, got {callback!r}")
        for hook in HOOKS:
            for function in callback.functions(hook):
                _check_arguments(hook, function)
    if not callbacks:
        raise TypeError("as_rllib needs at least one EpisodeCallback or LambdaCallback")
    name = "And".join(type(callback).__name__ for callback in callbacks)
    return type(name, (HookAdapter,), {"callbacks": callbacks, "__module__": __name__})


def _check_arguments(hook: str, function: Hook) -> None:
    """Raise ``TypeError`` if a hook's function requires what RLlib does not pass."""
    plain = function.args[0] if isinstance(function, partial) else function
    try:
        parameters = inspect.signature(plain).parameters.values()
    except ValueError:
        return
    lacking = {"algorithm"} if hook in ON_ENV_RUNNERS else {"evaluation"} if hook in EVALUATION_HOOKS else set()
    if wrong := [one.name for one in parameters if one.name in lacking and one.default is one.empty]:
        raise TypeError(
            f"{hook} of {plain!r} requires {wrong[0]}, which RLlib does not pass to it: give it a default or "
            "leave it out"
        )


class RLlibMetrics(MetricsLogger):
    """RLlib's metrics logger with the arguments and defaults of ours.

    Args:
        logger: RLlib's. What ours does not have is looked up there.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        """What only RLlib's has."""
        return getattr(vars(self)["_logger"], name)

    def log_value(
        self,
        key: Key,
        value: Any,
        *,
        reduce: str | None = None,
        window: int | None = None,
        ema_coeff: float | None = None,
        clear_on_reduce: bool | None = None,
        **rllib: Any,
    ) -> None:
        """As ours; images and figures of SB3 become arrays and figures, and an item a list with one for each runner.

        Args:
            key: The key; its parts are nested in the results.
            value: The value.
            reduce: As for ours.
            window: As for ours.
            ema_coeff: As for ours.
            clear_on_reduce: Only False with ``sum`` has an effect, that of ``lifetime_sum``.
            **rllib: Further arguments of RLlib's logger.
        """
        if isinstance(value, Image | Figure):
            value = value.image if isinstance(value, Image) else value.figure
        if reduce is None and ema_coeff is None:
            reduce = "mean" if is_number(value) else "item"
        elif reduce in (None, "mean") and ema_coeff is not None:
            reduce = "ema"
        elif reduce == "sum" and clear_on_reduce is False:
            reduce = "lifetime_sum"
        if reduce == "item":  # which RLlib refuses to merge where there are several environment runners
            reduce, window = "item_series", 1
        self._logger.log_value(_path(key), value, reduce=reduce, window=window, ema_coeff=ema_coeff, **rllib)

    def peek(self, key: Key | None = None, *, default: Any = None) -> Any:
        """RLlib's value of a key, or a nested dict.

        Args:
            key: The key, or a prefix; None for all.
            default: Returned if there are no values.

        Returns:
            The value.

        Raises:
            KeyError: If there are no values under the key, and no default.
        """
        return self._logger.peek(None if key is None else _path(key), default=default)


def _path(key: Key) -> tuple[str, ...]:
    return tuple(key.split("/")) if isinstance(key, str) else tuple(key)


class HookAdapter(RLlibCallback):  # type: ignore[misc]  # RLlib has no type information
    """Calls the hooks of callbacks; the algorithm and each environment runner have one of these."""

    callbacks: ClassVar[tuple[EpisodeCallback, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        ordered = sorted(self.callbacks, key=lambda one: one.comes_last)
        self._functions = {hook: [call for one in ordered for call in one.functions(hook)] for hook in HOOKS}
        self._follows = any(self._functions[hook] for hook in (*EPISODE_HOOKS, "on_sample_end"))
        self._history = max(one.history for one in self.callbacks)
        self._running: dict[int, RunningEpisode] = {}
        self._ended: list[RunningEpisode] = []
        self._created = 0

    # Hooks of the algorithm.

    def on_algorithm_init(self, *, algorithm: Any, metrics_logger: Any = None, **kwargs: Any) -> None:
        """The algorithm was built."""
        self._fire("on_algorithm_init", metrics_logger, algorithm=algorithm)

    def on_checkpoint_loaded(self, *, algorithm: Any, **kwargs: Any) -> None:
        """The algorithm has loaded a checkpoint."""
        self._fire("on_checkpoint_loaded", algorithm.metrics, algorithm=algorithm)

    def on_train_result(
        self, *, algorithm: Any, metrics_logger: Any = None, result: dict[str, Any], **kwargs: Any
    ) -> None:
        """An iteration has ended."""
        self._fire("on_train_result", metrics_logger, algorithm=algorithm, result=result)

    def on_evaluate_start(self, *, algorithm: Any, metrics_logger: Any = None, **kwargs: Any) -> None:
        """An evaluation starts."""
        self._fire("on_evaluate_start", metrics_logger, algorithm=algorithm)

    def on_evaluate_end(
        self, *, algorithm: Any, metrics_logger: Any = None, evaluation_metrics: dict[str, Any], **kwargs: Any
    ) -> None:
        """An evaluation has ended."""
        self._fire("on_evaluate_end", metrics_logger, algorithm=algorithm, evaluation_metrics=evaluation_metrics)

    # Hooks of environment runners.

    def on_environment_created(
        self, *, env_runner: Any, metrics_logger: Any = None, env: Any, env_context: Any, **kwargs: Any
    ) -> None:
        """Environments were created."""
        context = {"env_runner": env_runner, "env": env, "env_context": env_context}
        self._fire("on_environment_created", metrics_logger, **context)

    def on_episode_created(self, *, episode: Any, env_runner: Any, env_index: int, **kwargs: Any) -> None:
        """An episode was created, which has no observation yet."""
        if not self._follows:
            return
        if not isinstance(episode, SingleAgentEpisode):
            raise TypeError(f"as_rllib follows episodes of one agent, got a {type(episode).__name__}")
        self._created += 1
        running = RunningEpisode(self._created, env_index, bool(env_runner.config.in_evaluation), self._history)
        running.id_ = episode.id_
        self._running[env_index] = running
        self._fire_episode("on_episode_created", episode, env_runner=env_runner, env_index=env_index, **kwargs)

    def on_episode_start(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        """An episode has its first observation."""
        if self._follows:
            self._running[env_index].start(episode.get_observations(-1), episode.get_infos(-1))
            self._fire_episode("on_episode_start", episode, env_index=env_index, **kwargs)

    def on_episode_step(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        """An episode has taken a step."""
        if not self._follows:
            return
        running, reward = self._running[env_index], float(episode.get_rewards(-1))
        running.add(
            episode.get_observations(-1), episode.get_actions(-1), reward, episode.get_infos(-1),
            running.get_return() + reward, len(running) + 1,
        )  # fmt: skip
        running.is_terminated, running.is_truncated = bool(episode.is_terminated), bool(episode.is_truncated)
        self._fire_episode("on_episode_step", episode, env_index=env_index, **kwargs)

    def on_episode_end(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        """An episode has ended."""
        if self._follows:
            whole = {**kwargs, "prev_episode_chunks": []}
            self._fire_episode("on_episode_end", episode, env_index=env_index, **whole)
            self._ended.append(self._running.pop(env_index))

    def on_sample_end(self, *, env_runner: Any, metrics_logger: Any = None, samples: Any, **kwargs: Any) -> None:
        """A sample was collected."""
        running = [episode for _, episode in sorted(self._running.items()) if len(episode)]
        episodes, self._ended = [*self._ended, *running], []
        self._fire("on_sample_end", metrics_logger, env_runner=env_runner, samples=episodes)

    def _fire_episode(self, hook: str, episode: Any, env_index: int, **kwargs: Any) -> None:
        running = self._running[env_index]
        running.custom_data = episode.custom_data  # RLlib copies it where it cuts the episode
        wanted: Mapping[str, Any] = {name: kwargs[name] for name in HOOKS[hook] if name in kwargs}
        context = {**wanted, "episode": running, "env_index": env_index}
        self._fire(hook, context.pop("metrics_logger", None), **context)

    def _fire(self, hook: str, metrics_logger: Any, **arguments: Any) -> None:
        if functions := self._functions[hook]:
            metrics = RLlibMetrics(metrics_logger)
            for function in functions:
                function(metrics_logger=metrics, **arguments)
