import ncps.torch
import pytest
import torch
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random, Wiring

from velora_sb3.cells.ltc_cell import LTCCell
from velora_sb3.cells.unroll import unroll

from .stepping import gradients, run_step_by_step

T, B, F = 6, 3, 4

pytestmark = pytest.mark.usefixtures("float64")

WIRINGS = {
    "AutoNCP": lambda: AutoNCP(12, 3),
    "NCP": lambda: NCP(6, 5, 2, 3, 2, 4, 3),
    "FullyConnected": lambda: FullyConnected(6, output_dim=2),
    "Random": lambda: Random(9, output_dim=4, sparsity_level=0.6),
}


def pair(wiring, **arguments):
    """An ncps cell with random mappings, and ours with its weights."""
    theirs = ncps.torch.LTCCell(wiring, F, implicit_param_constraints=True, **arguments)
    for name, parameter in theirs.named_parameters():
        if name.startswith(("input_", "output_")):
            parameter.data.normal_()
    ours = LTCCell(wiring, F, **arguments)
    ours.import_ncps(theirs)
    return theirs, ours


@pytest.mark.parametrize("kind", WIRINGS)
@pytest.mark.parametrize("mapping", ["affine", "linear", None])
def test_a_step_is_that_of_ncps(kind, mapping):
    theirs, ours = pair(WIRINGS[kind](), input_mapping=mapping, output_mapping=mapping)
    inputs, state = torch.randn(B, F), torch.randn(B, ours.state_size)
    for got, expected in zip(ours(inputs, state), theirs(inputs, state), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("unfolds", [1, 4])
@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_each_sequence_has_its_own_timespan(unfolds, epsilon):
    theirs, ours = pair(AutoNCP(12, 3), ode_unfolds=unfolds, epsilon=epsilon)
    inputs, state, timespans = torch.randn(B, F), torch.randn(B, 12), torch.tensor([0.01, 1.0, 30.0])
    outputs, following = ours(inputs, state, timespans)
    expected, expected_following = theirs(inputs, state, timespans.unsqueeze(-1))
    torch.testing.assert_close(outputs, expected, atol=1e-10, rtol=0)
    torch.testing.assert_close(following, expected_following, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", WIRINGS)
@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("given", [False, True], ids=["zero state", "given state"])
def test_the_kernel_is_the_steps(kind, timed, given):
    cell = LTCCell(WIRINGS[kind](), F)
    inputs = torch.randn(T, B, F, requires_grad=True)
    state = torch.randn(B, cell.state_size) if given else None
    starts = torch.rand(T, B) < 0.3
    timespans = torch.rand(T, B) if timed else None
    outputs, last = unroll(cell, inputs, state, episode_starts=starts, timespans=timespans)
    expected, expected_last = run_step_by_step(cell, inputs, state, starts, timespans)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, expected_last)
    torch.testing.assert_close(gradients(cell, inputs, outputs), gradients(cell, inputs, expected))


def test_a_reset_is_a_fresh_start_for_its_own_sequence_alone():
    cell = LTCCell(AutoNCP(12, 3), F)
    inputs, state, starts = torch.randn(T, B, F), torch.randn(B, 12), torch.zeros(T, B)
    starts[3, 1] = 1
    outputs, _ = unroll(cell, inputs, state, episode_starts=starts)
    fresh, _ = unroll(cell, inputs[3:])
    undisturbed, _ = unroll(cell, inputs, state)
    torch.testing.assert_close(outputs[3:, 1], fresh[:, 1])
    torch.testing.assert_close(outputs[:, [0, 2]], undisturbed[:, [0, 2]])


@pytest.mark.parametrize("steps", [1, T], ids=["step", "kernel"])
def test_no_time_leaves_the_state_as_it_is(steps):
    cell = LTCCell(AutoNCP(12, 3), F)
    inputs, state = torch.randn(steps, B, F, requires_grad=True), torch.randn(B, 12)
    timespans = torch.ones(steps, B)
    timespans[:, 1] = 0
    outputs, last = unroll(cell, inputs, state, timespans=timespans)
    assert torch.equal(last[1], state[1])
    found = [gradient for gradient in gradients(cell, inputs, outputs) if gradient is not None]
    assert all(gradient.isfinite().all() for gradient in found)
    assert not found[0][:, 1].any()
    assert found[0][:, 0].all()


@pytest.mark.parametrize("kind", WIRINGS)
def test_parameters_exist_for_the_synapses_alone(kind):
    cell = LTCCell(WIRINGS[kind](), F)
    synapses = cell.wiring.synapse_count + cell.wiring.sensory_synapse_count
    sizes = {name: parameter.numel() for name, parameter in cell.named_parameters()}
    assert all(sizes[name] == synapses for name in ("w", "sigma", "mu", "erev"))
    assert all(sizes[name] == cell.state_size for name in ("gleak", "vleak", "cm"))
    assert sum(sizes.values()) == 4 * synapses + 3 * cell.state_size + 2 * F + 2 * cell.output_size


def test_parameters_start_where_those_of_ncps_do():
    wiring = FullyConnected(40)
    ours, theirs = LTCCell(wiring, F), ncps.torch.LTCCell(wiring, F)
    for name, (low, high) in theirs._init_ranges.items():
        if not name.startswith("sensory"):
            values = getattr(ours, name)
            assert low <= values.min() < low + (high - low) / 4
            assert high - (high - low) / 4 < values.max() <= high
    assert set(ours.erev.tolist()) == {-1, 1}


def test_the_given_wiring_is_not_changed_and_serves_again():
    wiring = AutoNCP(12, 3)
    assert LTCCell(wiring, 4).input_size == 4
    assert LTCCell(wiring, 5).input_size == 5
    assert not wiring.is_built()


def test_a_wiring_that_is_built_is_taken_as_it_is():
    wiring = Random(9, sparsity_level=0.6)
    wiring.build(F)
    cell = LTCCell(wiring)
    assert (cell.wiring.sensory_adjacency_matrix == wiring.sensory_adjacency_matrix).all()


def test_units_without_synapses_leak_alone():
    wiring = Wiring(3)
    wiring.set_output_dim(2)
    cell = LTCCell(wiring, F)
    inputs = torch.randn(T, B, F, requires_grad=True)
    outputs, last = unroll(cell, inputs, torch.zeros(B, 3), timespans=torch.full((T, B), 1e3))
    torch.testing.assert_close(last, cell.vleak.detach().expand(B, 3), atol=1e-4, rtol=0)
    assert not gradients(cell, inputs, outputs)[0].any()


def test_weights_that_were_not_positive_are_clipped():
    wiring = AutoNCP(12, 3)
    theirs = ncps.torch.LTCCell(wiring, F, implicit_param_constraints=False)
    theirs.w.data -= 0.5
    ours = LTCCell(wiring, F)
    ours.import_ncps(theirs)
    theirs.apply_weight_constraints()
    inputs, state = torch.randn(B, F), torch.randn(B, 12)
    torch.testing.assert_close(ours(inputs, state), theirs(inputs, state), atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": None}, "no number of inputs: pass it here"),
        ({"input_mapping": "quadratic"}, "input_mapping must be one of"),
        ({"output_mapping": "quadratic"}, "output_mapping must be one of"),
        ({"ode_unfolds": 0}, "ode_unfolds must be an integer of at least 1, got 0"),
        ({"epsilon": -1.0}, "epsilon must be a finite number at least 0, got -1.0"),
        ({"wiring": Wiring(3)}, "no number of outputs"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LTCCell(**{"wiring": AutoNCP(12, 3), "in_features": F, **arguments})


def test_a_number_of_units_is_no_wiring():
    with pytest.raises(TypeError, match=r"must be an ncps.wirings.Wiring, got int"):
        LTCCell(12, F)


def test_wrong_widths_are_named():
    cell = LTCCell(AutoNCP(12, 3), F)
    with pytest.raises(ValueError, match="inputs must have 4 features"):
        cell(torch.zeros(B, F + 1))
    with pytest.raises(ValueError, match=r"state must have shape \(3, 12\), got \(3, 13\)"):
        cell(torch.zeros(B, F), torch.zeros(B, 13))
