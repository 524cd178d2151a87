"""The policy of RecurrentPPO in RLlib's PPO: what the learner computes is what the rollout did."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from velora_sb3.rllib import LiquidRLModule

CARTPOLE = gym.make("CartPole-v1")


def module(space=CARTPOLE.observation_space, actions=CARTPOLE.action_space, **settings):
    return LiquidRLModule(observation_space=space, action_space=actions, model_config=settings)


class Compared(LiquidRLModule):
    """Compares the learner's outputs with those of the rollout."""

    differences: list[float] = []
    lengths: set[int] = set()

    def _forward_train(self, batch, **kwargs):
        outputs = super()._forward_train(batch, **kwargs)
        mask = batch[Columns.LOSS_MASK]
        inputs = Columns.ACTION_DIST_INPUTS
        self.differences.append(float((outputs[inputs] - batch[inputs])[mask].detach().abs().max()))
        self.lengths.update(mask.sum(dim=1).tolist())
        return outputs


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    ("env", "settings"),
    [("CartPole-v1", {"cell": "cfc"}), ("Pendulum-v1", {"cell": "lrc", "wiring": "ncp", "mixed_memory": True})],
    ids=["Discrete", "Box"],
)
def test_the_learner_starts_each_sequence_from_the_state_of_the_rollout(env, settings):
    Compared.differences.clear()
    Compared.lengths.clear()
    model_config = {"units": 8, "max_seq_len": 7, **settings}
    config = (
        PPOConfig()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .training(lr=0.0, train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=Compared, model_config=model_config))
        .debugging(seed=0, log_level="ERROR")
    )
    algorithm = config.build_algo()
    try:
        for _ in range(2):  # the second continues episodes that the first has cut
            algorithm.train()
    finally:
        algorithm.stop()
    assert len(Compared.differences) >= 4
    assert max(Compared.differences) < 1e-5
    assert {7} < Compared.lengths  # whole sequences, and padded ones


@pytest.mark.parametrize(
    "settings",
    [{}, {"shared_lstm": True, "enable_critic_lstm": False}, {"enable_critic_lstm": False}],
    ids=["two cells", "one cell", "a critic without memory"],
)
def test_values_are_the_same_with_and_without_embeddings(settings):
    one = module(cell="gru", units=6, **settings)
    state = {name: torch.randn(3, *zero.shape) for name, zero in one.get_initial_state().items()}
    assert set(state) == ({"actor", "critic"} if not settings else {"actor"})
    batch = {Columns.OBS: torch.randn(3, 5, 4), Columns.STATE_IN: state}
    outputs = one.forward_train(batch)
    values = one.compute_values(batch, embeddings=outputs[Columns.EMBEDDINGS])
    assert values.shape == (3, 5)
    torch.testing.assert_close(one.compute_values(batch), values)
    assert {name: after.shape for name, after in outputs[Columns.STATE_OUT].items()} == {
        name: before.shape for name, before in state.items()
    }


def test_a_sequence_is_its_steps():
    one = module(cell="cfc", units=6)
    observations = torch.randn(2, 6, 4)
    state = {name: torch.tensor(zero).repeat(2, 1) for name, zero in one.get_initial_state().items()}
    whole = one.forward_inference({Columns.OBS: observations, Columns.STATE_IN: state})
    for t in range(6):
        step = one.forward_inference({Columns.OBS: observations[:, t : t + 1], Columns.STATE_IN: state})
        state = step[Columns.STATE_OUT]
        torch.testing.assert_close(
            step[Columns.ACTION_DIST_INPUTS][:, 0], whole[Columns.ACTION_DIST_INPUTS][:, t], rtol=1e-4, atol=1e-5
        )


def test_observations_of_other_kinds():
    spaces = gym.spaces
    space = spaces.Dict({"a": spaces.Box(-1, 1, (3,)), "b": spaces.Discrete(4), "timespans": spaces.Box(0, 9, (1,))})
    one = module(space, units=4)
    observations = {"a": torch.randn(2, 3, 3), "b": torch.randint(4, (2, 3)), "timespans": torch.rand(2, 3, 1)}
    state = {name: torch.zeros(2, *zero.shape) for name, zero in one.get_initial_state().items()}
    outputs = one.forward_inference({Columns.OBS: observations, Columns.STATE_IN: state})
    assert outputs[Columns.ACTION_DIST_INPUTS].shape == (2, 3, 2)


def test_wrong_settings_are_one_error():
    with pytest.raises(ValueError, match="unknown key 'unit'; did you mean 'units'\\? choices: .*max_seq_len.*wiring"):
        module(unit=4)
    with pytest.raises(ValueError, match="cell must be one of 'cfc'"):
        module(cell="rnn")
    with pytest.raises(ValueError, match="max_seq_len must be an integer of at least 1, got 0"):
        module(max_seq_len=0)
    with pytest.raises(
        ValueError, match="action space must be Discrete or a Box with one dimension, got MultiDiscrete"
    ):
        module(actions=gym.spaces.MultiDiscrete([2, 2]))
    with pytest.raises(ValueError, match="channels first, got shape \\(64, 64, 3\\)"):
        module(gym.spaces.Box(0, 255, (64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="Dict of these, got Tuple.*wrappers.FlattenObservation"):
        module(gym.make("Blackjack-v1").observation_space)
    with pytest.raises(ValueError, match="minibatch_size must be at least max_seq_len \\(20\\)"):
        module(units=4).forward_train({})  # RLlib's batch without rows
    assert module().model_config["max_seq_len"] == 20
    assert module(vf_share_layers=False).is_stateful()
