import threading

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)

from tests.callbacks.counting_env import Counting, counting, subprocesses
from velora_sb3.video.rendering_env import copy_normalization, open_video_env
from velora_sb3.video.writer import as_frame


class Doubles(gym.ObservationWrapper):
    """Takes nothing but the env, and does not say so."""

    def observation(self, observation):
        return observation * 2


class Scales(gym.ObservationWrapper):
    def __init__(self, env, factor=3):
        super().__init__(env)
        self.factor = factor

    def observation(self, observation):
        return observation * self.factor


class ScalesAndTells(Scales, gym.utils.RecordConstructorArgs):
    def __init__(self, env, factor=3):
        gym.utils.RecordConstructorArgs.__init__(self, factor=factor)
        super().__init__(env, factor)


class Custom(VecEnvWrapper):
    def reset(self):
        return self.venv.reset() + 1

    def step_wait(self):
        observations, *rest = self.venv.step_wait()
        return observations + 1, *rest


def stacks():
    """Wrappers of VecEnvs, and the observations below them."""

    def dict_stack(env):
        order = {"near": "last", "far": "first"}
        return VecFrameStack(VecNormalize(env, norm_obs_keys=["near"]), 2, channels_order=order)

    return {
        "none": ("vector", lambda env: env),
        "normalized": ("vector", VecNormalize),
        "rewards only": ("vector", lambda env: VecNormalize(env, norm_obs=False)),
        "stacked": ("vector", lambda env: VecFrameStack(VecNormalize(env), 3)),
        "stacked first": ("vector", lambda env: VecNormalize(VecFrameStack(env, 2, channels_order="first"))),
        "image": ("image", lambda env: VecFrameStack(VecTransposeImage(env), 2)),
        "image stacked before": ("image", lambda env: VecTransposeImage(VecFrameStack(env, 2))),
        "skipped": ("image", lambda env: VecTransposeImage(env, skip=True)),
        "dict": ("dict", dict_stack),
        "one key": ("dict", lambda env: VecCheckNan(VecMonitor(VecExtractDictObs(env, "far")))),
    }


def freeze(env):
    normalizer = unwrap_vec_normalize(env)
    if normalizer is not None:
        normalizer.training = False


def equal(observations, others):
    if isinstance(observations, dict):
        return all(equal(observations[key], others[key]) for key in observations)
    return np.array_equal(observations[:1], others) and observations.dtype == others.dtype


@pytest.mark.parametrize("stack", stacks())
@pytest.mark.parametrize("from_spec", [True, False])
def test_it_observes_as_the_training_env_does(stack, from_spec):
    observations, wrap = stacks()[stack]
    make = counting(observations=observations) if from_spec else lambda: Counting(observations=observations)
    training = wrap(DummyVecEnv([make, make]))
    training.reset()
    for _ in range(8):  # gathers statistics
        training.step(np.ones((2, 1)))
    env_fn = None if from_spec else lambda: Counting("rgb_array", observations=observations)
    venv = open_video_env(training, env_fn)
    copy_normalization(training, venv)
    freeze(training)
    for env in (training, venv):
        env.seed(7)
    assert equal(training.reset(), venv.reset())
    for _ in range(7):  # an episode and the start of another: the first step after a reset has no seed any more
        after, *_ = training.step(np.ones((2, 1)))
        after_alone, *_ = venv.step(np.ones((1, 1)))
        assert equal(after, after_alone)
    assert as_frame(venv.env_method("render", indices=0)[0]).shape == (32, 48, 3)
    assert venv.num_envs == 1


def test_statistics_follow_and_are_not_touched():
    training = VecNormalize(DummyVecEnv([counting()]))
    venv = open_video_env(training)
    training.reset()
    training.step(np.ones((1, 1)))
    copy_normalization(training, venv)
    before = training.obs_rms.copy()
    assert venv.obs_rms.count == before.count
    venv.reset()
    venv.step(np.ones((1, 1)))
    assert venv.obs_rms.count == training.obs_rms.count == before.count
    assert np.array_equal(training.obs_rms.mean, before.mean)


def test_wrappers_of_the_env_are_copied(tmp_path):
    def make():
        env = Monitor(gym.make("CartPole-v1", max_episode_steps=17, render_mode="rgb_array"), str(tmp_path / "log"))
        recorded = gym.wrappers.RecordVideo(env, str(tmp_path / "videos"), lambda number: False)
        return Doubles(ScalesAndTells(recorded, factor=5))

    training = DummyVecEnv([make])
    files = sorted(tmp_path.rglob("*"))
    venv = open_video_env(training)
    (env,) = venv.envs
    assert isinstance(env, Doubles) and isinstance(env.env, ScalesAndTells) and env.env.factor == 5
    assert env.spec.max_episode_steps == 17
    assert "Monitor" not in str(env) and "RecordVideo" not in str(env)
    assert sorted(tmp_path.rglob("*")) == files
    assert training.envs[0].spec.additional_wrappers[0].kwargs is None  # SB3's Monitor: gymnasium.make would refuse it
    training.close()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "CartPoleNoVel-v1", "Pendulum-v1", "Acrobot-v1"])
def test_real_envs_are_copied(env_id):
    training = make_vec_env(env_id, 2)
    venv = open_video_env(training)
    assert venv.envs[0].spec.id == training.get_attr("spec", 0)[0].id
    assert type(venv.envs[0].unwrapped) is type(training.envs[0].unwrapped)
    venv.reset()
    assert as_frame(venv.env_method("render")[0]).mean() > 0
    venv.close()


