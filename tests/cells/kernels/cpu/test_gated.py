"""The C kernels of CfC, LRC, GRU and mixed memory against the plain forms."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.cells.stepping import squared_gradient
from velora_sb3.cells import CfCCell, LRCCell, MixedMemoryCell, unroll
from velora_sb3.cells.kernels import cfc, cpu, gru, lrc, mixed_memory

T, F = 4, 3

pytestmark = pytest.mark.skipif(cpu.library() is None, reason="no C compiler")


MODES = ["default", "no_gate", "lrc", "gru"]
WITH_TIME = [(mode, timed) for mode in MODES for timed in (False, True) if mode != "gru" or not timed]  # no clock


def arguments(mode, batch, units, timed=False, resets=False, state=False, steps=T):
    """What the kernels take, random."""
    blocks = 4 if timed and mode != "lrc" else 3
    shapes = [(steps, batch, F), (batch, units), (blocks * units, F), (blocks * units, units), (blocks * units,)]
    if mode == "gru":
        shapes.append(shapes[-1])
    tensors = [torch.randn(shape) for shape in shapes]
    tensors[3] /= units**0.5
    starts = torch.rand(steps, batch, 1) < 0.3 if resets else None
    timespans = 2 * torch.rand(steps, batch, 1) if timed else None
    return [tensors[0], tensors[1] if state else None, *tensors[2:], starts, timespans]


def kernel_and_plain(mode):
    if mode == "lrc":
        return lrc.lrc_sequence, lrc._plain
    if mode == "gru":
        return (lambda *given: gru.gru_sequence(*given[:-1])), (lambda *given: gru._plain(*given[:-1]))
    return (lambda *given: cfc.cfc_sequence(*given, mode)), (lambda *given: cfc._plain(mode, *given, None, None))


def values_and_gradients(function, arguments):
    """The outputs, and the gradients of everything that can have one."""
    given = [
        argument.clone().requires_grad_() if argument is not None and argument.is_floating_point() else argument
        for argument in arguments
    ]
    outputs = function(*given)
    weights = torch.linspace(-1, 2, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    wanted = [argument for argument in given if argument is not None and argument.requires_grad]
    return [outputs.detach(), *torch.autograd.grad((outputs * weights).sum(), wanted, materialize_grads=True)]


def check(kernel, plain, arguments):
    """The kernel gives what the plain form gives in float64."""
    exact = [
        argument.double() if argument is not None and argument.is_floating_point() else argument
        for argument in arguments
    ]
    found, expected = values_and_gradients(kernel, arguments), values_and_gradients(plain, exact)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5 * max(1, float(other.abs().max())), rtol=0)


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """The kernels run, and not the loops that they replace."""
    for module in (cfc, lrc, mixed_memory):
        monkeypatch.setattr(module, "_loop", None)
        monkeypatch.setattr(module, "_loop_backward", None)


@pytest.mark.parametrize(("mode", "timed"), WITH_TIME)
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("state", [False, True], ids=["zero state", "given state"])
def test_values_and_gradients(mode, timed, resets, state):
    check(*kernel_and_plain(mode), arguments(mode, 9, 20, timed, resets, state))


@pytest.mark.parametrize(("mode", "timed"), [pair for pair in WITH_TIME if "no_gate" not in pair])
@pytest.mark.parametrize(
    ("steps", "batch", "units"), [(1, 1, 1), (1, 3, 20), (1, 4, 5), (5, 1, 17), (3, 15, 65), (3, 2, 64), (2, 33, 100)]
)
def test_shapes(mode, timed, steps, batch, units):
    check(*kernel_and_plain(mode), arguments(mode, batch, units, timed, True, True, steps))


@pytest.mark.parametrize("mode", MODES)
def test_nan_stays_in_its_row_and_its_episode(mode):
    kernel, _ = kernel_and_plain(mode)
    inputs, *rest = arguments(mode, 9, 20, resets=True, steps=6)
    starts = rest[-2]
    starts[:] = False
    starts[3, 4] = True
    inputs[1, 4] = torch.nan
    inputs.requires_grad_()
    outputs = kernel(inputs, *rest)
    bad = torch.zeros(6, 9, dtype=torch.bool)
    bad[1:3, 4] = True
    assert torch.equal(outputs.isnan().all(-1), bad)
    assert torch.equal(outputs.isnan().any(-1), bad)
    outputs.sum().backward()
    bad[0, 4] = True  # before it in the same episode
    assert torch.equal(inputs.grad.isnan().any(-1), bad)


@pytest.mark.parametrize("mode", ["default", "lrc", "gru"])
@pytest.mark.parametrize("size", [10.0, 1e30])
def test_large_products(mode, size):
    kernel, plain = kernel_and_plain(mode)
    inputs, state, *rest = arguments(mode, 3, 20, timed=mode != "gru", state=True)
    check(kernel, plain, [inputs * size, state, *rest])


@pytest.mark.parametrize("mode", ["default", "lrc", "gru"])
def test_infinite_inputs_saturate(mode):
    kernel, plain = kernel_and_plain(mode)
    given = arguments(mode, 3, 20)
    given[0] = torch.full_like(given[0][..., :1], torch.inf)
    given[2] = given[2][:, :1]
    outputs = kernel(*given)
    assert torch.isfinite(outputs).all()
    torch.testing.assert_close(outputs, plain(*given), atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["default", "lrc", "gru"])
def test_other_layouts(mode):
    kernel, plain = kernel_and_plain(mode)
    inputs, state, weight_ih, weight_hh, *rest = arguments(mode, 5, 7, mode != "gru", resets=True, state=True)

    def swapped(function):
        def run(inputs, state, weight_ih, weight_hh, *rest):
            given = [inputs.transpose(0, 1), state.t(), weight_ih.t(), weight_hh.t(), *rest[:-2]]
            marks = [None if mark is None else mark.transpose(0, 1) for mark in rest[-2:]]
            return function(*given, *marks).transpose(0, 1)

        return run

    given = [inputs.transpose(0, 1), state.t(), weight_ih.t(), weight_hh.t(), *rest[:-2]]
    given += [None if mark is None else mark.transpose(0, 1) for mark in rest[-2:]]
    check(swapped(kernel), swapped(plain), [None if tensor is None else tensor.contiguous() for tensor in given])


@pytest.mark.parametrize("mode", ["default", "lrc", "gru"])
def test_rows_do_not_depend_on_their_neighbours(mode):
    kernel, _ = kernel_and_plain(mode)
    inputs, state, *rest = arguments(mode, 15, 20, state=True)
    together = kernel(inputs, state, *rest)
    for row in range(15):
        assert torch.equal(kernel(inputs[:, row : row + 1], state[row : row + 1], *rest), together[:, row : row + 1])


@pytest.mark.parametrize("mode", ["default", "lrc", "gru"])
def test_second_derivatives_take_the_plain_form(mode):
    kernel, plain = kernel_and_plain(mode)
    given = arguments(mode, 3, 5)

    check(partial(squared_gradient, kernel), partial(squared_gradient, plain), given)


@pytest.mark.parametrize("mode", ["default", "lrc", "gru"])
def test_a_graph_that_is_kept_gives_the_same_twice(mode):
    kernel, _ = kernel_and_plain(mode)
    inputs, *rest = arguments(mode, 3, 5)
    outputs = kernel(inputs.requires_grad_(), *rest).sum()
    first, second = (torch.autograd.grad(outputs, inputs, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def mixed_arguments(mode, batch, units, timed=False, resets=False, state=False, steps=T):
    inputs, _, *weights, starts, timespans = arguments(mode, batch, units, timed, resets, steps=steps)
    _, _, *lstm, _, _ = arguments("default", batch, 4 * units)
    lstm = [lstm[0][: 4 * units], 2 * lstm[1][: 4 * units, :units], lstm[2][: 4 * units]]
    return [inputs, torch.randn(batch, 2 * units) if state else None, *lstm, *weights, starts, timespans]


def mixed(mode):
    def run(*given):
        return mixed_memory.mixed_memory_sequence(*given, mode)

    return run


@pytest.mark.parametrize("mode", ["default", "no_gate"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize(("steps", "batch", "units"), [(T, 9, 20), (T, 1, 1), (T, 6, 64), (1, 1, 64), (1, 3, 20)])
def test_mixed_memory(mode, timed, resets, steps, batch, units):
    given = mixed_arguments(mode, batch, units, timed, resets, timed == resets, steps)
    check(mixed(mode), partial(mixed_memory._plain, mode), given)


@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("batch", [1, 9])
def test_a_step_of_mixed_memory_runs_in_the_kernel(batch, timed):
    cell = MixedMemoryCell(CfCCell(F, 20, backbone_layers=0), timed)
    inputs, state = torch.randn(batch, F), torch.randn(batch, 40)
    timespans = 2 * torch.rand(batch) if timed else None
    found, after = cell(inputs, state, timespans)
    with torch.no_grad():
        assert torch.equal(cell(inputs, state, timespans)[1], after)
    expected, _ = cell.double()(inputs.double(), state.double(), None if timespans is None else timespans.double())
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    assert type(after.grad_fn).__name__ == "SelectBackward0"
    assert type(after.grad_fn.next_functions[0][0]).__name__ == "_MixedMemorySequenceBackward"


def test_nan_stays_in_its_row_and_its_episode_with_mixed_memory():
    inputs, state, *rest = mixed_arguments("default", 9, 20, resets=True, state=True)
    starts = rest[-2]
    starts[:] = False
    starts[2, 4] = True
    state[4] = torch.nan
    inputs.requires_grad_()
    outputs = mixed("default")(inputs, state, *rest)
    bad = torch.zeros(T, 9, dtype=torch.bool)
    bad[:2, 4] = True
    assert torch.equal(outputs.isnan().any(-1), bad)
    outputs.sum().backward()
    assert torch.equal(inputs.grad.isnan().any(-1), bad)


@pytest.mark.parametrize(
    "cell", [partial(CfCCell, backbone_layers=0), partial(CfCCell, mode="no_gate", backbone_layers=0), LRCCell]
)
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("units", [5, 64])
def test_without_gradients(monkeypatch, cell, timed, batch, units):
    """A step, and a sequence that keeps nothing for the way back."""
    made = cell(F, units)
    inputs, state = torch.randn(3, batch, F), torch.randn(batch, units)
    timespans = torch.rand(3, batch) if timed else None
    expected, _ = unroll(made, inputs, state, timespans=timespans)
    with torch.no_grad():
        outputs, _ = unroll(made, inputs, state, timespans=timespans)
        monkeypatch.setattr(nn.functional, "linear", None)  # what a step in PyTorch calls
        first, _ = made(inputs[0], state, None if timespans is None else timespans[0])
    torch.testing.assert_close(outputs, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(first, expected[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("place", "wrong", "error"),
    [
        (0, torch.randn(T, 3, F + 1), "features"),
        (1, torch.randn(2, 5), "state of 5"),
        (1, torch.randn(3, 5, dtype=torch.float64), "float64"),
        (3, torch.randn(15, 5, dtype=torch.float64), "float64"),
        (5, torch.ones(T, 2, 1, dtype=torch.bool), "starts"),
    ],
)
def test_what_does_not_fit_is_an_error(place, wrong, error):
    given = arguments("default", 3, 5)
    given[place] = wrong
    with pytest.raises((TypeError, ValueError), match=error):
        cfc.cfc_sequence(*given, "default")
