"""Hooks as plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from velora_sb3.callbacks.hooks.episode_callback import EpisodeCallback
from velora_sb3.callbacks.hooks.signatures import HOOKS, Hook, fit


class LambdaCallback(EpisodeCallback):
    """Calls functions at the events of an :class:`EpisodeCallback`.

    ::

        LambdaCallback(on_episode_end=lambda episode, **kwargs: print(episode.get_return()))

    Functions are called in the given order, after the hooks of ``EpisodeCallback`` subclasses anywhere in the list.

    Args:
        history: As for :class:`EpisodeCallback`.
        timesteps_per_iteration: As for :class:`EpisodeCallback`.
        verbose: As for :class:`EpisodeCallback`.
        **hooks: A function, or a list of functions, for each hook. A function receives the arguments that it names, or
            all of them with ``**kwargs``.

    Raises:
        TypeError: If a hook does not exist, its value is not callable, or a function requires an argument that the hook
            does not have.
    """

    comes_last = True

    def __init__(
        self,
        *,
        history: int = 1,
        timesteps_per_iteration: int = 1,
        verbose: int = 0,
        **hooks: Hook | Sequence[Hook],
    ) -> None:
        self._given: dict[str, list[Hook]] = {}
        for name, given in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"unknown hook {name!r}: available are {', '.join(HOOKS)}")
            functions: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
            if wrong := [one for one in functions if not callable(one)]:
                raise TypeError(f"{name} must be a function or a list of functions, got {wrong[0]!r}")
            self._given[name] = [fit(name, one) for one in functions]
        super().__init__(history=history, timesteps_per_iteration=timesteps_per_iteration, verbose=verbose)

    def functions(self, hook: str) -> list[Hook]:
        """The hook of a subclass, then the functions given for it."""
        return [*super().functions(hook), *self._given.get(hook, [])]
