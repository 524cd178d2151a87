"""On windows of one step from the zero state, a recurrent algorithm computes SB3's losses for the reactive policy."""

import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import set_random_seed

from tests.algorithms.recurrent import ALGORITHMS, acting_extractor, make_env, make_model

STEPS, BATCH = 60, 32


def reactive_twin(model):
    """SB3's own algorithm with the same networks, less the weights that only a memory reaches, and the same replay.

    Those weights (of the previous action, and of the memory after the first step) are set to zero in the model.
    """
    algorithm = next(base for base in type(model).__mro__ if base.__module__.startswith(("stable_baselines3", "sb3_")))
    policy_kwargs = {name: value for name, value in model.policy_kwargs.items() if name != "recurrent"}
    twin = algorithm(
        "LiquidPolicy", model.get_env(), model.learning_rate, STEPS, policy_kwargs=policy_kwargs, device="cpu"
    )
    extractor = acting_extractor(model)
    first = extractor.frames.space.shape[0]
    previous = slice(first, first + extractor.previous_action_size)
    theirs = twin.policy.state_dict()
    for name, value in model.policy.state_dict().items():
        if "weight_hh" in name:
            value.zero_()
        if value.shape != theirs[name].shape:
            value[:, previous] = 0
            value = torch.cat([value[:, : previous.start], value[:, previous.stop :]], dim=1)
        theirs[name].copy_(value)
    for array in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        getattr(twin.replay_buffer, array)[:] = getattr(model.replay_buffer, array)[:STEPS]
    twin.replay_buffer.full = True
    return twin


def losses_of(model, updates, batch_size):
    set_random_seed(0)  # the same transitions and the same noise
    model.set_logger(configure(None, []))
    model.train(gradient_steps=updates, batch_size=batch_size)
    return {name: value for name, value in model.logger.name_to_value.items() if name.startswith("train/")}


@pytest.mark.parametrize("updates", [1, 6])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_losses_and_what_is_learned_from_them(algorithm, updates):
    # Every step starts an episode, so that nothing is remembered, and none ends it, so that the target looks ahead.
    env = TimeLimit(make_env(algorithm), max_episode_steps=1)
    without_lstm = {"mixed_memory": False}  # as in a reactive policy
    model = make_model(algorithm, env, without_lstm, sequence_length=1, learning_starts=10_000).learn(STEPS)
    assert np.all(model.replay_buffer.timeouts[:STEPS] == 1)
    twin = reactive_twin(model)
    assert type(twin.replay_buffer) is ReplayBuffer
    before = twin.policy.parameters_to_vector()

    expected, losses = losses_of(twin, updates, BATCH), losses_of(model, updates, BATCH)
    assert [name for name in expected if name.endswith("loss")]
    assert losses == pytest.approx(expected, rel=1e-5)
    learned = model.policy.state_dict()
    for name, value in twin.policy.state_dict().items():
        if value.shape == learned[name].shape:
            torch.testing.assert_close(learned[name], value, atol=1e-6, rtol=1e-4)
    assert not np.allclose(before, twin.policy.parameters_to_vector())
