"""What cannot be recorded is told when training starts; what fails later does not stop training."""

import gc
import sys
import warnings

import gymnasium as gym
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, EveryNTimesteps
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.callbacks.counting_env import Counting, counting, shown, subprocesses
from velora_sb3.callbacks import RecordVideos


def ppo(env):
    return PPO("MlpPolicy", env, n_steps=8, batch_size=8 * env.num_envs, n_epochs=1, seed=0, device="cpu")


def envs(kind=DummyVecEnv, **kwargs):
    return kind([counting(**kwargs)])


class CallsAt(BaseCallback):
    def __init__(self, step, function):
        super().__init__()
        self.step, self.function = step, function

    def _on_step(self):
        if self.num_timesteps == self.step:
            self.function()
        return True


def interrupt():
    raise KeyboardInterrupt


class Fragile(Counting):
    """Its renderer breaks in some episodes of the training env."""

    breaks_in = ()

    def render(self):
        if self.number == 0 and self.episode in self.breaks_in and self.step_number == 2:
            raise RuntimeError(f"no light in episode {self.episode}\nand more lines")
        return super().render()


def files(record):
    return sorted(path.name for path in record.directory.iterdir())


# At construction.


@pytest.mark.parametrize("given", ["CartPole-v1", gym.make("CartPole-v1")])
def test_an_environment_instead_of_a_function(given):
    with pytest.raises(ValueError, match="env_fn must be a function, as in env_fn=lambda: gymnasium.make"):
        RecordVideos("run", env_fn=given)


@pytest.mark.parametrize("method", ["episodes", None, 3])
def test_the_method_is_checked(method, tmp_path):
    with pytest.raises(ValueError, match="method must be one of 'episode', 'step', got "):
        RecordVideos("run", method=method, root=tmp_path)


@pytest.mark.parametrize("frequency", [0, -1, 1.5, True, "100"])
def test_the_frequency_is_checked(frequency, tmp_path):
    with pytest.raises(ValueError, match="frequency must be an integer of at least 1, got "):
        RecordVideos("run", frequency=frequency, root=tmp_path)


def test_a_directory_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "run" / "videos").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="choose another dirname, move the directory, or pass force=True"):
        RecordVideos("run", root=tmp_path)
    (tmp_path / "run" / "videos" / "older.mp4").touch()
    record = RecordVideos("run", root=tmp_path, force=True)
    ppo(envs()).learn(8, callback=record)
    assert files(record) == ["Counting_final-episode-0.mp4", "older.mp4"]


@pytest.mark.parametrize("module", ["imageio_ffmpeg", "pygame"])
def test_what_is_not_installed(module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'needs {module}: pip install "velora-sb3\[video\]"'):
        RecordVideos("run", root=tmp_path)


# When training starts.


@pytest.mark.parametrize("render_mode", ["rgb_array", None])
def test_an_env_without_a_spec_needs_env_fn(render_mode, tmp_path):
    env = DummyVecEnv([lambda: Counting(render_mode)])
    record = RecordVideos("run", root=tmp_path)
    with pytest.raises(ValueError, match="RecordVideos cannot record Counting: .* cannot be copied, .*: pass env_fn"):
        ppo(env).learn(8, callback=record)
    assert record.num_timesteps == 0
    record = RecordVideos("other", frequency=2, root=tmp_path, env_fn=lambda: Counting("rgb_array", number=7))
    ppo(env).learn(16, callback=record)
    assert [shown(video)[0][0] for video in record.videos] == [0 if render_mode else 7, 7]


@pytest.mark.parametrize("kind", [DummyVecEnv, subprocesses])
def test_a_renderer_that_gives_no_picture(kind, tmp_path):
    class NoPicture(Counting):
        def render(self):
            return "text"

    env = kind([lambda: NoPicture("rgb_array")])
    with pytest.raises(ValueError, match="cannot record NoPicture: render.. must return an RGB array .*, got str"):
        ppo(env).learn(8, callback=RecordVideos("run", root=tmp_path))
    env.close()


