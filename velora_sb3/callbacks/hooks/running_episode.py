"""An episode that is under way, and where it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

Index = int | slice | Sequence[int] | None


@dataclass(frozen=True)
class EnvRunner:
    """Where episodes run, as hooks that were written for RLlib ask for it.

    Attributes:
        env: The vectorized environments.
        metrics: The logger of metrics.
        in_evaluation: Whether they evaluate; otherwise they train. ``env_runner.config.in_evaluation`` is the same.
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
    """An episode from its start to its end, in one of the vectorized environments.

    Observations and rewards are as the environment gave them, before ``VecNormalize``. Of steps, the latest are kept.

    Args:
        number: 1 for the first that began.
        env_index: Which of the vectorized environments it runs in.
        in_evaluation: Whether it is one of an evaluation.
        history: How many of the latest steps are kept.

    Attributes:
        id_: Its name, another for each.
        env_index: Which of the vectorized environments it runs in.
        in_evaluation: Whether it is one of an evaluation.
        custom_data: A place for whatever hooks want to keep with it.
        is_terminated: Whether it has ended by itself.
        is_truncated: Whether it was cut off, as by a time limit.
    """

    def __init__(self, number: int, env_index: int, in_evaluation: bool, history: int) -> None:
        self.number, self.env_index, self.in_evaluation = number, env_index, in_evaluation
        self.id_ = f"{'eval' if in_evaluation else 'train'}-{number}"
        self.custom_data: dict[str, Any] = {}
        self.is_terminated = self.is_truncated = False
        self._return, self._length = 0.0, 0
        self._observations, self._infos = (deque[Any](maxlen=history + 1) for _ in range(2))
        self._actions, self._rewards = (deque[Any](maxlen=history) for _ in range(2))

    def __len__(self) -> int:
        """Its steps so far."""
        return self._length

    def __bool__(self) -> bool:
        """True, before its first step too."""
        return True

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.is_terminated or self.is_truncated

    def get_return(self) -> float:
        """Sum of its rewards so far.

        Returns:
            The sum, in the environment's own reward.
        """
        return self._return

    def get_observations(self, indices: Index = None) -> Any:
        """Observations. Number 0 is what ``reset`` gave, and there is one more than there are steps.

        Args:
            indices: Which: -1 for the latest, a list or slice for several; None for all that are kept.

        Returns:
            The observation, or a list.

        Raises:
            IndexError: If it is not there, or no longer kept.
        """
        return _at(self._observations, self._length + 1, indices, "observation")

    def get_infos(self, indices: Index = None) -> Any:
        """Info dicts, numbered as observations are.

        Args:
            indices: As for :meth:`get_observations`.

        Returns:
            The info, or a list.

        Raises:
            IndexError: If it is not there, or no longer kept.
        """
        return _at(self._infos, self._length + 1, indices, "info")

    def get_actions(self, indices: Index = None) -> Any:
        """Actions, as the environment got them.

        Args:
            indices: As for :meth:`get_observations`.

        Returns:
            The action, or a list.

        Raises:
            IndexError: If it is not there, or no longer kept.
        """
        return _at(self._actions, self._length, indices, "action")

    def get_rewards(self, indices: Index = None) -> Any:
        """Rewards, as the environment gave them.

        Args:
            indices: As for :meth:`get_observations`.

        Returns:
            The reward, or a list.

        Raises:
            IndexError: If it is not there, or no longer kept.
        """
        return _at(self._rewards, self._length, indices, "reward")

    def start(self, observation: Any, info: dict[str, Any]) -> None:
        """Take in what ``reset`` gave, or what is known of an episode that goes on.

        Args:
            observation: The observation.
            info: The info.
        """
        for kept in (self._observations, self._infos, self._actions, self._rewards):
            kept.clear()
        self._observations.append(observation)
        self._infos.append(info)

    def add(self, observation: Any, action: Any, reward: float, info: dict[str, Any]) -> None:
        """Take in a step.

        Args:
            observation: The observation after it.
            action: The action.
            reward: The reward.
            info: The info.
        """
        self._return += reward
        self._length += 1
        self._observations.append(observation)
        self._actions.append(action)
        self._rewards.append(reward)
        self._infos.append(info)

    def is_at(self, length: int, episode_return: float) -> bool:
        """Whether it stands where another count of the same environment does.

        Args:
            length: Steps.
            episode_return: Sum of rewards.

        Returns:
            Whether both are its own.
        """
        return self._length == length and self._return == episode_return

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, without the steps that are kept."""
        return {
            "number": self.number,
            "return": self._return,
            "length": self._length,
            "custom_data": dict(self.custom_data),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What :meth:`state_dict` gave, of an episode with this number.
        """
        self._return, self._length = float(state["return"]), int(state["length"])
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
        raise IndexError(f"the episode has {count} {what}s so far, and no {what} {indices}")
    if place < 0:
        raise IndexError(
            f"{what} {indices} is no longer kept, only the latest {len(kept)} of {count} are: use history=... of the "
            "callback to keep more steps"
        )
    return kept[place]
