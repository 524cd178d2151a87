"""Videos during training, and of the trained policy at the end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._call_env import EnvOutOfReachError, call_env
from velora_sb3._headless import prepare_rendering, render
from velora_sb3._optional import require
from velora_sb3._signals import unmasked_signals
from velora_sb3._validation import check_choice, check_integer, check_timesteps
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.naming import env_name
from velora_sb3.callbacks.base.preserve_rng import preserve_rng
from velora_sb3.video.record_episode import MAX_FRAMES, first_line, frames_per_second, record_episode
from velora_sb3.video.rendering_env import EnvFn, copy_normalization, env_metadata, open_video_env
from velora_sb3.video.writer import VideoWriter, as_frame

Method = Literal["episode", "step"]


class RecordVideos(VeloraCallback):
    """Records videos to ``<root>/<dirname>/videos`` during training, and a final one when it has ended.

    If the training env renders ``rgb_array``, they show training itself: the frames of its first env (env 0).
    Otherwise, and with ARS, training pauses while the deterministic policy plays one episode in a separate env. The
    final video is always such an episode.

    - ``Env-episode-100.mp4``: the first episode to start in env 0 once 99 have ended over all envs; with one env, the
      hundredth. In a separate env: played when 100 have ended.
    - ``Env-step-1000.mp4``: from the step at which ``num_timesteps`` reaches 1000 to the end of env 0's episode, and
      through the next one while the video is shorter than a second. In a separate env: played at that step.
    - ``Env_final-episode-0.mp4``: played when training has ended.

    A multiple of the frequency that is reached during a recording gets no video. Videos of training lack the final
    state of the episode, as SB3 resets an env within its last step. Episodes in a separate env all start from the
    model's seed, so that they are comparable. Videos stop after 10,000 frames. Training is the same with and without
    videos.

    When training starts, the separate env is created, and one frame rendered and encoded. If the renderer or the
    encoder fails later, there is one warning and training continues. If training ends or is interrupted during a
    recording, the video ends there, and is discarded if it is shorter than a second. Interrupted training has no final
    video.

    Args:
        dirname: Directory of the run under ``root``.
        method: What ``frequency`` counts: ``"episode"`` or ``"step"`` (timesteps over all envs).
        frequency: Episodes or timesteps from one video to the next.
        force: Whether to use an existing directory of videos; files of the same name are replaced.
        env_fn: Creates the separate env, with ``render_mode="rgb_array"``; None copies the training env from its spec.
            Required if ``gymnasium.make`` did not create that env. If the training env has ``VecEnv`` wrappers that are
            not SB3's, it must return a ``DummyVecEnv`` of one env in all of its wrappers.
        root: Directory of all runs.
        verbose: 0 for no output, 1 to print each video.

    Attributes:
        videos: Finished files, oldest first.
        directory: Their directory.

    Raises:
        ValueError: If an argument is out of range; when training starts, if no env can be copied or rendered, or if the
            callback is the child of an event.
        FileExistsError: If the directory exists and ``force`` is not set.
        ImportError: If the extra ``video`` is not installed.
    """

    _needs_every_step = True

    def __init__(
        self,
        dirname: str,
        *,
        method: Method = "episode",
        frequency: int = 100,
        force: bool = False,
        env_fn: EnvFn | None = None,
        root: str | Path = "checkpoints",
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self.method: Method = check_choice("method", method, get_args(Method))
        self.frequency = (check_timesteps if method == "step" else check_integer)("frequency", frequency)
        if env_fn is not None and not callable(env_fn):
            raise ValueError(
                "env_fn must be a function, as in env_fn=lambda: gymnasium.make(id, render_mode='rgb_array'), got "
                f"{env_fn!r}"
            )
        require("video", "RecordVideos")
        self.dirname, self.root, self.force, self.env_fn = dirname, Path(root), force, env_fn
        self.directory = Path(root, dirname, "videos").absolute()  # the program may change its directory
        if self.directory.exists() and not force:
            raise FileExistsError(
                f"{self.directory} already exists: choose another dirname, move the directory, or pass force=True "
                "to add to it and replace files of the same name"
            )
        prepare_rendering()
        self.videos: list[Path] = []
        self._next: int | None = None  # the episode or timestep of the next video
        self._live = False  # whether videos show training itself
        self._video: VideoWriter | None = None  # being recorded from training
        self._number = 0
        self._video_env: VecEnv | None = None
        self._warned = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is being recorded, and the environment to record."""
        return {**super().__getstate__(), "_video": None, "_video_env": None}

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        settings = {"method": self.method, "frequency": self.frequency, "force": self.force, "root": str(self.root)}
        return type(self).__name__, {"dirname": self.dirname, **settings}

    def info(self) -> str:
        """What it records, and where."""
        return f"RecordVideos: records every {self.frequency} {self.method}s and at the end to {self.directory}"

    def state_dict(self) -> dict[str, Any]:
        """Adds when the next video is due: one being recorded is due again, should training resume from here."""
        return {**super().state_dict(), "next": self._next if self._video is None else self._number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state)
        self._next = state["next"]

    def _on_start(self) -> None:
        self._name, self._warned = env_name(self.training_env), False
        shows_steps = isinstance(self.model, OnPolicyAlgorithm | OffPolicyAlgorithm)
        self._live = shows_steps and self.training_env.render_mode == "rgb_array"
        with preserve_rng(self.model):
            self._record_trial()
        if self.num_timesteps == 0 or self._next is None:
            reached = self.num_timesteps if self.method == "step" else self.episodes.finished
            self._next = (reached // self.frequency + 1) * self.frequency
        if self._live:
            running = self.episodes.running(0)
            self._record_frame(episode_starts=running is not None and running[0] == 0)

    def _on_every_step(self) -> bool:
        self.episodes.step(self.model, self.locals)
        if self._live:
            self._record_frame(episode_starts=bool(self.locals["dones"][0]))
        else:
            self._play_if_due()
        return True

    def _on_rollout_end(self) -> None:
        if not self._live:  # the episodes of ARS are known only now
            self._play_if_due()

    def _on_end(self) -> None:
        if self._video is not None:
            with self._guarded():
                if self._video.frames >= self._fps:
                    self._finish(self._video)
                else:  # due again, should training continue
                    self._video.discard()
                    self._video, self._next = None, self._number
        if not self.interrupted:
            self._play("_final-episode-0")
        if self._video_env is not None:
            with suppress(Exception):
                self._video_env.close()
            self._video_env = None
        with suppress(OSError):
            self.directory.rmdir()  # if it is empty

    def _record_trial(self) -> None:
        """Fail now rather than after hours."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._fps = frames_per_second(env_metadata(self.training_env))
            if self._live:
                as_frame(self._render())
            self._video_env = open_video_env(self.training_env, self.env_fn)
            with TemporaryDirectory(prefix=".trial-", dir=self.directory) as place:  # runs may share the directory
                record_episode(self.model, self._video_env, Path(place, "trial.mp4"), seed=0, max_frames=1)
        except Exception as error:  # a renderer may raise anything
            reason = str(error) or type(error).__name__
            raise ValueError(f"RecordVideos cannot record {self._name}: {reason}") from error

    def _due(self, episode_starts: bool) -> int | None:
        """The number of the video to start now, if any."""
        if self.method == "step":
            count = self.num_timesteps
        elif not self._live:
            count = self.episodes.finished
        elif episode_starts:
            count = self.episodes.finished + 1
        else:
            return None
        number = count // self.frequency * self.frequency
        assert self._next is not None  # set when training started
        if number < self._next:
            return None
        self._next = number + self.frequency
        return number

    def _record_frame(self, episode_starts: bool) -> None:
        """Record the current state of env 0, if it belongs to a video."""
        number = self._due(episode_starts)
        if self._video is None and number is None:
            return
        with self._guarded():
            if self._video is not None and self._is_complete(self._video, episode_starts):
                self._finish(self._video)
            if self._video is None and number is not None:
                self._video, self._number = VideoWriter(self._path(f"-{self.method}-{number}"), self._fps), number
            if self._video is not None:
                self._video.write(self._render())

    def _is_complete(self, video: VideoWriter, episode_ended: bool) -> bool:
        long_enough = self.method == "episode" or video.frames >= self._fps
        return (episode_ended and long_enough) or video.frames >= MAX_FRAMES

    def _render(self) -> Any:
        try:
            try:
                return call_env(self.training_env, render)
            except EnvOutOfReachError:  # an error ends the process of the env
                return self.training_env.env_method("render", indices=0)[0]
        except (EOFError, ConnectionError) as error:
            raise RuntimeError("the process of env 0 died while rendering") from error

    def _play_if_due(self) -> None:
        number = self._due(episode_starts=False)
        if number is not None:
            self._play(f"-{self.method}-{number}")

    def _play(self, suffix: str) -> None:
        """Record an episode in the separate env."""
        if self._video_env is None:
            return
        with self._guarded():
            copy_normalization(self.training_env, self._video_env)
            path = self._path(suffix)
            record_episode(self.model, self._video_env, path, seed=self.model.seed or 0)
            self._add(path)

    def _path(self, suffix: str) -> Path:
        return self.directory / f"{self._name}{suffix}.mp4"

    def _finish(self, video: VideoWriter) -> None:
        self._video = None
        video.close()
        self._add(video.path)

    def _add(self, path: Path) -> None:
        self.videos.append(path)
        if self.verbose >= 1:
            print(f"RecordVideos: {path}")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """A renderer or an encoder may raise anything: none of it stops or changes training."""
        try:
            with unmasked_signals(), preserve_rng(self.model):
                yield
        except BaseException as error:
            if self._video is not None:
                self._video.discard()
                self._video = None
            if not isinstance(error, Exception):
                raise
            if not self._warned:
                self._warned = True
                text = f"RecordVideos lost a video of {self._name} and warns only once: {first_line(error)}"
                warnings.warn(text, stacklevel=2)