def test_wrappers_that_sb3_does_not_have():
    training = Custom(VecNormalize(DummyVecEnv([counting()])))
    with pytest.raises(ValueError, match=r"Custom cannot be copied: .* env_fn=lambda: Custom\(DummyVecEnv"):
        open_video_env(training)
    venv = open_video_env(training, lambda: Custom(VecNormalize(DummyVecEnv([counting(render_mode="rgb_array")]))))
    training.reset()
    copy_normalization(training, venv)
    freeze(training)
    for env in (training, venv):
        env.seed(1)
    assert equal(training.reset(), venv.reset())


class Transposed(gym.ObservationWrapper):
    """Images with the channels first."""

    def __init__(self, env):
        super().__init__(env)
        shape = np.array(env.observation_space.shape)[[2, 0, 1]]
        self.observation_space = spaces.Box(0, 255, tuple(shape), np.uint8)

    def observation(self, observation):
        return observation.transpose(2, 0, 1)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: env,
        lambda env: VecFrameStack(env, 4),
        lambda env: VecFrameStack(env, 4, channels_order="first"),
        lambda env: VecTransposeImage(VecFrameStack(env, 2)),
        lambda env: VecFrameStack(VecTransposeImage(env), 2),
        lambda env: VecTransposeImage(env, skip=True),
    ],
)
def test_the_function_that_made_the_training_env_makes_that_for_videos(wrap):
    def make():
        return wrap(DummyVecEnv([lambda: Counting("rgb_array", observations="image")]))

    model = A2C("MlpPolicy", make())  # SB3 may have wrapped it in VecTransposeImage
    venv = open_video_env(model.env, make)
    assert venv.observation_space == model.observation_space
    for env in (model.env, venv):
        env.seed(3)
    assert equal(model.env.reset(), venv.reset())


def test_an_env_for_videos_with_the_channels_first():
    training = VecTransposeImage(DummyVecEnv([counting(observations="image")]))
    venv = open_video_env(training, lambda: Transposed(Counting("rgb_array", observations="image")))
    for env in (training, venv):
        env.seed(3)
    assert equal(training.reset(), venv.reset())


def refused(training, env_fn=None):
    with pytest.raises(ValueError, match=r"\S") as caught:
        open_video_env(training, env_fn)
    return str(caught.value)


def test_an_env_without_a_spec_needs_env_fn():
    assert refused(DummyVecEnv([Counting])).startswith(
        "the env cannot be copied, as gymnasium.make did not create it: "
    )
    assert "env_fn=lambda: MyEnv(render_mode='rgb_array')" in refused(DummyVecEnv([Counting]))


@pytest.mark.parametrize("kind", [DummyVecEnv, subprocesses])
def test_an_env_whose_arguments_cannot_be_copied_needs_env_fn(kind):
    def make():
        env = Monitor(gym.make("CartPole-v1", render_mode="rgb_array"))
        env.unwrapped.spec.kwargs["lock"] = threading.Lock()
        return env

    training = kind([make])
    told = refused(training)
    assert all(part in told for part in ("cannot be copied", "cannot pickle '_thread.lock' object", "pass env_fn="))
    training.reset()  # the process is alive
    training.close()


@pytest.mark.parametrize("kind", [DummyVecEnv, subprocesses])
@pytest.mark.parametrize("monitor", [Monitor, lambda env: env])
@pytest.mark.parametrize("modes", [{"render_modes": ["human"]}, {}])
def test_an_env_that_does_not_render_arrays_is_not_told_to(kind, monitor, modes):
    class Screen(Counting):
        metadata = modes

    training = kind([lambda: monitor(Screen())])
    told = refused(training)
    assert "rgb_array'" in told and f"render_modes'] is {modes.get('render_modes', [])}" in told
    assert "MyEnv(render_mode" not in told
    training.reset()
    training.close()


def test_a_wrapper_that_does_not_tell_its_arguments_needs_env_fn():
    told = refused(DummyVecEnv([lambda: Scales(counting()(), 4)]))
    assert "Scales does not record its arguments" in told
    assert "env_fn=" in told


def test_what_env_fn_must_make():
    training = VecNormalize(DummyVecEnv([counting()]))
    right = counting(render_mode="rgb_array")
    assert refused(training, counting()) == "env_fn must return an env with render_mode='rgb_array', got None"
    assert refused(training, lambda: "an env") == "env_fn must return an env, got str"
    assert "return a new env" in refused(training, lambda: training.venv.envs[0].unwrapped)
    assert "return a new env" in refused(training, lambda: training.venv)
    assert refused(training, lambda: DummyVecEnv([right, right])).endswith("of 1 env, got DummyVecEnv of 2")
    assert "with 1 VecNormalize as in training, got 0" in refused(training, lambda: DummyVecEnv([right]))
    image = counting(render_mode="rgb_array", observations="image")
    assert refused(training, image).startswith("the env for videos does not take the training env's wrappers: ")
    assert refused(training.venv, image).startswith(
        "the env for videos must have the training env's observation_space "
    )
    told = refused(training, counting(render_mode="rgb_array", discrete=True))
    must = f"the env for videos must have the training env's action_space {spaces.Box(-2, 2, (1,))}"
    assert told == f"{must}, got Discrete(3)"
