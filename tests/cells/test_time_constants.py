import pytest
import torch

from velora_sb3.cells import LiquidCell, time_constants
from velora_sb3.memory import make_cell

pytestmark = pytest.mark.usefixtures("float64")


def inputs(cell):
    return torch.randn(2, cell.input_size), torch.randn(2, cell.state_size) / 2


def test_an_ltc_decays_with_them():
    """With one unfold its step is one of the linear equation c dv/dt = A - B v."""
    cell = make_cell(3, "ltc", units=8, wiring="ncp", ode_unfolds=1)
    seen, state = inputs(cell)
    tau = time_constants(cell, seen, state)
    short = torch.full((2,), 1e-7)
    slope = (cell(seen, state, short)[1] - state) / 1e-7
    rest = cell(seen, state, torch.full((2,), 1e9))[1]  # where the decay would end
    torch.testing.assert_close(rest, state + tau * slope, rtol=1e-4, atol=1e-5)


def test_a_pure_cfcs_decay_is_theirs():
    cell = make_cell(3, "cfc", units=8, mode="pure")
    seen, state = inputs(cell)
    tau = time_constants(cell, seen, state)
    one, two = (cell(seen, state, torch.full((2,), time))[1] - cell.amplitude for time in (1.0, 2.5))
    torch.testing.assert_close(two / one, torch.exp(-1.5 / tau))


@pytest.mark.parametrize("wiring", [None, "ncp"])
@pytest.mark.parametrize("mode", ["default", "no_gate"])
@pytest.mark.parametrize("timed", [False, True])
def test_a_gate_closes_as_far_as_a_decay_with_its_effective_time(wiring, mode, timed):
    cell = make_cell(3, "cfc", units=8, wiring=wiring, mode=mode)
    layer = cell if wiring is None else cell.layers[0]
    seen, state = inputs(cell)
    own = state[:, : layer.hidden_size]
    time = torch.tensor([0.5, 3.0]) if timed else torch.ones(2)
    with torch.no_grad():  # heads of 0 and 1: the next state is the gate itself
        f, g = slice(layer.hidden_size), slice(layer.hidden_size, 2 * layer.hidden_size)
        for head, value in ((f, 0.0), (g, 1e3)):
            layer.weight_ih[head], layer.weight_hh[head], layer.bias[head] = 0.0, 0.0, value
        gate, _ = layer(seen, own, time if timed else None)
    tau = time_constants(cell, seen, state, time if timed else None)[:, : layer.hidden_size]
    torch.testing.assert_close(1 - gate, torch.exp(-time[:, None] / tau))


def test_a_wired_cfcs_layers_see_what_those_before_them_have_made():
    cell = make_cell(3, "cfc", units=8, wiring="ncp")
    seen, state = inputs(cell)
    tau = time_constants(cell, seen, state)
    sizes = cell.layer_sizes
    inter = cell(seen, state)[1][:, : sizes[0]]
    own = state[:, sizes[0] : sizes[0] + sizes[1]]
    torch.testing.assert_close(tau[:, sizes[0] : sizes[0] + sizes[1]], time_constants(cell.layers[1], inter, own))


def test_mixed_memory_and_a_backbone():
    mixed = make_cell(3, "cfc", units=8, mixed_memory=True)
    seen, state = inputs(mixed)
    written, _ = mixed.write(seen, state, None)
    torch.testing.assert_close(time_constants(mixed, seen, state), time_constants(mixed.cell, seen, written))
    deep = make_cell(3, "cfc", units=8, backbone_units=5)
    one = torch.ones(2)
    seen = inputs(deep)[0]
    torch.testing.assert_close(time_constants(deep, seen), time_constants(deep, seen, None, one))


def test_mistakes():
    class Other(LiquidCell):
        input_size, state_size = 3, 2

        def prepare(self, timed):
            """Nothing to prepare."""

        def step(self, prepared, inputs, state, timespans):
            raise NotImplementedError

    with pytest.raises(TypeError, match="defined for CfC, LTC and LRC cells, got Other"):
        time_constants(Other(), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="inputs"):
        time_constants(make_cell(3, "cfc", units=8), torch.zeros(1, 4))
