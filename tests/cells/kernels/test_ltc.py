import pytest
import torch
from ncps.wirings import AutoNCP, FullyConnected, Random
from torch.autograd import gradcheck, gradgradcheck

from velora_sb3.cells.kernels.ltc import COLUMNS, ltc_sequence
from velora_sb3.cells.kernels.ltc_synapses import Synapses
from velora_sb3.cells.ltc_cell import LTCCell
from velora_sb3.cells.unroll import unroll

T, B, F, M = 3, 2, 2, 2

pytestmark = pytest.mark.usefixtures("float64")

WIRINGS = {
    "sparse": lambda: AutoNCP(8, 2),
    "dense": lambda: FullyConnected(3),
    "scattered": lambda: Random(6, sparsity_level=0.8),
}


def kernel(wiring, resets, timed):
    """The kernel as a function of tensors alone, and random tensors for it."""
    cell = LTCCell(wiring, F)
    capacity, leak, _, (recurrent, sensory), _ = cell.prepare(timed=True)
    starts = torch.tensor([[0, 0], [0, 1], [1, 0]]).unsqueeze(1).bool() if resets else None
    dt = torch.rand(T, 1, B).requires_grad_() if timed else torch.full((T, 1, 1), 0.5)
    inputs, state = torch.randn(T, B, F), torch.randn(cell.state_size, B)
    differentiable = [inputs, state, capacity, leak, *recurrent, *sensory]

    def run(dt, inputs, state, capacity, leak, *synapses):
        # Entries without a synapse are zero and have no gradient: what stands there must not matter.
        present = [where_present(cell.recurrent, t) for t in synapses[:3]]
        present += [where_present(cell.sensory, t) for t in synapses[3:]]
        banks = (cell.recurrent, Synapses(*present[:3])), (cell.sensory, Synapses(*present[3:]))
        return ltc_sequence(inputs, state, starts, dt, capacity, leak, *banks, M)

    return run, [dt, *(tensor.detach().requires_grad_() for tensor in differentiable)]


def where_present(table, values):
    mask = torch.zeros(table.rows * table.fan_in)
    mask[table.slots] = 1
    mask = mask.view(table.rows, table.fan_in)
    return values * (mask.unsqueeze(1) if values.shape[-1] != 1 else mask.unsqueeze(-1))


@pytest.mark.parametrize("kind", WIRINGS)
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
def test_gradients_by_everything_are_those_of_finite_differences(kind, resets, timed):
    run, tensors = kernel(WIRINGS[kind](), resets, timed)
    assert gradcheck(run, tensors)


@pytest.mark.parametrize("kind", WIRINGS)
def test_second_derivatives_are_right_too_as_trpo_needs_them(kind):
    run, tensors = kernel(WIRINGS[kind](), resets=True, timed=True)
    assert gradgradcheck(run, tensors)


def test_only_the_dense_wiring_is_laid_out_densely():
    dense = {kind: LTCCell(wiring(), F).recurrent.dense for kind, wiring in WIRINGS.items()}
    assert dense == {"sparse": False, "dense": True, "scattered": False}


@pytest.mark.parametrize("kind", WIRINGS)
def test_a_large_batch_gives_what_its_sequences_give_alone(kind):
    batch = COLUMNS + 3  # more sensory columns than one piece holds, and products too large for the small path
    cell = LTCCell(WIRINGS[kind](), F)
    inputs = torch.randn(T, batch, F, requires_grad=True)
    outputs, _ = unroll(cell, inputs)
    parts = torch.cat([unroll(cell, part)[0] for part in inputs.split(7, dim=1)], dim=1)
    torch.testing.assert_close(outputs, parts)
    together = torch.autograd.grad(outputs.square().sum(), [inputs, *cell.parameters()])
    apart = torch.autograd.grad(parts.square().sum(), [inputs, *cell.parameters()])
    torch.testing.assert_close(together, apart)


def test_arguments_are_left_as_they_are():
    run, tensors = kernel(AutoNCP(8, 2), resets=True, timed=True)
    copies = [tensor.detach().clone() for tensor in tensors]
    run(*tensors).sum().backward()
    for tensor, copied in zip(tensors, copies, strict=True):
        assert torch.equal(tensor, copied)


def test_float32_is_as_exact_as_float32_allows():
    cell = LTCCell(AutoNCP(12, 3), F)
    inputs = torch.randn(20, B, F)
    expected, _ = unroll(cell, inputs)
    outputs, _ = unroll(cell.float(), inputs.float())
    torch.testing.assert_close(outputs, expected.float(), atol=5e-6, rtol=0)
