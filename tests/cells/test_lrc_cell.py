import pytest
import torch
from ncps.wirings import AutoNCP

from tests.cells.stepping import gradients, run_step_by_step
from velora_sb3.cells import LRC, LRCCell, MixedMemoryCell, WiredLRCCell, unroll
from velora_sb3.cells.time_constants import time_constants

T, B, F, H = 7, 3, 4, 6

MAKERS = {
    "closed form": lambda: LRCCell(F, H),
    "euler": lambda: LRCCell(F, H, "euler"),
    "wired": lambda: WiredLRCCell(F, AutoNCP(12, 3)),
    "wired, euler": lambda: WiredLRCCell(F, AutoNCP(12, 3), "euler"),
    "mixed memory": lambda: MixedMemoryCell(LRCCell(F, H)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.usefixtures("float64")
def test_an_unroll_equals_single_steps(make, timed):
    cell = make()
    inputs = torch.randn(T, B, F, requires_grad=True)
    state = torch.randn(B, cell.state_size)
    starts = torch.rand(T, B) < 0.3
    timespans = torch.rand(T, B) * 2 if timed else None
    outputs, last = unroll(cell, inputs, state, episode_starts=starts, timespans=timespans)
    expected, expected_last = run_step_by_step(cell, inputs, state, starts, timespans)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, expected_last)
    for ours, theirs in zip(gradients(cell, inputs, outputs), gradients(cell, inputs, expected), strict=True):
        torch.testing.assert_close(ours, theirs)


def set_gates(cell, leak, elastance, drive):
    """Products f, k and u of one unit, whatever input and state are."""
    with torch.no_grad():
        cell.weight_ih.zero_()
        cell.weight_hh.zero_()
        cell.bias.copy_(torch.tensor([leak, elastance, drive]))


@pytest.mark.usefixtures("float64")
def test_the_closed_form_solves_the_equation():
    cell, dt = LRCCell(1, 1), 1e-4
    set_gates(cell, 0.3, -0.8, 1.1)
    potential = torch.tensor(-0.4)
    leak, elastance = torch.sigmoid(torch.tensor(0.3)), torch.sigmoid(torch.tensor(-0.8))
    for _ in range(15_000):  # dv/dt over 1.5 time units, in small Euler steps
        potential = potential + dt * 2 * leak * elastance * (torch.tanh(torch.tensor(1.1)) - potential)
    outputs, _ = cell(torch.zeros(1, 1), torch.tensor([[-0.4]]), torch.tensor([1.5]))
    torch.testing.assert_close(outputs[0, 0], potential, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("float64")
def test_time_is_additive():
    """Two steps are one of their length while f, k and u are held."""
    cell = LRCCell(1, 1)
    set_gates(cell, 0.3, -0.8, 1.1)
    inputs, state = torch.zeros(1, 1), torch.tensor([[-0.4]])
    _, halfway = cell(inputs, state, torch.tensor([0.7]))
    _, twice = cell(inputs, halfway, torch.tensor([1.8]))
    torch.testing.assert_close(cell(inputs, state, torch.tensor([2.5]))[1], twice)
    torch.testing.assert_close(cell(inputs, state, torch.tensor([0.0]))[1], state)


@pytest.mark.usefixtures("float64")
def test_the_euler_step_is_the_paper_s():
    cell = LRCCell(1, 1, "euler")
    set_gates(cell, 0.3, -0.8, 1.1)
    cell.reversal.data.fill_(1.7)
    leak, elastance, drive = (torch.tensor(value) for value in (0.3, -0.8, 1.1))
    state = torch.tensor([[0.9]])
    expected = state + 0.5 * torch.sigmoid(elastance) * (1.7 * torch.tanh(drive) - torch.sigmoid(leak) * state)
    torch.testing.assert_close(cell(torch.zeros(1, 1), state, torch.tensor([0.5]))[0], expected)


def test_the_state_stays_bounded():
    cell = LRCCell(F, H)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(20)
    outputs, _ = unroll(cell, 10 * torch.randn(200, B, F), timespans=10 * torch.rand(200, B))
    assert outputs.abs().max() <= 1


def test_a_slow_unit_carries_its_state():
    cell = LRCCell(1, 1)
    set_gates(cell, -6.0, 0.0, 0.0)
    outputs, _ = unroll(cell, torch.zeros(100, 1, 1), torch.tensor([[0.8]]))
    assert outputs[-1].item() > 0.6  # exp(-100 * 2 * 0.0025 * 0.5) of it


@pytest.mark.parametrize("solver", ["closed_form", "euler"])
def test_time_constants(solver):
    cell = LRCCell(F, H, solver)
    inputs, state = torch.randn(B, F), torch.rand(B, H)
    products = inputs @ cell.weight_ih.t() + state @ cell.weight_hh.t() + cell.bias
    leak, elastance = products.sigmoid()[:, :H], products.sigmoid()[:, H : 2 * H]
    rate = leak * elastance * (2 if solver == "closed_form" else 1)
    torch.testing.assert_close(time_constants(cell, inputs, state), 1 / rate)
    torch.testing.assert_close(cell.rates(inputs, None), cell.rates(inputs, torch.zeros(B, H)))


def test_a_mask_cuts_all_three_products():
    mask = torch.ones(F + H, H)
    mask[0, 1] = 0  # from the first input to the second unit
    cell = LRCCell(F, H, sparsity_mask=mask)
    weights = cell.prepare(False).inputs
    assert [bool(weights[block * H + 1, 0] == 0) for block in range(3)] == [True] * 3
    assert int((weights == 0).sum()) == 3
    assert "mask" in dict(cell.named_buffers())


def test_the_sequence_module():
    network = LRC(F, AutoNCP(12, 3), mixed_memory=True)
    outputs, state = network(torch.randn(B, T, F))
    assert outputs.shape == (B, T, 3)
    assert state.shape == (B, 2 * 12)
    assert LRC(F, H, proj_size=2, return_sequences=False)(torch.randn(B, T, F))[0].shape == (B, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "rk4"}, "solver must be one of 'closed_form', 'euler', got 'rk4'"),
        ({"hidden_size": 0}, "hidden_size must be an integer of at least 1, got 0"),
        ({"sparsity_mask": torch.ones(2, 2)}, r"sparsity_mask must have shape \(10, 6\), got \(2, 2\)"),
    ],
)
def test_mistakes(settings, message):
    with pytest.raises(ValueError, match=message):
        LRCCell(**{"input_size": F, "hidden_size": H, **settings})
