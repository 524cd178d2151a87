"""Hooks that are plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from velora_sb3.callbacks.hooks.episode_callback import EpisodeCallback
from velora_sb3.callbacks.hooks.signatures import HOOKS, Hook, fit


class LambdaCallback(EpisodeCallback):
    """Calls functions at the events that an :class:`EpisodeCallback` knows.

    ::

        LambdaCallback(on_episode_end=lambda episode, **kwargs: print(episode.get_return()))

    They are called after the hooks of subclasses, wherever it stands in the list of callbacks, and in their own order.

    Args:
        history: As for :class:`EpisodeCallback`.
        timesteps_per_iteration: As for :class:`EpisodeCallback`.
        verbose: As for :class:`EpisodeCallback`.
        **hooks: A function, or a list of them, by the name of the hook. A function takes the arguments of the hook that
            it names, or all of them with ``**kwargs``.

    Raises:
        TypeError: If there is no such hook, or its value is no function, or the function asks for an argument that it
            does not get.
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
                raise TypeError(f"there is no hook {name!r}: use {', '.join(HOOKS)}")
            functions: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
            if wrong := [one for one in functions if not callable(one)]:
                raise TypeError(f"{name} must be a function or a list of them, got {wrong[0]!r}")
            self._given[name] = [fit(name, one) for one in functions]
        super().__init__(history=history, timesteps_per_iteration=timesteps_per_iteration, verbose=verbose)

    def functions(self, hook: str) -> list[Hook]:
        """Hooks that a subclass overrides, then the functions that were given."""
        return [*super().functions(hook), *self._given.get(hook, [])]
