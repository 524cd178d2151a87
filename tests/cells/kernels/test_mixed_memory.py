import pytest
import torch
from ncps.wirings import FullyConnected
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from velora_sb3.cells import LRC, LTC, CfC, CfCCell, LiquidCell, MixedMemoryCell
from velora_sb3.cells.kernels.mixed_memory import mixed_memory_sequence

T, B, F, H = 4, 2, 2, 3

pytestmark = pytest.mark.usefixtures("float64")


def arguments(mode, timed, resets=False):
    """Everything the kernel takes, random, with gradients."""
    blocks = 4 if timed else 3
    lstm = [(4 * H, F), (4 * H, H), (4 * H,)]
    cfc = [(blocks * H, F), (blocks * H, H), (blocks * H,)]
    tensors = [torch.randn(*shape).requires_grad_() for shape in [(T, B, F), (B, 2 * H), *lstm, *cfc]]
    starts = torch.tensor([[0, 0], [0, 1], [1, 0], [0, 0]]).unsqueeze(-1).bool() if resets else None
    timespans = (torch.rand(T, B, 1) + 0.1).requires_grad_() if timed else None
    return [*tensors, starts, timespans, mode]


@pytest.mark.parametrize("mode", ["default", "no_gate"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("state", [True, False], ids=["given state", "zero state"])
def test_gradients_by_everything_are_those_of_finite_differences(mode, timed, resets, state):
    given = arguments(mode, timed, resets)
    if not state:
        given[1] = None
    assert gradcheck(mixed_memory_sequence, given)


@pytest.mark.parametrize("mode", ["default", "no_gate"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
def test_second_derivatives_are_right_too_as_trpo_needs_them(mode, timed):
    assert gradgradcheck(mixed_memory_sequence, arguments(mode, timed, resets=True))


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
def test_the_kernel_is_the_steps(mode, timed, resets):
    cell = MixedMemoryCell(CfCCell(F, H, mode, backbone_layers=0))
    inputs, state, *_, starts, timespans, _ = arguments("default", timed, resets)
    outputs, states = cell.sequence(inputs, state, starts, timespans)
    expected_outputs, expected_states = LiquidCell.sequence(cell, inputs, state, starts, timespans)
    torch.testing.assert_close(outputs, expected_outputs)
    torch.testing.assert_close(states, expected_states)


def test_no_sequence_at_all_is_a_batch_too():
    given = arguments("default", timed=False)
    given[0], given[1] = torch.zeros(T, 0, F, requires_grad=True), None
    states = mixed_memory_sequence(*given)
    states.sum().backward()
    assert states.shape == (T, 0, 2 * H)


def test_inputs_and_gradients_in_another_layout_give_the_same():
    inputs, *rest = arguments("default", timed=False)
    swapped = inputs.transpose(0, 1).contiguous().transpose(0, 1)
    states = mixed_memory_sequence(swapped, *rest)
    torch.testing.assert_close(states, mixed_memory_sequence(inputs, *rest))
    weights = torch.arange(float(states.numel())).view(B, T, -1).transpose(0, 1)
    (found,) = torch.autograd.grad(states, inputs, weights, retain_graph=True)
    (expected,) = torch.autograd.grad((states * weights).sum(), inputs)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["default", "no_gate"])
def test_arguments_are_left_as_they_are(mode):
    given = arguments(mode, timed=True, resets=True)
    tensors = [tensor for tensor in given if isinstance(tensor, torch.Tensor)]
    copies = [tensor.detach().clone() for tensor in tensors]
    states = mixed_memory_sequence(*given)
    weights = torch.ones_like(states)
    states.backward(weights)
    for tensor, copied in zip([*tensors, weights], [*copies, torch.ones_like(states)], strict=True):
        assert torch.equal(tensor, copied)


def test_float32_is_as_exact_as_float32_allows():
    given = arguments("default", timed=False)
    single = [tensor.float() if isinstance(tensor, torch.Tensor) else tensor for tensor in given]
    torch.testing.assert_close(
        mixed_memory_sequence(*single), mixed_memory_sequence(*given).float(), atol=2e-6, rtol=1e-6
    )


@pytest.mark.parametrize("kind", [CfC, LRC, LTC])
@pytest.mark.parametrize("mixed_memory", [False, True])
def test_activations_can_be_computed_again(kind, mixed_memory):
    """torch.utils.checkpoint unpacks what is saved once."""
    network = (
        kind(F, FullyConnected(H), mixed_memory=mixed_memory) if kind is LTC else kind(F, H, mixed_memory=mixed_memory)
    )
    inputs = torch.randn(B, T, F, requires_grad=True)
    expected = torch.autograd.grad(network(inputs)[0].square().sum(), [inputs, *network.parameters()])
    outputs, _ = checkpoint(network, inputs, use_reentrant=False)
    found = torch.autograd.grad(outputs.square().sum(), [inputs, *network.parameters()])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
