import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from velora_sb3.cells.kernels.cfc import cfc_sequence

T, B, F, H = 4, 2, 2, 3

pytestmark = pytest.mark.usefixtures("float64")


def arguments(mode, timed, resets=False):
    """Everything the kernel takes, random, with gradients."""
    blocks = 1 if mode == "pure" else 4 if timed else 3
    shapes = [(T, B, F), (B, H), (blocks * H, F), (blocks * H, H), (blocks * H,)]
    tensors = [torch.randn(*shape).requires_grad_() for shape in shapes]
    starts = torch.tensor([[0, 0], [0, 1], [1, 0], [0, 0]]).unsqueeze(-1).bool() if resets else None
    timespans = (torch.rand(T, B, 1) + 0.1).requires_grad_() if timed else None
    solution = [torch.randn(H).requires_grad_() for _ in range(2)] if mode == "pure" else []
    return [*tensors, starts, timespans, mode, *solution]


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("state", [True, False], ids=["given state", "zero state"])
def test_gradients_by_everything_are_those_of_finite_differences(mode, timed, resets, state):
    given = arguments(mode, timed, resets)
    if not state:
        given[1] = None
    assert gradcheck(cfc_sequence, given)


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
def test_second_derivatives_are_right_too_as_trpo_needs_them(mode, timed):
    assert gradgradcheck(cfc_sequence, arguments(mode, timed, resets=True))


def test_no_sequence_at_all_is_a_batch_too():
    given = arguments("default", timed=False)
    given[0], given[1] = torch.zeros(T, 0, F, requires_grad=True), None
    outputs = cfc_sequence(*given)
    outputs.sum().backward()
    assert outputs.shape == (T, 0, H)


def test_a_loss_that_reads_outputs_in_another_layout_does_not_confuse_the_kernel():
    inputs, *rest = arguments("default", timed=False)
    outputs = cfc_sequence(inputs, *rest)
    (swapped,) = torch.autograd.grad(outputs.transpose(0, 1).flatten(1).cumsum(1).sum(), inputs, retain_graph=True)
    weights = torch.arange(T * H, 0, -1.0).view(T, 1, H).expand(T, B, H)
    (expected,) = torch.autograd.grad((outputs * weights).sum(), inputs)
    torch.testing.assert_close(swapped, expected)


def test_inputs_that_are_not_contiguous_give_the_same():
    given = arguments("default", timed=False)
    swapped = [given[0].transpose(0, 1).contiguous().transpose(0, 1), *given[1:]]
    torch.testing.assert_close(cfc_sequence(*swapped), cfc_sequence(*given))


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
def test_arguments_are_left_as_they_are(mode):
    given = arguments(mode, timed=True, resets=True)
    tensors = [tensor for tensor in given if isinstance(tensor, torch.Tensor)]
    copies = [tensor.detach().clone() for tensor in tensors]
    cfc_sequence(*given).sum().backward()
    for tensor, copied in zip(tensors, copies, strict=True):
        assert torch.equal(tensor, copied)


def test_float32_is_as_exact_as_float32_allows():
    given = arguments("default", timed=False)
    single = [tensor.float() if isinstance(tensor, torch.Tensor) else tensor for tensor in given]
    torch.testing.assert_close(cfc_sequence(*single), cfc_sequence(*given).float(), atol=2e-6, rtol=0)
