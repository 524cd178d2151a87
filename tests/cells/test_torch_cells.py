import pytest
import torch
from torch import nn

from tests.cells.stepping import gradients, run_step_by_step
from velora_sb3.cells import GRUCell, LSTMCell, unroll, unroll_states

T, B, F, H = 9, 3, 4, 6

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(params=[GRUCell, LSTMCell], ids=["gru", "lstm"])
def kind(request):
    return request.param


@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
def test_an_unroll_equals_single_steps(kind, timed, resets):
    cell = kind(F, H, timed)
    inputs, state = torch.randn(T, B, F, requires_grad=True), torch.randn(B, cell.state_size)
    starts = torch.rand(T, B) < 0.2 if resets else None
    timespans = torch.rand(T, B) if timed else None
    expected, expected_last = run_step_by_step(cell, inputs, state, starts, timespans)
    outputs, last = unroll(cell, inputs, state, episode_starts=starts, timespans=timespans)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, expected_last)
    for ours, theirs in zip(gradients(cell, inputs, outputs), gradients(cell, inputs, expected), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
def test_the_states_of_every_step(kind, resets):
    cell = kind(F, H)
    inputs, state = torch.randn(T, B, F), torch.randn(B, cell.state_size, requires_grad=True)
    starts = torch.rand(T, B) < 0.3 if resets else None
    outputs, states = unroll_states(cell, inputs, state, episode_starts=starts)
    expected, own = [], state
    for t in range(T):
        if starts is not None:
            own = torch.where(starts[t].unsqueeze(-1), 0, own)
        _, own = cell(inputs[t], own)
        expected.append(own)
    torch.testing.assert_close(states, torch.stack(expected))
    torch.testing.assert_close(outputs, states[..., :H])
    weights = torch.linspace(-1, 1, states.numel()).view_as(states)
    ours = torch.autograd.grad((states * weights).sum(), [state, *cell.parameters()])
    theirs = torch.autograd.grad((torch.stack(expected) * weights).sum(), [state, *cell.parameters()])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_without_resets_it_is_torch_s_network(kind):
    torch_network = {GRUCell: nn.GRU, LSTMCell: nn.LSTM}[kind](F, H)
    cell = kind(F, H)
    cell.network.load_state_dict(torch_network.state_dict())
    inputs = torch.randn(T, B, F)
    torch.testing.assert_close(unroll(cell, inputs)[0], torch_network(inputs)[0])


def test_a_call_for_each_piece_between_resets(kind, monkeypatch):
    cell, lengths = kind(F, H), []
    run = cell._run
    monkeypatch.setattr(cell, "_run", lambda inputs, state: (lengths.append(len(inputs)), run(inputs, state))[1])
    starts = torch.zeros(T, B)
    starts[0, 0] = starts[4, 1] = starts[4, 2] = 1
    unroll(cell, torch.randn(T, B, F), episode_starts=starts)
    assert lengths == [4, 5]


def test_the_time_is_one_more_input(kind):
    cell = kind(F, H, timed=True)
    inputs, timespans = torch.randn(T, B, F), torch.rand(T, B)
    expected, _ = cell.network(torch.cat([inputs, timespans.unsqueeze(-1)], dim=-1))
    torch.testing.assert_close(unroll(cell, inputs, timespans=timespans)[0], expected)
    torch.testing.assert_close(unroll(cell, inputs)[0], unroll(cell, inputs, timespans=torch.ones(T, B))[0])


def test_timespans_without_timed(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} got timespans: create it with timed=True"):
        unroll(kind(F, H), torch.randn(T, B, F), timespans=torch.ones(T, B))
