"""The running episodes of vectorized environments, and the hooks that they fire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from velora_sb3._call_env import innermost
from velora_sb3.callbacks.hooks.metrics_logger import MetricsLogger
from velora_sb3.callbacks.hooks.running_episode import EnvRunner, RunningEpisode

Fire = Callable[..., None]


class EpisodeTracker:
    """Keeps the running episodes of vectorized environments and fires their hooks.

    Attributes:
        running: Running episodes by the index of their environment, without those whose start was missed.
        ended: The episodes that have ended since ``take_samples``.
    """

    def __init__(self, env: VecEnv, metrics: MetricsLogger, in_evaluation: bool, history: int, fire: Fire) -> None:
        self.env, self.history, self.fire = env, history, fire
        self.runner = EnvRunner(env, metrics, in_evaluation)
        self.running: dict[int, RunningEpisode] = {}
        self.ended: list[RunningEpisode] = []
        self.begun = 0

    def begin(self, index: int, observations: Any) -> None:
        """Start an episode: its environment was reset."""
        self.begun += 1
        episode = RunningEpisode(self.begun, index, self.runner.in_evaluation, self.history)
        self.running[index] = episode
        self._fire("on_episode_created", episode)
        self.resume(index, observations)
        self._fire("on_episode_start", episode)

    def resume(self, index: int, observations: Any) -> None:
        """Continue an episode from its latest observation."""
        episode = self.running[index]
        infos = getattr(innermost(self.env), "reset_infos", None)  # those of mid-episode are not stored
        info = {} if len(episode) or infos is None else dict(infos[index])
        episode.start(of_env(observations, index), info)

    def step(
        self,
        index: int,
        rollout: dict[str, Any],
        observations: Any,
        reward: float,
        episode_return: float,
        length: int,
        ended: bool,
    ) -> None:
        """An environment took a step, after which its episode has this return and length."""
        episode, info = self.running.get(index), rollout["infos"][index]
        if episode is None:
            return
        after = of_env(observations, index)
        if rollout["dones"][index] and info.get("terminal_observation") is not None:
            after = raw_observations(self.env, info["terminal_observation"], stored=False)
        actions = rollout.get("clipped_actions", rollout["actions"])
        episode.add(after, actions[index], reward, info, episode_return, length)
        if ended:
            episode.is_truncated = bool(info.get("TimeLimit.truncated", False))
            episode.is_terminated = not episode.is_truncated
        self._fire("on_episode_step", episode)
        if ended:
            del self.running[index]
            self.ended.append(episode)
            self._fire("on_episode_end", episode, prev_episode_chunks=[])

    def finished(self, number: int, episode_return: float, length: int) -> None:
        """An episode has ended whose steps the algorithm did not expose."""
        episode = RunningEpisode(number, 0, self.runner.in_evaluation, self.history)
        episode.load_state_dict({"return": episode_return, "length": length, "custom_data": {}})
        self.ended.append(episode)
        self._fire("on_episode_end", episode, prev_episode_chunks=[])

    def take_samples(self) -> list[RunningEpisode]:
        """The episodes that have ended since the last call, and the running ones."""
        running = [episode for _, episode in sorted(self.running.items()) if len(episode)]
        samples, self.ended = [*self.ended, *running], []
        return samples

    def state_dict(self) -> dict[str, Any]:
        """The running episodes, as plain data."""
        running = {str(index): episode.state_dict() for index, episode in self.running.items()}
        return {"begun": self.begun, "running": running}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.begun, self.running = int(state["begun"]), {}
        for index, saved in state["running"].items():
            episode = RunningEpisode(int(saved["number"]), int(index), self.runner.in_evaluation, self.history)
            episode.load_state_dict(saved)
            self.running[int(index)] = episode

    def _fire(self, hook: str, episode: RunningEpisode, **more: Any) -> None:
        self.fire(
            hook,
            episode=episode,
            env_runner=self.runner,
            metrics_logger=self.runner.metrics,
            env=self.env,
            env_index=episode.env_index,
            **more,
        )


def of_env(observations: Any, index: int) -> Any:
    """The observation of one environment, of an array ``(n_envs, ...)`` or a dict of such arrays."""
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]


def raw_observations(env: VecEnv, observations: Any, stored: bool = True) -> Any:
    """Observations before normalization, if ``VecNormalize`` is the outermost wrapper, or several of them are."""
    while isinstance(env, VecNormalize):
        observations = env.get_original_obs() if stored else env.unnormalize_obs(observations)
        env = env.venv
    return observations
