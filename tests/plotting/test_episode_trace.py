import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import tests.cli.conftest  # the environments with masks
from velora_sb3 import RecurrentMaskablePPO, RecurrentSAC, load_checkpoint, save_checkpoint
from velora_sb3.cells import LSTMCell, time_constants, unroll
from velora_sb3.plotting import trace_episode
from velora_sb3.plotting.acting_cell import find_cell, recorded_steps

assert tests.cli.conftest


def recurrent_sac():
    return RecurrentSAC("LiquidPolicy", "PendulumNoVel-v1", policy_kwargs={"units": 6}, seed=0, device="cpu")


def make_env():
    return gym.make("PendulumNoVel-v1", render_mode="rgb_array")


def test_the_trace_is_what_predict_says():
    model = recurrent_sac()
    trace = trace_episode(
        model, make_env(), seed=3, max_steps=5, look=lambda env: env.unwrapped.state, every_n_frames=2
    )
    env = make_env()
    observation, _ = env.reset(seed=3)
    state = None
    memory = np.zeros((1, find_cell(model).state_size), np.float32)
    before = np.zeros(1, np.float32)
    for step in range(5):
        np.testing.assert_array_equal(trace.observations[step], observation)
        np.testing.assert_array_equal(trace.hidden[step], env.unwrapped.state)
        seen = torch.as_tensor(np.concatenate([observation, before])[None])
        expected = time_constants(find_cell(model), seen, torch.as_tensor(memory))[0]
        np.testing.assert_allclose(trace.time_constants[step], expected.numpy(), rtol=1e-5)
        action, state = model.predict(observation, state, deterministic=True)
        memory, before = state[0], state[1][0]
        np.testing.assert_array_equal(trace.states[step], memory[0])
        np.testing.assert_array_equal(trace.actions[step], action)
        observation, reward, *_ = env.step(action)
        assert trace.rewards[step] == reward
    assert list(trace.frames) == [0, 2, 4]
    assert not np.array_equal(trace.frames[0], trace.frames[4])
    assert (trace.carried, trace.timed, trace.ended) == (True, False, False)


@pytest.mark.parametrize(("policy", "size", "constants"), [("LiquidPolicy", 128, 64), ("MlpLstmPolicy", 512, 0)])
def test_recurrent_ppo(policy, size, constants):
    model = RecurrentPPO(policy, "CartPoleNoVel-v1", seed=0, device="cpu")
    trace = trace_episode(model, gym.make("CartPoleNoVel-v1"), seed=0)
    assert trace.states.shape == (len(trace.rewards), size)
    assert trace.time_constants.shape == (len(trace.rewards), constants)
    assert np.abs(np.diff(trace.states, axis=0)).max() > 0
    assert trace.carried
    assert trace.ended


def test_an_odd_number_of_units_is_shown_as_it_is():
    settings = {"units": 5, "mixed_memory": False}
    model = RecurrentPPO("LiquidPolicy", "CartPoleNoVel-v1", policy_kwargs=settings, device="cpu")
    trace = trace_episode(model, gym.make("CartPoleNoVel-v1"), seed=0, max_steps=3)
    assert trace.states.shape == (3, 5)


def test_a_reactive_policys_units_start_afresh():
    model = SAC("LiquidPolicy", "PendulumNoVel-v1", policy_kwargs={"units": 6}, seed=0, device="cpu")
    trace = trace_episode(model, make_env(), seed=0, max_steps=3)
    cell = find_cell(model)
    seen = torch.as_tensor(np.array(trace.observations))
    with torch.no_grad():
        np.testing.assert_allclose(trace.states, cell(seen)[0].numpy(), atol=1e-6)
    assert not trace.carried
    assert "step" not in vars(cell)  # nothing is left of the recording


