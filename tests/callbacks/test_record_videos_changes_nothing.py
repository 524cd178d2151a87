"""Training learns the same, bit for bit, with and without videos, and costs no more memory."""

import functools
import weakref

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import ARS, MaskablePPO, RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from tests.callbacks.counting_env import Counting, counting, shown, subprocesses
from velora_sb3.algorithms import RecurrentSAC
from velora_sb3.callbacks import RecordVideos

LENGTHS = (5, 3, 7)
ROLLOUT = {"n_steps": 12, "batch_size": 12, "n_epochs": 1}
OFF_POLICY = {"learning_starts": 6, "batch_size": 6, "buffer_size": 90}
NOISE = NormalActionNoise(np.zeros(1), np.full(1, 0.3))
MODELS = {
    DDPG: ("MlpPolicy", {**OFF_POLICY, "action_noise": NOISE}),
    DQN: ("MlpPolicy", {**OFF_POLICY, "exploration_fraction": 1.0}),
    PPO: ("MlpPolicy", ROLLOUT),
    RecurrentPPO: ("MlpLstmPolicy", {**ROLLOUT, "policy_kwargs": {"lstm_hidden_size": 4}}),
    RecurrentSAC: ("LiquidPolicy", {**OFF_POLICY, "sequence_length": 4, "policy_kwargs": {"units": 4}}),
}


def make_env(algorithm, n_envs, kind=DummyVecEnv, **kwargs):
    kwargs = {"discrete": algorithm in (DQN, MaskablePPO), **kwargs}
    return kind([counting(number=number, length=LENGTHS[number], **kwargs) for number in range(n_envs)])


def train(algorithm, env, callback=None, steps=36):
    """All weights after a short training."""
    policy, settings = MODELS[algorithm]
    model = algorithm(policy, env, seed=3, device="cpu", **settings)
    model.learn(steps * env.num_envs, callback=callback)
    env.close()
    return model.policy.state_dict()


@functools.cache
def without_videos(algorithm, n_envs):
    torch.manual_seed(0)
    return train(algorithm, make_env(algorithm, n_envs))


