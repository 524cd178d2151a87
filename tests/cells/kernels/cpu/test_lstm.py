"""The C kernel of torch's LSTM against the plain form; in GRUCell and LSTMCell the kernels against torch's own."""

from functools import partial

import pytest
import torch

from tests.cells.kernels.cpu.test_gated import check
from tests.cells.stepping import squared_gradient
from velora_sb3.cells import GRUCell, LSTMCell, unroll, unroll_states
from velora_sb3.cells.kernels import cpu, lstm

T, F = 4, 3

pytestmark = pytest.mark.skipif(cpu.library() is None, reason="no C compiler")


def arguments(batch, units, resets=False, state=False, steps=T):
    """What the kernel takes, random."""
    shapes = [(steps, batch, F), (batch, 2 * units), (4 * units, F), (4 * units, units), (4 * units,)]
    tensors = [torch.randn(shape) for shape in shapes]
    tensors[3] /= units**0.5
    starts = torch.rand(steps, batch, 1) < 0.3 if resets else None
    return [tensors[0], tensors[1] if state else None, *tensors[2:], starts]


def kernel(*given):
    return torch.stack(lstm.lstm_sequence(*given))


@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("state", [False, True], ids=["zero state", "given state"])
@pytest.mark.parametrize(
    ("steps", "batch", "units"),
    [(4, 9, 20), (1, 1, 1), (1, 3, 20), (1, 4, 5), (5, 1, 17), (3, 15, 65), (3, 2, 64), (2, 33, 100)],
)
def test_values_and_gradients(resets, state, steps, batch, units):
    check(kernel, lstm._plain, arguments(batch, units, resets, state, steps))


@pytest.mark.parametrize("part", [0, 1], ids=["outputs", "memories"])
def test_gradients_of_one_part(part):
    given = arguments(3, 5, resets=True, state=True)
    check(lambda *given: lstm.lstm_sequence(*given)[part], lambda *given: lstm._plain(*given)[part], given)


@pytest.mark.parametrize("kind", [GRUCell, LSTMCell])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("run", [unroll, unroll_states])
def test_a_cell_computes_what_torch_does(monkeypatch, kind, timed, resets, run):
    cell = kind(F, 20, timed)
    monkeypatch.setattr(cell, "_run", None)  # torch's kernel
    exact = kind(F, 20, timed).double()  # which the C kernel does not support
    exact.load_state_dict(cell.state_dict())
    inputs, state = torch.randn(6, 9, F), torch.randn(9, cell.state_size)
    starts = torch.rand(6, 9) < 0.3 if resets else None
    timespans = torch.rand(6, 9) if timed else None

    def outputs_and_gradients(cell, inputs, state):
        inputs, state = inputs.clone().requires_grad_(), state.clone().requires_grad_()
        made = run(cell, inputs, state, episode_starts=starts, timespans=timespans)
        total = sum((part * torch.linspace(-1, 2, part.numel()).view_as(part)).sum() for part in made)
        gradients = torch.autograd.grad(total, [inputs, state, *cell.parameters()])
        return [*(part.detach() for part in made), *gradients]

    found = outputs_and_gradients(cell, inputs, state)
    expected = outputs_and_gradients(exact, inputs.double(), state.double())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5 * max(1, float(other.abs().max())), rtol=0)


@pytest.mark.parametrize("kind", [GRUCell, LSTMCell])
def test_without_gradients(kind):
    cell, inputs = kind(F, 20), torch.randn(6, 9, F)
    expected, last = unroll(cell, inputs)
    with torch.no_grad():
        outputs, state = unroll(cell, inputs)
    assert torch.equal(outputs, expected)
    assert torch.equal(state, last)


@pytest.mark.parametrize("kind", [GRUCell, LSTMCell])
def test_frozen_weights(kind):
    cell = kind(F, 20).requires_grad_(False)
    inputs = torch.randn(6, 9, F, requires_grad=True)
    expected, _ = cell.network(inputs)
    outputs, _ = unroll(cell, inputs)
    ours, theirs = (torch.autograd.grad(made.square().sum(), inputs)[0] for made in (outputs, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_nan_stays_in_its_row_and_its_episode():
    inputs, *rest = arguments(9, 20, resets=True, steps=6)
    starts = rest[-1]
    starts[:] = False
    starts[3, 4] = True
    inputs[1, 4] = torch.nan
    inputs.requires_grad_()
    outputs, memories = lstm.lstm_sequence(inputs, *rest)
    bad = torch.zeros(6, 9, dtype=torch.bool)
    bad[1:3, 4] = True
    for made in (outputs, memories):
        assert torch.equal(made.isnan().all(-1), bad)
        assert torch.equal(made.isnan().any(-1), bad)
    outputs.sum().backward()
    bad[0, 4] = True  # before it in the same episode
    assert torch.equal(inputs.grad.isnan().any(-1), bad)


@pytest.mark.parametrize("size", [10.0, 1e30])
def test_large_products(size):
    inputs, *rest = arguments(3, 20, state=True)
    check(kernel, lstm._plain, [inputs * size, *rest])


def test_other_layouts():
    inputs, state, weight_ih, weight_hh, bias, starts = arguments(5, 7, resets=True, state=True)

    def swapped(function, inputs, state, weight_ih, weight_hh, bias, starts):
        given = [inputs.transpose(0, 1), state.t(), weight_ih.t(), weight_hh.t(), bias, starts.transpose(0, 1)]
        return function(*given).transpose(1, 2)

    given = [inputs.transpose(0, 1), state.t(), weight_ih.t(), weight_hh.t(), bias, starts.transpose(0, 1)]
    check(partial(swapped, kernel), partial(swapped, lstm._plain), [tensor.contiguous() for tensor in given])


def test_second_derivatives_take_the_plain_form():
    given = arguments(3, 5, resets=True)
    check(partial(squared_gradient, kernel), partial(squared_gradient, lstm._plain), given)


def test_a_graph_that_is_kept_gives_the_same_twice():
    inputs, *rest = arguments(3, 5)
    outputs, _ = lstm.lstm_sequence(inputs.requires_grad_(), *rest)
    first, second = (torch.autograd.grad(outputs.sum(), inputs, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("place", "wrong", "error"),
    [
        (0, torch.randn(T, 3, F + 1), "features"),
        (1, torch.randn(2, 10), "state of 10"),
        (1, torch.randn(3, 10, dtype=torch.float64), "float64"),
        (5, torch.ones(T, 2, 1, dtype=torch.bool), "starts"),
    ],
)
def test_what_does_not_fit_is_an_error(place, wrong, error):
    given = arguments(3, 5)
    given[place] = wrong
    with pytest.raises((TypeError, ValueError), match=error):
        lstm.lstm_sequence(*given)
