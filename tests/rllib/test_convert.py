"""The same weights act the same in RLlib and in SB3."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3 import RecurrentPPO
from velora_sb3.callbacks import EpisodeCallback
from velora_sb3.rllib import LiquidRLModule, as_rllib, from_sb3, to_sb3

SETTINGS = [
    {"cell": "cfc", "units": 8},
    {"cell": "lrc", "units": 8, "mixed_memory": True, "shared_lstm": True, "enable_critic_lstm": False},
    {"cell": "ltc", "units": 9, "wiring": "ncp", "enable_critic_lstm": False},
    {"cell": "gru", "units": 7, "net_arch": {"pi": [8], "vf": [4]}},
    {"cell": "lstm", "units": 8},
    {"cell": "velora_sb3.cells:GRUCell", "units": 8},
]


def make_module(env_id: str, **settings) -> LiquidRLModule:
    env = gym.make(env_id)
    module = LiquidRLModule(
        observation_space=env.observation_space, action_space=env.action_space, model_config=settings
    )
    with torch.no_grad():
        for parameter in module.policy.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return module


def differences(module, model, steps: int, limit: int = 37) -> list[float]:
    """How far the module's greedy actions are from the model's, over steps with a reset after ``limit`` of them."""
    space, kind = module.observation_space, module.get_inference_action_dist_cls()
    random, found, state, module_state = np.random.default_rng(0), [], None, None
    for step in range(steps):
        start = step % limit == 0
        observation = random.uniform(-1, 1, space.shape).astype(np.float32)
        if start:
            module_state = {name: torch.tensor(zero)[None] for name, zero in module.get_initial_state().items()}
        batch = {Columns.OBS: torch.tensor(observation)[None, None], Columns.STATE_IN: module_state}
        outputs = module.forward_inference(batch)
        module_state = outputs[Columns.STATE_OUT]
        inputs = outputs[Columns.ACTION_DIST_INPUTS]
        action = kind.from_logits(inputs).to_deterministic().sample()[0, 0].numpy()
        if isinstance(module.action_space, spaces.Box):
            action = np.clip(action, module.action_space.low, module.action_space.high)
        expected, state = model.predict(observation, state, np.array([start]), deterministic=True)
        found.append(float(np.abs(action - expected).max()))
    return found


@pytest.mark.parametrize(
    ("env_id", "settings"),
    list(zip(["CartPole-v1", "Pendulum-v1"] * 3, SETTINGS, strict=True)),
    ids=[settings["cell"] for settings in SETTINGS],
)
def test_actions_over_a_thousand_steps_with_resets(env_id, settings):
    module = make_module(env_id, **settings)
    model = to_sb3(module, env_id, device="cpu")
    assert type(model) is RecurrentPPO
    there = differences(module, model, 1000)
    assert max(there) <= 1e-6
    back = from_sb3(model, max_seq_len=5)
    assert back.model_config["max_seq_len"] == 5
    assert max(differences(back, model, 100)) <= 1e-6
    for name, weights in module.policy.state_dict().items():
        torch.testing.assert_close(back.policy.state_dict()[name], weights, rtol=0, atol=0)


def test_the_actions_that_are_compared_differ_from_step_to_step():
    module = make_module("Pendulum-v1", **SETTINGS[0])
    other = to_sb3(make_module("Pendulum-v1", **SETTINGS[0]), "Pendulum-v1", device="cpu")
    assert np.median(differences(module, other, 100)) > 0.01


def test_a_model_of_sb3_learns_on():
    model = to_sb3(make_module("CartPole-v1", cell="cfc", units=8), "CartPole-v1", device="cpu", n_steps=32)
    assert model.learn(32).num_timesteps == 32


def test_what_does_not_fit_is_refused():
    module = make_module("CartPole-v1", cell="cfc", units=8)
    with pytest.raises(ValueError, match="observation space"):
        to_sb3(module, "Pendulum-v1", device="cpu")
    with pytest.raises(TypeError, match="must be a LiquidRLModule, got int"):
        to_sb3(3, "CartPole-v1")
    with pytest.raises(TypeError, match="RecurrentPPO with LiquidPolicy, got ActorCriticPolicy"):
        from_sb3(PPO("MlpPolicy", "CartPole-v1", device="cpu"))
    sde = RecurrentPPO("LiquidPolicy", "Pendulum-v1", use_sde=True, device="cpu", policy_kwargs={"units": 4})
    with pytest.raises(ValueError, match="no use_sde"):
        from_sb3(sde)


def test_statistics_of_normalization_stay_behind_with_a_warning():
    env = VecNormalize(make_vec_env("CartPole-v1"))
    model = RecurrentPPO("LiquidPolicy", env, device="cpu", policy_kwargs={"lstm_hidden_size": 4})
    with pytest.warns(UserWarning, match="VecNormalize"):
        module = from_sb3(model)
    assert module.model_config["units"] == 4


def test_an_environment_with_rescaled_actions():
    module = make_module("Pendulum-v1", cell="cfc", units=4)
    env = gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), np.float32(-1), np.float32(1))
    assert to_sb3(module, env, device="cpu").action_space.high == 1.0


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("ray_here")
def test_an_algorithm_starts_from_a_model_of_sb3_and_saves_itself(tmp_path):
    class Seen(EpisodeCallback):
        def on_checkpoint_loaded(self, *, metrics_logger, **kwargs):
            metrics_logger.log_value("loaded", 1.0)

    model = RecurrentPPO("LiquidPolicy", "CartPole-v1", device="cpu", policy_kwargs={"units": 4})
    module = from_sb3(model, max_seq_len=5)
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .rl_module(rl_module_spec=RLModuleSpec.from_module(module))
        .callbacks(as_rllib(Seen()))
        .debugging(log_level="ERROR")
    )
    module.save_to_path(tmp_path / "module")
    algorithm = config.build_algo()
    try:
        algorithm.restore_from_path(tmp_path / "module", component="learner_group/learner/rl_module/default_policy")
        algorithm.env_runner_group.sync_weights(from_worker_or_learner_group=algorithm.learner_group)
        algorithm.save_to_path(tmp_path / "algorithm")
        algorithm.restore_from_path(tmp_path / "algorithm")
        for name, weights in model.policy.state_dict().items():
            torch.testing.assert_close(algorithm.get_module().policy.state_dict()[name], weights, rtol=0, atol=0)
    finally:
        algorithm.stop()
