"""A running episode, and the environments in which it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

Index = int | slice | Sequence[int] | None


@dataclass(frozen=True)
class EnvRunner:
    """The environments in which episodes run, under RLlib's names.

    Attributes:
        env: The vectorized environments.
        metrics: The logger of metrics.
        in_evaluation: Whether they are for evaluation, not training; also ``env_runner.config.in_evaluation``.
        worker_index: Always 0.
    """

    env: VecEnv
    metrics: Any
    in_evaluation: bool
    worker_index: int = 0

    @property
    def config(self) -> EnvRunner:
        """Itself."""
        return self

    @property
    def num_envs(self) -> int:
        """Number of environments."""
        return self.env.num_envs


class RunningEpisode:
    """An episode in one of the vectorized environments, from its start to its end.

    Observations and rewards are those before ``VecNormalize``. Only the latest steps are kept.

    Args:
        number: 1 for the first episode that started.
        env_index: Index of the vectorized environment.
        in_evaluation: Whether it belongs to an evaluation.
        history: Number of steps to keep.

    Attributes:
        id_: A unique name.
        env_index: Index of the vectorized environment.
        in_evaluation: Whether it belongs to an evaluation.
        custom_data: A dict for the hooks' own data.
        is_terminated: Whether the environment ended it.
        is_truncated: Whether it was truncated, as by a time limit.
    """

    def __init__(self, number: int, env_index: int, in_evaluation: bool, history: int) -> None:
        self.number, self.env_index, self.in_evaluation = number, env_index, in_evaluation
        self.id_ = f"{'eval' if in_evaluation else 'train'}-{number}"
        self.custom_data: dict[str, Any] = {}
        self.is_terminated = self.is_truncated = False
        self._return, self._length = 0.0, 0
        self._steps = 0  # that the algorithm took; Monitor's length may differ at the end
        self._observations, self._infos = (deque[Any](maxlen=history + 1) for _ in range(2))
        self._actions, self._rewards = (deque[Any](maxlen=history) for _ in range(2))

    def __len__(self) -> int:
        """Number of steps so far."""
        return self._length

    def __bool__(self) -> bool:
        """True, also before the first step."""
        return True

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.is_terminated or self.is_truncated

    def get_return(self) -> float:
        """Its return so far.

        Returns:
            The sum of its rewards, before any normalization; at its end the return that ``Monitor`` reports, if any.
        """
        return self._return

    def get_observations(self, indices: Index = None) -> Any:
        """Observations by step; index 0 is the one from ``reset``, so there is one more than there are steps.

        Args:
            indices: An index, such as -1 for the latest, a list or a slice; None for all that are kept.

        Returns:
            The observation, or a list.

        Raises:
            IndexError: If there is no such observation, or it is no longer kept.
        """
        return _at(self._observations, self._steps + 1, indices, "observation")

    def get_infos(self, indices: Index = None) -> Any:
        """Info dicts, indexed like observations.

        Args:
            indices: As for :meth:`get_observations`.

        Returns:
            The info, or a list.

        Raises:
            IndexError: If there is no such info, or it is no longer kept.
        """
        return _at(self._infos, self._steps + 1, indices, "info")

    def get_actions(self, indices: Index = None) -> Any:
        """Actions, as the environment received them.

        Args:
            indices: As for :meth:`get_observations`.

        Returns:
            The action, or a list.

        Raises:
            IndexError: If there is no such action, or it is no longer kept.
        """
        return _at(self._actions, self._steps, indices, "action")

    def get_rewards(self, indices: Index = None) -> Any:
        """Rewards, before any normalization.

        Args:
            indices: As for :meth:`get_observations`.

        Returns:
            The reward, or a list.

        Raises:
            IndexError: If there is no such reward, or it is no longer kept.
        """
        return _at(self._rewards, self._steps, indices, "reward")

    def start(self, observation: Any, info: dict[str, Any]) -> None:
        """Set the first observation, or the latest one of a resumed episode."""
        for kept in (self._observations, self._infos, self._actions, self._rewards):
            kept.clear()
        self._observations.append(observation)
        self._infos.append(info)

    def add(
        self, observation: Any, action: Any, reward: float, info: dict[str, Any], episode_return: float, length: int
    ) -> None:
        """Add a step: the observation after it, and the return and length with it."""
        self._return, self._length, self._steps = episode_return, length, self._steps + 1
        self._observations.append(observation)
        self._actions.append(action)
        self._rewards.append(reward)
        self._infos.append(info)

    def is_at(self, length: int, episode_return: float) -> bool:
        """Whether it has this length and return."""
        return self._length == length and self._return == episode_return

    def state_dict(self) -> dict[str, Any]:
        """Return, length and data, without the kept steps."""
        return {
            "number": self.number,
            "return": self._return,
            "length": self._length,
            "custom_data": dict(self.custom_data),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of the episode with this number."""
        self._return, self._length = float(state["return"]), int(state["length"])
        self._steps = self._length
        self.custom_data = dict(state["custom_data"])


def _at(kept: deque[Any], count: int, indices: Index, what: str) -> Any:
    """Entries by their number in the episode, of which the latest are kept."""
    if indices is None:
        return list(kept)
    if isinstance(indices, slice):
        indices = range(*indices.indices(count))
    if not isinstance(indices, int):
        return [_at(kept, count, index, what) for index in indices]
    number = indices + count if indices < 0 else indices
    place = number - (count - len(kept))
    if not 0 <= number < count:
        raise IndexError(f"{what} {indices} is out of range: the episode has {count} {what}s so far")
    if place < 0:
        raise IndexError(
            f"{what} {indices} is no longer kept; only the latest {len(kept)} of {count} are: pass a larger history to "
            "the callback"
        )
    return kept[place]
