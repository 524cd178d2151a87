import sys

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DDPG

import velora_sb3  # noqa: F401
from velora_sb3.video import read_video, record_episode
from velora_sb3.video.record_episode import video_unavailable_reason


@pytest.fixture
def pendulum():
    env = gym.make("Pendulum-v1", render_mode="rgb_array", max_episode_steps=30)
    yield env
    env.close()


def test_an_episode_is_recorded_from_its_first_frame_to_its_last(pendulum, tmp_path):
    model = DDPG("LiquidPolicy", "Pendulum-v1", policy_kwargs={"units": 4}, seed=0, buffer_size=10, device="cpu")
    assert record_episode(model, pendulum, tmp_path / "video.mp4", seed=1) == 31
    frames = read_video(tmp_path / "video.mp4")
    assert abs(len(frames) - 31) <= 1
    assert frames.shape[1:] == (500, 500, 3)
    first = frames[0].astype(int)
    assert max(np.abs(first - frame).max() for frame in frames) > 100
    pendulum.reset(seed=1)
    assert np.abs(first - pendulum.render()).mean() < 5


def test_an_endless_episode_is_cut(pendulum, tmp_path):
    model = DDPG("LiquidPolicy", "Pendulum-v1", policy_kwargs={"units": 4}, seed=0, buffer_size=10, device="cpu")
    assert record_episode(model, pendulum, tmp_path / "video.mp4", max_frames=5) == 5


def test_a_recurrent_model_keeps_its_state(pendulum, tmp_path, monkeypatch):
    model = RecurrentPPO("LiquidPolicy", "Pendulum-v1", policy_kwargs={"units": 4}, seed=0, device="cpu")
    calls = []
    predict = model.predict

    def watched(observation, state=None, episode_start=None, deterministic=False):
        calls.append((state, bool(episode_start[0]), deterministic))
        return predict(observation, state=state, episode_start=episode_start, deterministic=deterministic)

    monkeypatch.setattr(model, "predict", watched)
    record_episode(model, pendulum, tmp_path / "video.mp4", seed=1)
    assert calls[0] == (None, True, True)
    assert all(state is not None and not start and best for state, start, best in calls[1:])
    assert not np.array_equal(calls[1][0][0], calls[-1][0][0])


def test_odd_sizes_are_encoded(pendulum, tmp_path):
    class Odd(gym.Wrapper):
        def render(self):
            return np.zeros((33, 47, 3), np.uint8)

    model = DDPG("LiquidPolicy", "Pendulum-v1", policy_kwargs={"units": 4}, seed=0, buffer_size=10, device="cpu")
    record_episode(model, Odd(pendulum), tmp_path / "odd.mp4", max_frames=4)
    frames = read_video(tmp_path / "odd.mp4")
    assert frames.shape[1:] == (32, 46, 3)
    assert abs(len(frames) - 4) <= 1


def test_what_is_no_picture_is_refused(pendulum, tmp_path):
    class Text(gym.Wrapper):
        def render(self):
            return "a line"

    model = DDPG("LiquidPolicy", "Pendulum-v1", policy_kwargs={"units": 4}, seed=0, buffer_size=10, device="cpu")
    with pytest.raises(ValueError, match="must return an RGB array .*, got str"):
        record_episode(model, Text(pendulum), tmp_path / "no.mp4")
    assert not (tmp_path / "no.mp4").exists()


def test_the_renderer_is_asked_before_training(monkeypatch):
    assert video_unavailable_reason("Pendulum-v1") is None
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert video_unavailable_reason("Pendulum-v1").startswith(
        "no video: Pendulum-v1 cannot be rendered: pygame is not installed"
    )


def test_a_missing_encoder_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert video_unavailable_reason("Pendulum-v1") == 'no video: pip install "velora-sb3[video]"'
