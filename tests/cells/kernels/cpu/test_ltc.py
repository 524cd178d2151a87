"""The C kernel of LTC against the plain form."""

from functools import partial

import pytest
import torch
from ncps.wirings import AutoNCP, FullyConnected, Random

from velora_sb3.cells.kernels import cpu, ltc
from velora_sb3.cells.ltc_cell import LTCCell
from velora_sb3.cells.mixed_memory import MixedMemoryCell
from velora_sb3.cells.unroll import unroll

T, B, F, M = 4, 9, 3, 3

in_c = partial(ltc.compiled_sequence, ltc.on_cpu)

WIRINGS = {
    "NCP": lambda: AutoNCP(19, 4),
    "dense": lambda: FullyConnected(5),
    "scattered": lambda: Random(40, sparsity_level=0.9),
    "one unit": lambda: FullyConnected(1),
}

pytestmark = pytest.mark.skipif(cpu.library() is None, reason="no C compiler")


def arguments(kind="NCP", steps=T, batch=B, timed=False, resets=False, state=False, unfolds=M):
    """A network, and what its kernel takes, random."""
    cell = LTCCell(WIRINGS[kind](), F)
    capacity, leak, synapses, tables, network = cell.prepare(timed)
    assert tables is None
    starts = torch.rand(steps, batch, 1) < 0.3 if resets else None
    timespans = 2 * torch.rand(steps, batch, 1) if timed else None
    before = torch.randn(batch, cell.state_size) if state else None
    tensors = [torch.randn(steps, batch, F), before, starts, timespans, capacity, leak, synapses]
    return network._replace(unfolds=unfolds), [None if tensor is None else tensor.detach() for tensor in tensors]


def plain(network, inputs, state, starts, timespans, *weights):
    """The same by the plain form."""
    dt = inputs.new_ones(*inputs.shape[:2], 1) if timespans is None else timespans
    state = inputs.new_zeros(inputs.shape[1], network.recurrent.units) if state is None else state
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ltc, "needs_plain_form", lambda: True)
        return ltc._by_tables(network, inputs, state, starts, dt / network.unfolds, *weights)


def values_and_gradients(function, network, arguments):
    """The outputs, and the gradients of everything that can have one."""
    given = [
        argument.clone().requires_grad_() if argument is not None and argument.is_floating_point() else argument
        for argument in arguments
    ]
    outputs = function(network, *given)
    weights = torch.linspace(-1, 2, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    wanted = [argument for argument in given if argument is not None and argument.requires_grad]
    return [outputs.detach(), *torch.autograd.grad((outputs * weights).sum(), wanted, materialize_grads=True)]


def check(network, arguments, kernel=in_c, expected=plain):
    """The kernel gives what the plain form gives in float64."""
    exact = [
        argument.double() if argument is not None and argument.is_floating_point() else argument
        for argument in arguments
    ]
    results = values_and_gradients(kernel, network, arguments), values_and_gradients(expected, network, exact)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5 * max(1, float(other.abs().max())), rtol=0)


@pytest.mark.parametrize("kind", WIRINGS)
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("state", [False, True], ids=["zero state", "given state"])
def test_values_and_gradients(kind, timed, resets, state):
    check(*arguments(kind, timed=timed, resets=resets, state=state))


@pytest.mark.parametrize(
    ("steps", "batch", "unfolds"), [(1, 1, 1), (1, 16, 6), (3, 17, 2), (2, 32, 1), (3, 33, 6), (2, 50, 2)]
)
def test_shapes(steps, batch, unfolds):
    check(*arguments("NCP", steps, batch, True, True, True, unfolds))


@pytest.mark.parametrize("kind", ["NCP", "dense"])
def test_nan_stays_in_its_row_and_its_episode(kind):
    network, (inputs, state, starts, *rest) = arguments(kind, steps=6, resets=True, state=True)
    starts[:] = False
    starts[3, 4] = True
    inputs[1, 4] = torch.nan
    inputs.requires_grad_()
    outputs = in_c(network, inputs, state, starts, *rest)
    bad = torch.zeros(6, B, dtype=torch.bool)
    bad[1:3, 4] = True
    assert torch.equal(outputs.isnan().any(-1), bad)
    outputs.sum().backward()
    bad[0, 4] = True  # before it in the same episode
    assert torch.equal(inputs.grad.isnan().any(-1), bad)


