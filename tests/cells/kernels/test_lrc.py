import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from velora_sb3.cells.kernels.lrc import lrc_sequence

T, B, F, H = 4, 2, 2, 3

pytestmark = pytest.mark.usefixtures("float64")


def arguments(timed, resets=False, state=True):
    """Everything the kernel takes, random, with gradients."""
    shapes = [(T, B, F), (B, H), (3 * H, F), (3 * H, H), (3 * H,)]
    tensors = [torch.randn(*shape).requires_grad_() for shape in shapes]
    starts = torch.tensor([[0, 0], [0, 1], [1, 0], [0, 0]]).unsqueeze(-1).bool() if resets else None
    timespans = (torch.rand(T, B, 1) + 0.1).requires_grad_() if timed else None
    if not state:
        tensors[1] = None
    return [*tensors, starts, timespans]


@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("state", [True, False], ids=["given state", "zero state"])
def test_gradients(timed, resets, state):
    assert gradcheck(lrc_sequence, arguments(timed, resets, state))


@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
def test_second_derivatives(timed):
    assert gradgradcheck(lrc_sequence, arguments(timed, resets=True))


def test_arguments_are_not_changed():
    given = arguments(timed=True, resets=True)
    tensors = [tensor for tensor in given if isinstance(tensor, torch.Tensor)]
    copies = [tensor.detach().clone() for tensor in tensors]
    lrc_sequence(*given).sum().backward()
    for tensor, copied in zip(tensors, copies, strict=True):
        assert torch.equal(tensor, copied)


def test_an_empty_batch():
    given = arguments(timed=False, state=False)
    given[0] = torch.zeros(T, 0, F, requires_grad=True)
    outputs = lrc_sequence(*given)
    outputs.sum().backward()
    assert outputs.shape == (T, 0, H)


def test_float32():
    given = arguments(timed=True, resets=True)
    single = [t.float() if isinstance(t, torch.Tensor) and t.is_floating_point() else t for t in given]
    torch.testing.assert_close(lrc_sequence(*single), lrc_sequence(*given).float(), atol=2e-6, rtol=0)