@pytest.mark.parametrize("kind", [DummyVecEnv, subprocesses])
def test_a_renderer_that_raises_at_once_leaves_the_env_alive(kind, tmp_path):
    class Broken(Counting):
        def render(self):
            raise RuntimeError  # without a word

    env = kind([lambda: Monitor(Broken("rgb_array"))])
    with pytest.raises(ValueError, match="cannot record Broken: RuntimeError"):
        ppo(env).learn(8, callback=RecordVideos("run", root=tmp_path))
    env.reset()
    env.close()


def test_a_renderer_that_raises(tmp_path):
    class Broken(Counting):
        def render(self):
            raise gym.error.DependencyNotInstalled("no light")

    with pytest.raises(ValueError, match="cannot record Broken: no light"):
        ppo(DummyVecEnv([lambda: Broken("rgb_array")])).learn(8, callback=RecordVideos("run", root=tmp_path))


def test_an_env_that_env_fn_made_without_rendering(tmp_path):
    record = RecordVideos("run", root=tmp_path, env_fn=counting())
    with pytest.raises(ValueError, match="cannot record Counting: env_fn must return an env with render_mode="):
        ppo(envs()).learn(8, callback=record)


def test_a_place_to_write_that_is_none(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OSError, match="run"):
        ppo(envs()).learn(8, callback=RecordVideos("run", root=tmp_path))


def test_no_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr("imageio_ffmpeg._io.get_ffmpeg_exe", lambda: "/nowhere/ffmpeg")
    with pytest.raises(ValueError, match="cannot record Counting: .*nowhere"):
        ppo(envs()).learn(8, callback=RecordVideos("run", root=tmp_path))


def test_it_has_to_see_every_step(tmp_path):
    with pytest.raises(ValueError, match="must see every step of training: .* not to EveryNTimesteps"):
        ppo(envs()).learn(8, callback=EveryNTimesteps(4, RecordVideos("run", root=tmp_path)))
    evaluation = EvalCallback(
        envs(render_mode=None), callback_on_new_best=RecordVideos("run", root=tmp_path), eval_freq=2, warn=False
    )
    with pytest.raises(ValueError, match="must see every step of training: .* not to EvalCallback"):
        ppo(envs()).learn(8, callback=evaluation)


# Later.


def test_a_renderer_that_fails_later_is_told_once_and_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Fragile, "breaks_in", (2, 5))
    env = DummyVecEnv([lambda: Fragile("rgb_array")])
    record = RecordVideos("run", frequency=3, root=tmp_path, env_fn=lambda: Fragile("rgb_array", number=1))
    model = ppo(env)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.learn(48, callback=record)
    assert [str(warning.message) for warning in told] == [
        "RecordVideos lost a video of Fragile and warns only once: no light in episode 2"
    ]
    assert model.num_timesteps == 48
    assert files(record) == ["Fragile-episode-9.mp4", "Fragile_final-episode-0.mp4"]
    assert [path.name for path in record.videos] == files(record)


def test_a_played_episode_that_fails(tmp_path):
    made = []

    def env_fn():
        made.append(Fragile("rgb_array", number=0))
        return made[-1]

    record = RecordVideos("run", frequency=2, root=tmp_path, env_fn=env_fn)
    model = ppo(envs(render_mode=None))
    breaks = CallsAt(9, lambda: setattr(made[0], "breaks_in", {made[0].episode + 1}))
    with pytest.warns(UserWarning, match="lost a video of Counting"):
        model.learn(32, callback=[breaks, record])
    assert [path.stem for path in record.videos] == [
        "Counting-episode-4",
        "Counting-episode-6",
        "Counting_final-episode-0",
    ]
    assert model.num_timesteps == 32
    assert made[0].number == 0 and len(made) == 1


def test_an_encoder_that_dies(tmp_path, monkeypatch):
    record, model = RecordVideos("run", frequency=2, root=tmp_path), ppo(envs(render_mode="rgb_array"))
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    with monkeypatch.context() as patch:
        dies = CallsAt(1, lambda: patch.setattr("imageio_ffmpeg._io.get_ffmpeg_exe", lambda: str(script)))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model.learn(24, callback=[dies, record])
            gc.collect()  # imageio-ffmpeg does not close its pipe to a process that has ended
    (warning,) = [each for each in told if each.category is not ResourceWarning]
    assert str(warning.message).startswith("RecordVideos lost a video of Counting and warns only once: ")
    assert model.num_timesteps == 24
    assert record.videos == []
    assert not record.directory.exists()  # nothing came of it


