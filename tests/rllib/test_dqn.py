"""A recurrent Q-network in RLlib's DQN."""

import copy

import gymnasium as gym
import pytest
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.dqn_learner import QF_PREDS
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from velora_sb3.rllib import LiquidDQNModule

ENV = gym.make("CartPole-v1")


def module(actions=ENV.action_space, **settings):
    return LiquidDQNModule(observation_space=ENV.observation_space, action_space=actions, model_config=settings)


def make_config(spec_config, config):
    return (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(
            num_atoms=1,
            n_step=1,
            train_batch_size_per_learner=32,
            num_steps_sampled_before_learning_starts=50,
            replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 1000},
        )
        .reporting(min_sample_timesteps_per_iteration=120)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=LiquidDQNModule, model_config=spec_config), **config)
        .debugging(seed=0, log_level="ERROR")
    )


def train(spec_config, config):
    algorithm = make_config(spec_config, config).build_algo()
    try:
        before = copy.deepcopy(algorithm.get_module().get_state())
        result = algorithm.train()
        return before, algorithm.get_module().get_state(), result
    finally:
        algorithm.stop()


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("ray_here")
def test_it_learns_from_sequences():
    before, after, result = train(None, {"model_config": {"cell": "cfc", "units": 8, "max_seq_len": 6}})
    assert result["learners"]["default_policy"]["qf_loss"] > 0
    changed = [name for name in before if abs(before[name] - after[name]).max() > 0]
    assert any("slot" in name for name in changed)
    assert any("advantage" in name for name in changed)


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("ray_here")
def test_max_seq_len_where_the_replay_does_not_read_it_is_an_error():
    with pytest.raises(ValueError, match="samples single steps: pass max_seq_len in config.rl_module"):
        train({"units": 8, "max_seq_len": 6}, {})


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("ray_here")
def test_a_restored_algorithm_trains_on_from_an_empty_buffer(tmp_path):
    algorithm = make_config(None, {"model_config": {"units": 4, "max_seq_len": 6}}).build_algo()
    try:
        algorithm.train()
        algorithm.save_to_path(tmp_path)
        before = copy.deepcopy(algorithm.get_module().get_state())
    finally:
        algorithm.stop()
    algorithm = Algorithm.from_checkpoint(tmp_path)
    try:
        assert all((before[name] == value).all() for name, value in algorithm.get_module().get_state().items())
        assert algorithm.train()["training_iteration"] == 2
    finally:
        algorithm.stop()


def test_actions_are_greedy_or_random():
    one = module(units=4, epsilon=1.0)
    state = {name: torch.zeros(500, *zero.shape) for name, zero in one.get_initial_state().items()}
    batch = {Columns.OBS: torch.randn(500, 1, 4), Columns.STATE_IN: state}
    greedy = one.forward_inference(batch)[Columns.ACTIONS]
    assert torch.equal(greedy, one.compute_q_values(batch)[QF_PREDS].argmax(dim=-1))
    random = one.forward_exploration(batch, t=0)[Columns.ACTIONS]
    assert random.shape == greedy.shape == (500, 1)
    assert 0.3 < (random == greedy).float().mean() < 0.7


def test_what_rllibs_learner_cannot_do_is_an_error():
    with pytest.raises(ValueError, match="num_atoms must be 1, got 51"):
        module(num_atoms=51)
    with pytest.raises(ValueError, match="max_seq_len must be at least 2 for DQN, got 1"):
        module(max_seq_len=1)
    with pytest.raises(ValueError, match="action space must be Discrete, got Box"):
        module(gym.make("Pendulum-v1").action_space)
    with pytest.raises(ValueError, match="unknown key 'shared_lstm'"):
        module(shared_lstm=True)
