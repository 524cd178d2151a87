"""Videos of training on the way, and of the trained policy at its end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._headless import prepare_rendering
from velora_sb3._optional import install_line, missing_modules
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.naming import env_name
from velora_sb3.callbacks.base.preserve_rng import preserve_rng
from velora_sb3.video.record_episode import MAX_FRAMES, first_line, frames_per_second, record_episode
from velora_sb3.video.rendering_env import EnvFn, copy_normalization, open_video_env
from velora_sb3.video.writer import VideoWriter, picture

Method = Literal["episode", "step"]


class RecordVideos(VeloraCallback):
    """Writes videos to ``<root>/<dirname>/videos``: now and then during training, and one when it has ended.

    Where the training env renders ``rgb_array``, they show training itself: the frames of its first env (env 0) as it
    runs. Otherwise, and with ARS, training pauses and the policy as it is plays one episode, deterministically, in an
    env of its own. The final video is always such an episode.

    - ``Env-episode-100.mp4``: the first episode to start in env 0 once 99 have ended in all envs together. With one
      env this is the hundredth. Played: when 100 have ended.
    - ``Env-step-1000.mp4``: from the step with which ``num_timesteps`` reaches 1000 to the end of the episode that
      env 0 is in, and through the next one as long as the video is shorter than a second. Played: at that step.
    - ``Env_final-episode-0.mp4``: played when training has ended.

    A multiple of the frequency that is passed while a video is being recorded has none. Videos of training lack the
    state in which the episode ended, as SB3 resets an env within its last step. Played episodes start from the same
    seed, the model's, so that they compare. Videos are cut after 10,000 frames. Training learns the same with and
    without videos.

    When training starts, an env to play in is made, and a frame rendered and encoded. Should a renderer or the encoder
    fail later, a warning says so once and training goes on. Where training ends or is cut short, so does the video that
    is being recorded; less than a second of it is not kept. Training that was cut short has no final video.

    Args:
        dirname: Directory of the run under ``root``.
        method: Count ``"episode"`` or ``"step"`` (timesteps of all envs together).
        frequency: A video each so many of them.
        force: Whether to go on where a directory of videos is; files of the same name are replaced.
        env_fn: Makes the env to play in, with ``render_mode="rgb_array"``; None copies the training env from its
            spec. Needed if that was not made by ``gymnasium.make``. May return a ``DummyVecEnv`` of one env in all
            its wrappers, if there are some that SB3 does not have.
        root: Directory of all runs.
        verbose: 0 for silence, 1 to print what it does.

    Attributes:
        videos: Finished files, in the order in which they were finished.
        directory: Where they are.

    Raises:
        ValueError: If an argument is out of range; when training starts, if no env can be copied or rendered.
        FileExistsError: If the directory exists and ``force`` is not set.
        ImportError: If what the extra ``video`` brings is not installed.
    """

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
        if method not in get_args(Method):
            raise ValueError(f"method must be 'episode' or 'step', got {method!r}")
        if isinstance(frequency, bool) or not isinstance(frequency, int) or frequency < 1:
            raise ValueError(f"frequency must be a whole number of at least 1, got {frequency!r}")
        if missing := missing_modules("video"):
            raise ImportError(f"RecordVideos needs {', '.join(missing)}: {install_line('video')}")
        self.dirname, self.root = dirname, Path(root)
        self.method, self.frequency, self.force, self.env_fn = method, frequency, force, env_fn
        self.directory = self.root / dirname / "videos"
        if self.directory.exists() and not force:
            raise FileExistsError(
                f"{self.directory} is there already: choose another dirname, move the directory away, or pass "
                "force=True to go on in it and replace files of the same name"
            )
        prepare_rendering()
        self.videos: list[Path] = []
        self._next: int | None = None  # the number that is due
        self._live = False
        self._video: VideoWriter | None = None  # of training itself, while it is recorded
        self._number = 0
        self._stage: VecEnv | None = None
        self._warned = False

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        settings = {"method": self.method, "frequency": self.frequency, "force": self.force, "root": str(self.root)}
        return type(self).__name__, {"dirname": self.dirname, **settings}

    def info(self) -> str:
        """What it records, and where."""
        return f"RecordVideos: a video every {self.frequency} {self.method}s and one at the end, in {self.directory}"

    def state_dict(self) -> dict[str, Any]:
        """Adds the number that is due."""
        return {**super().state_dict(), "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self._next = state["next"]

    def _on_start(self) -> None:
        self._refuse_parent()
        self._name, self._warned = env_name(self.training_env), False
        follows_rollouts = isinstance(self.model, (OnPolicyAlgorithm, OffPolicyAlgorithm))
        self._live = follows_rollouts and self.training_env.render_mode == "rgb_array"
        self._fps = frames_per_second(self.training_env.get_attr("metadata", 0)[0])
        with preserve_rng(self.model):
            self._try_everything()
        starting = self.num_timesteps == 0
        if starting or self._next is None:
            reached = self.num_timesteps if self.method == "step" else self.episodes.finished
            self._next = (reached // self.frequency + 1) * self.frequency
        if self._live and starting:
            self._film(episode_starts=True)

    def _on_every_step(self) -> bool:
        self._refuse_parent()
        self.episodes.step(self.model, self.locals)
        if self._live:
            self._film(episode_starts=bool(self.locals["dones"][0]))
        else:
            self._play_if_due()
        return True

    def _on_rollout_end(self) -> None:
        if not self._live:  # the episodes of ARS are known only now
            self._play_if_due()

    def _on_end(self) -> None:
        if self._video is not None:
            with self._forgiving():
                if self._video.frames >= self._fps:
                    self._finish(self._video)
                else:  # due again, should training go on
                    self._video.discard()
                    self._video, self._next = None, self._number
        if not self.interrupted:
            self._play("_final-episode-0")
        if self._stage is not None:
            with suppress(Exception):
                self._stage.close()
            self._stage = None
        with suppress(OSError):
            self.directory.rmdir()  # if there is nothing in it

    def _refuse_parent(self) -> None:
        if self.parent is not None:
            raise ValueError(
                f"RecordVideos has to see every step, but {type(self.parent).__name__} calls it now and then: "
                "give it to learn() itself, alone or in a list"
            )

    def _try_everything(self) -> None:
        """Fail now rather than after hours."""
        self.directory.mkdir(parents=True, exist_ok=True)
        trial = self.directory / "trial.mp4"
        try:
            if self._live:
                picture(self._render())
            self._stage = open_video_env(self.training_env, self.env_fn)
            record_episode(self.model, self._stage, trial, seed=0, max_frames=1)
        except Exception as error:  # a renderer may raise anything
            raise ValueError(f"RecordVideos cannot record {self._name}: {error}") from error
        finally:
            trial.unlink(missing_ok=True)

    def _due(self, episode_starts: bool) -> int | None:
        """The number of the video to make now, if there is one to make."""
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

    def _film(self, episode_starts: bool) -> None:
        """Record the state that env 0 is in, if it belongs to a video."""
        number = self._due(episode_starts)
        if self._video is None and number is None:
            return
        with self._forgiving():
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
            return self.training_env.env_method("render", indices=0)[0]
        except (EOFError, ConnectionError) as error:
            raise RuntimeError("the process of env 0 ended when it was asked to render") from error

    def _play_if_due(self) -> None:
        number = self._due(episode_starts=False)
        if number is not None:
            self._play(f"-{self.method}-{number}")

    def _play(self, suffix: str) -> None:
        """Let the policy play an episode in an env of its own."""
        if self._stage is None:
            return
        with self._forgiving():
            copy_normalization(self.training_env, self._stage)
            path = self._path(suffix)
            record_episode(self.model, self._stage, path, seed=self.model.seed or 0)
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
    def _forgiving(self) -> Iterator[None]:
        """A renderer or an encoder may raise anything: none of it stops training, or changes it."""
        try:
            with preserve_rng(self.model):
                yield
        except BaseException as error:
            if self._video is not None:
                self._video.discard()
                self._video = None
            if not isinstance(error, Exception):
                raise
            if not self._warned:
                self._warned = True
                text = f"RecordVideos lost a video of {self._name}, and will not tell of others: {first_line(error)}"
                warnings.warn(text, stacklevel=2)