def test_no_time_passes():
    network, (inputs, _, starts, _, *weights) = arguments(batch=3)
    state, timespans = torch.randn(3, network.recurrent.units), torch.zeros(T, 3, 1)
    check(network, [inputs, state, starts, timespans, *weights])
    assert torch.equal(in_c(network, inputs, state, starts, timespans, *weights)[-1], state)


@pytest.mark.parametrize("size", [100.0, 1e30, torch.inf])
def test_large_inputs_saturate(size):
    network, given = arguments(timed=True)
    given[0] = given[0] * size
    outputs = in_c(network, *given)
    assert torch.isfinite(outputs).all()
    if size < torch.inf:  # the plain form multiplies it by the zeros of absent synapses
        torch.testing.assert_close(outputs, plain(network, *given), atol=1e-6, rtol=1e-6)


def test_other_layouts():
    network, (inputs, state, starts, timespans, *weights) = arguments(timed=True, resets=True, state=True)

    def swapped(function):
        def run(network, inputs, state, starts, timespans, *weights):
            given = [inputs.transpose(0, 1), state.t(), starts.transpose(0, 1), timespans.transpose(0, 1)]
            return function(network, *given, *(weight.transpose(0, 1) for weight in weights))

        return run

    given = [inputs.transpose(0, 1), state.t(), starts.transpose(0, 1), timespans.transpose(0, 1)]
    given += [weight.transpose(0, 1) for weight in weights]
    given = [tensor.contiguous() for tensor in given]
    check(network, given, swapped(in_c), swapped(plain))


@pytest.mark.parametrize("kind", ["NCP", "dense"])
def test_rows_do_not_depend_on_their_neighbours(kind):
    network, (inputs, state, *rest) = arguments(kind, batch=37, state=True)
    together = in_c(network, inputs, state, *rest)
    for row in range(37):
        alone = in_c(network, inputs[:, row : row + 1], state[row : row + 1], *rest)
        assert torch.equal(alone, together[:, row : row + 1])


def test_second_derivatives_take_the_plain_form():
    network, given = arguments(batch=2)

    def squared_gradient(function, network, inputs, *rest):
        (gradient,) = torch.autograd.grad(function(network, inputs, *rest).square().sum(), inputs, create_graph=True)
        return gradient

    check(network, given, *(partial(squared_gradient, function) for function in (in_c, plain)))


def test_a_graph_that_is_kept_gives_the_same_twice():
    network, (inputs, *rest) = arguments()
    outputs = in_c(network, inputs.requires_grad_(), *rest).sum()
    first, second = (torch.autograd.grad(outputs, inputs, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "mixed memory"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
def test_the_cell_steps_and_unrolls_in_c(mixed, timed, monkeypatch):
    cell = LTCCell(WIRINGS["NCP"](), F)
    cell = MixedMemoryCell(cell) if mixed else cell
    inputs, starts = torch.randn(T, B, F), torch.rand(T, B) < 0.3
    timespans = torch.rand(T, B) if timed else None

    def run(cell, dtype):
        times = None if timespans is None else timespans.to(dtype)
        return unroll(cell.to(dtype), inputs.to(dtype), episode_starts=starts, timespans=times)

    expected = [tensor.float() for tensor in run(cell, torch.float64)]
    monkeypatch.setattr(ltc.on_cpu, "backward", None)
    monkeypatch.setattr(ltc, "LTCSequence", None)
    torch.testing.assert_close(run(cell, torch.float32), tuple(expected), atol=1e-5, rtol=0)
    state, outputs = None, []
    for t in range(T):
        state = None if state is None else torch.where(starts[t].unsqueeze(-1), 0, state)
        output, state = cell.float()(inputs[t], state, None if timespans is None else timespans[t])
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs), expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [0, 1])
def test_what_runs_in_c(count):
    network, synapses = LTCCell(FullyConnected(1), F).prepare(False).network, torch.ones(4, count)
    assert (ltc.kernel_of(synapses, network) is ltc.on_cpu) == (count > 0)
    assert ltc.kernel_of(synapses.double(), network) is None
    inside = torch.func.vmap(lambda row: row + (ltc.kernel_of(row, network) is not None))(torch.zeros(2, 3))
    assert not inside.any()