def same(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


ALGORITHMS_AND_METHODS = [(algorithm, "episode") for algorithm in MODELS] + [(PPO, "step"), (DDPG, "step")]


@pytest.mark.parametrize("way", ["live", "subprocesses", "played"])
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize(("algorithm", "method"), ALGORITHMS_AND_METHODS)
def test_equal_weights(algorithm, n_envs, way, method, tmp_path):
    env = make_env(
        algorithm,
        n_envs,
        kind=subprocesses if way == "subprocesses" else DummyVecEnv,
        render_mode=None if way == "played" else "rgb_array",
    )
    record = RecordVideos("run", method=method, frequency={"episode": 4, "step": 14}[method] * n_envs, root=tmp_path)
    weights = train(algorithm, env, record)
    first = {"episode": f"episode-{4 * n_envs}", "step": f"step-{14 * n_envs}"}[method]
    assert [video.stem for video in record.videos][:: len(record.videos) - 1] == [
        f"Counting-{first}",
        "Counting_final-episode-0",
    ]
    assert {frame[0] for video in record.videos for frame in shown(video)} == {0}
    assert same(weights, without_videos(algorithm, n_envs))


def test_they_differ_where_something_is_different():
    assert not same(train(PPO, make_env(PPO, 1), steps=24), without_videos(PPO, 1))


@pytest.mark.parametrize("render_mode", ["rgb_array", None])
def test_the_environments_are_left_as_they_are(render_mode, tmp_path):
    def run(folder, callback):
        env = VecFrameStack(VecNormalize(make_env(PPO, 2, render_mode=render_mode)), 2)
        envs, attributes = list(env.unwrapped.envs), [set(vars(each)) for each in env.unwrapped.envs]
        train(PPO, env, callback)
        assert env.unwrapped.envs == envs
        assert [set(vars(each)) for each in envs] == attributes
        return env.venv.obs_rms, env.venv.ret_rms, [each.unwrapped.episode for each in envs]

    plain = run("plain", None)
    record = RecordVideos("run", frequency=3, root=tmp_path)
    recorded = run("recorded", record)
    assert len(record.videos) > 2
    assert plain[2] == recorded[2]
    for one, other in zip(plain[:2], recorded[:2], strict=True):
        assert np.array_equal(one.mean, other.mean) and np.array_equal(one.var, other.var)


def spy(model):
    """What the model is asked, in calls with ``deterministic=True``: those of played episodes."""
    calls, predict = [], model.predict

    @functools.wraps(predict)
    def watched(observation, *args, deterministic=False, **kwargs):
        if deterministic:
            calls.append({"observation": observation, **kwargs})
        return predict(observation, *args, deterministic=deterministic, **kwargs)

    model.predict = watched
    return calls


@pytest.mark.parametrize("algorithm", [RecurrentPPO, RecurrentSAC], ids=lambda algorithm: algorithm.__name__)
def test_a_memory_is_kept_from_step_to_step_and_cleared_with_every_video(algorithm, tmp_path):
    policy, settings = MODELS[algorithm]
    model = algorithm(policy, make_env(algorithm, 1), seed=3, device="cpu", **settings)
    calls = spy(model)
    model.learn(24, callback=RecordVideos("run", frequency=3, root=tmp_path))
    assert len(calls) == 2 * 5
    for number, call in enumerate(calls):
        assert list(call["episode_start"]) == [number % 5 == 0]
        assert (call["state"] is None) == (number % 5 == 0)
    assert not np.array_equal(calls[1]["state"][0], calls[4]["state"][0])


def test_played_episodes_start_alike(tmp_path):
    model = PPO("MlpPolicy", make_env(PPO, 1), seed=3, device="cpu", **ROLLOUT)
    calls = spy(model)
    model.learn(24, callback=RecordVideos("run", frequency=2, root=tmp_path))
    starts = [call["observation"] for call in calls if call["episode_start"][0]]
    assert len(starts) == 3
    assert all(np.array_equal(start, starts[0]) for start in starts)


def test_masks_are_passed(tmp_path):
    model = MaskablePPO("MlpPolicy", make_env(MaskablePPO, 1), seed=3, device="cpu", **ROLLOUT)
    calls = spy(model)
    model.learn(12, callback=RecordVideos("run", root=tmp_path))
    masks = [call["action_masks"].tolist() for call in calls]
    assert masks == [[[True, False, step % 2 == 0]] for step in range(5)]


def test_ars_shows_no_steps_so_episodes_are_played(tmp_path):
    env = make_env(ARS, 1, render_mode="rgb_array")
    record = RecordVideos("run", frequency=4, root=tmp_path)
    ARS("LinearPolicy", env, n_delta=2, n_eval_episodes=1, seed=0).learn(40, callback=record)
    names = [video.stem for video in record.videos]
    assert names == ["Counting-episode-4", "Counting-episode-8", "Counting_final-episode-0"]
    assert [len(shown(video)) for video in record.videos] == [6, 6, 6]


class Remembers(Counting):
    """Knows how many of its frames are held by somebody."""

    held_at_most = 0
    frames = []

    def render(self):
        frame = super().render()
        kept = [reference for reference in Remembers.frames if reference() is not None]
        Remembers.frames = [*kept, weakref.ref(frame)]
        Remembers.held_at_most = max(Remembers.held_at_most, len(Remembers.frames))
        return frame


@pytest.mark.parametrize("render_mode", ["rgb_array", None])
def test_frames_are_not_kept(render_mode, tmp_path):
    Remembers.held_at_most = 0
    env = DummyVecEnv([lambda: Remembers(render_mode, length=400)])
    record = RecordVideos(
        "run", frequency=1, root=tmp_path, env_fn=lambda: gym.wrappers.OrderEnforcing(Remembers("rgb_array", 400))
    )
    PPO("MlpPolicy", env, n_steps=400, batch_size=400, n_epochs=1, device="cpu").learn(400, callback=record)
    lengths = [len(shown(video)) for video in record.videos]
    assert lengths == [400 if render_mode else 401, 401]
    assert 1 <= Remembers.held_at_most <= 3