def test_a_process_that_ends_while_it_renders_is_told(tmp_path):
    def fragile():
        Fragile.breaks_in = (1,)  # in the process of the env only
        return Fragile("rgb_array")

    env = subprocesses([fragile])
    record = RecordVideos("run", frequency=2, root=tmp_path, env_fn=lambda: Fragile("rgb_array", number=1))
    told = "lost a video of Fragile.*: the process of env 0 died while rendering"
    with pytest.warns(UserWarning, match=told), pytest.raises((EOFError, ConnectionError)), record:
        ppo(env).learn(24, callback=record)  # SB3 cannot go on without the process
    for process in env.processes:
        process.join()


def test_a_renderer_that_fails_in_its_process_is_told_once_and_training_goes_on(tmp_path):
    def fragile():
        Fragile.breaks_in = (1,)  # in the process of the env only
        return Monitor(Fragile("rgb_array"))

    env = subprocesses([fragile])
    record = RecordVideos("run", frequency=2, root=tmp_path, env_fn=lambda: Fragile("rgb_array", number=1))
    model = ppo(env)
    with pytest.warns(UserWarning, match="lost a video of Fragile and warns only once: no light in episode 1"):
        model.learn(24, callback=record)
    assert model.num_timesteps == 24
    assert files(record) == ["Fragile-episode-4.mp4", "Fragile_final-episode-0.mp4"]
    env.close()


# Cut short.


def test_a_with_block_ends_the_video_of_a_training_that_was_cut_short(tmp_path):
    model = ppo(envs(render_mode="rgb_array", length=20))
    with pytest.raises(KeyboardInterrupt), RecordVideos("run", frequency=1, root=tmp_path) as record:
        model.learn(64, callback=[record, CallsAt(30, interrupt)])
    assert files(record) == ["Counting-episode-1.mp4", "Counting-episode-2.mp4"]
    assert shown(record.videos[1]) == [(0, 1, step) for step in range(11)]
    assert record.interrupted


def test_what_was_left_open_is_closed_when_training_starts_again(tmp_path):
    model, record = ppo(envs(render_mode="rgb_array", length=20)), RecordVideos("run", frequency=2, root=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        model.learn(64, callback=[record, CallsAt(30, interrupt)])
    assert record.videos == []
    model.learn(8, callback=record)
    assert [path.name for path in record.videos] == ["Counting-episode-2.mp4", "Counting_final-episode-0.mp4"]
    assert len(shown(record.videos[0])) == 11
    assert not record.interrupted


def test_the_next_training_of_the_model_completes_the_file(tmp_path):
    model = ppo(envs(render_mode="rgb_array", length=20))
    with pytest.raises(KeyboardInterrupt):
        model.learn(64, callback=[RecordVideos("run", frequency=2, root=tmp_path), CallsAt(30, interrupt)])
    model.learn(8, callback=RecordVideos("another", root=tmp_path))
    (video,) = (tmp_path / "run" / "videos").iterdir()
    assert len(shown(video)) == 11


def test_less_than_a_second_is_not_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt), RecordVideos("run", frequency=2, root=tmp_path) as record:
        ppo(envs(render_mode="rgb_array", length=20)).learn(64, callback=[record, CallsAt(22, interrupt)])
    assert record.videos == []
    assert not record.directory.exists()


def test_ctrl_c_while_an_episode_is_played_leaves_no_half_video(tmp_path, monkeypatch):
    model = ppo(envs(render_mode=None))
    predict = model.predict

    def interrupted(*args, **kwargs):
        monkeypatch.setattr(model, "predict", predict)
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "predict", interrupted)
    with pytest.raises(KeyboardInterrupt), RecordVideos("run", frequency=1, root=tmp_path) as record:
        model.learn(24, callback=record)
    assert not record.directory.exists()
