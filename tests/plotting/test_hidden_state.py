import gymnasium as gym
import matplotlib.image
import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import SAC

import velora_sb3
from velora_sb3 import RecurrentSAC
from velora_sb3.plotting.hidden_state import order_of_units, plot_hidden_state, trace_hidden_state


def recurrent_sac():
    return RecurrentSAC("LiquidPolicy", "PendulumNoVel-v1", policy_kwargs={"units": 6}, seed=0, device="cpu")


def make_env():
    return gym.make("PendulumNoVel-v1", render_mode="rgb_array")


def test_the_trace_is_what_predict_says():
    model = recurrent_sac()
    trace = trace_hidden_state(
        model, make_env(), seed=3, max_steps=5, look=lambda env: env.unwrapped.state, every_n_frames=2
    )
    env = make_env()
    observation, _ = env.reset(seed=3)
    state = None
    for step in range(5):
        np.testing.assert_array_equal(trace.observations[step], observation)
        np.testing.assert_array_equal(trace.hidden[step], env.unwrapped.state)
        action, state = model.predict(observation, state, deterministic=True)
        np.testing.assert_array_equal(trace.states[step], state[0][0])
        np.testing.assert_array_equal(trace.actions[step], action)
        observation, reward, *_ = env.step(action)
        assert trace.rewards[step] == reward
    assert list(trace.frames) == [0, 2, 4]
    assert not np.array_equal(trace.frames[0], trace.frames[4])


@pytest.mark.parametrize(("policy", "size"), [("LiquidPolicy", 64), ("MlpLstmPolicy", 512)])
def test_recurrent_ppo(policy, size):
    assert velora_sb3
    model = RecurrentPPO(policy, "CartPoleNoVel-v1", seed=0, device="cpu")
    trace = trace_hidden_state(model, gym.make("CartPoleNoVel-v1"), seed=0)
    assert trace.states.shape == (len(trace.rewards), size)
    assert np.abs(np.diff(trace.states, axis=0)).max() > 0


def test_a_model_that_remembers_nothing():
    model = SAC("LiquidPolicy", "PendulumNoVel-v1", device="cpu")
    with pytest.raises(ValueError, match="SAC with LiquidSACPolicy remembers nothing"):
        trace_hidden_state(model, make_env())


@pytest.mark.parametrize("with_lines", [True, False])
def test_the_picture(tmp_path, with_lines):
    trace = trace_hidden_state(recurrent_sac(), make_env(), seed=0, max_steps=40, every_n_frames=10)
    lines = {"cos": (np.array(trace.observations)[:, 0], "C0-")} if with_lines else None
    plot_hidden_state(tmp_path / "trace.png", trace, lines, "an episode", "cosine")
    pixels = matplotlib.image.imread(tmp_path / "trace.png")[..., :3]
    assert pixels.shape[1] == 960
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_units_that_move_alike_stand_side_by_side():
    time = np.linspace(0, 20, 200)
    states = np.stack([np.sin(time), np.cos(time), np.sin(time) * 1.1, np.cos(time) * 0.9], axis=1)
    order = order_of_units(states).tolist()
    assert abs(order.index(0) - order.index(2)) == 1
    assert abs(order.index(1) - order.index(3)) == 1