def test_a_windowed_policys_units_are_those_after_the_newest_frame():
    env = gym.wrappers.FrameStackObservation(gym.make("PendulumNoVel-v1"), 3)
    model = SAC("LiquidPolicy", env, policy_kwargs={"units": 6}, seed=0, device="cpu")
    trace = trace_episode(model, env, seed=0, max_steps=4)
    cell = find_cell(model)
    history = torch.as_tensor(np.array(trace.observations)).transpose(0, 1)  # (T, N, F)
    with torch.no_grad():
        _, states = cell.sequence(history, None, None, None)
    np.testing.assert_allclose(trace.states, states[-1].numpy(), atol=1e-6)
    expected = time_constants(cell, history[-1], states[-2])
    np.testing.assert_allclose(trace.time_constants, expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_windowed_policys_units_of_torch(cell):
    env = gym.wrappers.FrameStackObservation(gym.make("PendulumNoVel-v1"), 3)
    model = SAC("LiquidPolicy", env, policy_kwargs={"cell": cell, "units": 6}, seed=0, device="cpu")
    trace = trace_episode(model, env, seed=0, max_steps=4)
    history = torch.as_tensor(np.array(trace.observations)).transpose(0, 1)
    with torch.no_grad():
        _, states = find_cell(model).sequence(history, None, None, None)
    np.testing.assert_allclose(trace.states, states[-1].numpy(), atol=1e-6)


@pytest.mark.parametrize("last", [0.0, 1.0], ids=["carried", "reset"])
def test_the_state_before_the_last_step_of_a_window(last):
    cell, inputs = LSTMCell(2, 3), torch.randn(3, 1, 2)
    starts = torch.tensor([[1.0], [0.0], [last]])
    with torch.no_grad(), recorded_steps(cell) as steps:
        unroll(cell, inputs, episode_starts=starts)
    with torch.no_grad():
        _, before = unroll(cell, inputs[:2])
    torch.testing.assert_close(steps[0].before, before * (1 - last))


def test_observations_are_normalized_for_the_model(tmp_path):
    normalization = VecNormalize(make_vec_env("Pendulum-v1"))
    normalization.obs_rms.mean += 0.5
    model = PPO("LiquidPolicy", normalization, n_steps=8, batch_size=8, policy_kwargs={"units": 4}, device="cpu")
    trace = trace_episode(model, gym.make("Pendulum-v1"), seed=0, max_steps=4)
    expected, _ = model.predict(normalization.normalize_obs(np.array(trace.observations)), deterministic=True)
    np.testing.assert_allclose(trace.actions, expected, rtol=1e-5)
    assert np.abs(trace.actions - model.predict(np.array(trace.observations), deterministic=True)[0]).max() > 1e-3
    wrapped = gym.wrappers.TransformObservation(gym.make("Pendulum-v1"), normalization.normalize_obs, None)
    same = trace_episode(model, wrapped, seed=0, max_steps=4, vec_normalize=False)
    np.testing.assert_allclose(same.states, trace.states, rtol=1e-5)
    save_checkpoint(model, tmp_path / "saved")
    same = trace_episode(load_checkpoint(tmp_path / "saved"), gym.make("Pendulum-v1"), seed=0, max_steps=4)
    np.testing.assert_allclose(same.states, trace.states, rtol=1e-5)


def test_a_vectorized_environment_is_refused():
    model = recurrent_sac()
    with pytest.raises(TypeError, match="env must be a single environment, .* got a vectorized one, DummyVecEnv"):
        trace_episode(model, model.get_env())


def test_a_policy_without_units():
    trace = trace_episode(DQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu"), gym.make("CartPole-v1"), seed=0)
    assert trace.states.shape == (len(trace.rewards), 0)
    assert trace.time_constants.shape == (len(trace.rewards), 0)


def test_masks_are_obeyed():
    model = RecurrentMaskablePPO("LiquidPolicy", gym.make("VeloraMasked-v0"), n_steps=8, seed=0, device="cpu")
    trace = trace_episode(model, gym.make("VeloraMasked-v0"), seed=0)
    assert set(trace.actions.tolist()) <= {0, 2}
