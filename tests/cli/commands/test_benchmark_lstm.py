import pytest
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

from velora_sb3.benchmarks.lstm import LstmPolicy

STEPS, WINDOWS, FEATURES, UNITS = 7, 3, 4, 5


def unroll(policy_class, starts):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(FEATURES, UNITS).double()
    features = torch.randn(WINDOWS * STEPS, FEATURES, dtype=torch.float64, requires_grad=True)
    states = (
        torch.randn(1, WINDOWS, UNITS, dtype=torch.float64),
        torch.randn(1, WINDOWS, UNITS, dtype=torch.float64),
    )
    outputs, (hidden, cell) = policy_class._process_sequence(features, states, starts.flatten(), lstm)
    (outputs.square().sum() + hidden.sum() + cell.sum()).backward()
    return [outputs, hidden, cell, features.grad, *(weight.grad for weight in lstm.parameters())]


@pytest.mark.parametrize("at", [[], [(0, 0)], [(0, 0), (2, 0)], [(1, 3)], [(0, 0), (2, 6)]])
def test_its_numbers_and_gradients_are_those_of_sb3_contrib(at):
    starts = torch.zeros(WINDOWS, STEPS, dtype=torch.float64)
    for window, step in at:
        starts[window, step] = 1
    ours, theirs = unroll(LstmPolicy, starts), unroll(RecurrentActorCriticPolicy, starts)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-12)


def test_in_training_there_is_no_loop_over_time(monkeypatch):
    model = RecurrentPPO(LstmPolicy, "CartPole-v1", n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model._setup_learn(64)
    lengths = []
    forward = torch.nn.LSTM.forward

    def noted(self, inputs, states):
        lengths.append(len(inputs))
        return forward(self, inputs, states)

    monkeypatch.setattr(torch.nn.LSTM, "forward", noted)
    model.collect_rollouts(model.env, model._init_callback(None), model.rollout_buffer, 64)
    assert model.rollout_buffer.episode_starts.sum() > 1  # episodes start within the batch
    assert set(lengths) == {1}
    lengths.clear()
    model.train()
    assert len(lengths) == 2  # actor and critic, once each
    assert min(lengths) > 1
