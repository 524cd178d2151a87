import gymnasium as gym
import numpy as np
import pytest

import velora_sb3  # noqa: F401  (registers the ids)
from velora_sb3.envs import MaskVelocity, register_envs
from velora_sb3.envs.mask_velocity import VELOCITIES
from velora_sb3.envs.register import NO_VELOCITY


@pytest.mark.parametrize("name", [name for name in NO_VELOCITY if "Lunar" not in name])  # that one needs Box2D
def test_velocities_are_zero_and_the_rest_is_as_it_was(name):
    base = NO_VELOCITY[name]
    hidden, plain = gym.make(name), gym.make(base)
    ours, theirs = hidden.reset(seed=3)[0], plain.reset(seed=3)[0]
    hidden.action_space.seed(0)
    for _ in range(5):
        kept = [index for index in range(len(theirs)) if index not in VELOCITIES[base]]
        np.testing.assert_array_equal(ours[kept], theirs[kept])
        assert np.all(ours[list(VELOCITIES[base])] == 0)
        action = hidden.action_space.sample()
        ours, theirs = hidden.step(action)[0], plain.step(action)[0]
    assert ours.dtype == theirs.dtype


def test_time_limits_are_those_of_the_task():
    assert gym.make("PendulumNoVel-v1").spec.max_episode_steps in (None, 200)
    env = gym.make("PendulumNoVel-v1")
    env.reset(seed=0)
    steps = 1
    while not env.step(env.action_space.sample())[3]:
        steps += 1
    assert steps == 200


def test_an_id_that_exists_is_left_alone():
    before = gym.spec("CartPoleNoVel-v1")
    register_envs()
    assert gym.spec("CartPoleNoVel-v1") is before


def test_a_velocity_that_is_not_finite_is_masked_too():
    env = MaskVelocity(gym.make("CartPole-v1"), indices=(1, 3))
    given = np.array([0.5, np.nan, -1, np.inf], np.float32)
    masked = env.observation(given)
    np.testing.assert_array_equal(masked, [0.5, 0, -1, 0])
    assert masked.dtype == np.float32
    assert np.isnan(given[1])  # the environment's own array is left alone


@pytest.mark.parametrize("indices", [(0,), iter([0])])
def test_indices_of_one_s_own(indices):
    env = MaskVelocity(gym.make("CartPole-v1"), indices=indices)
    assert env.reset(seed=0)[0][0] == 0


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: gym.make("Acrobot-v1"), {}, "the velocities of Acrobot-v1 are unknown: pass indices"),
        (lambda: gym.make("CartPole-v1"), {"indices": (4,)}, r"each of indices must be an integer from 0 to 3, got 4"),
        (lambda: gym.make("CartPole-v1"), {"indices": ()}, "indices is empty: name at least one velocity"),
        (lambda: gym.make("CartPole-v1"), {"indices": 1}, r"indices must be a sequence such as \(1, 3\), got 1"),
        (lambda: gym.make("CliffWalking-v1"), {"indices": (0,)}, "needs vector observations, got Discrete"),
    ],
)
def test_what_cannot_be_masked_is_explained(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskVelocity(make(), **arguments)
