import ncps.torch
import pytest
import torch
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random

from velora_sb3.cells.ltc import LTC

B, T, F = 3, 6, 4

pytestmark = pytest.mark.usefixtures("float64")

KINDS = {
    "units": lambda: 5,
    "AutoNCP": lambda: AutoNCP(12, 3),
    "NCP": lambda: NCP(6, 5, 2, 3, 2, 4, 3),
    "FullyConnected": lambda: FullyConnected(6, output_dim=2),
    "Random": lambda: Random(6, sparsity_level=0.4),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mixed_memory", [False, True], ids=["", "mixed"])
@pytest.mark.parametrize("implicit", [False, True], ids=["clipped", "softplus"])
def test_the_numbers_are_those_of_ncps(kind, mixed_memory, implicit):
    theirs = ncps.torch.LTC(F, KINDS[kind](), mixed_memory=mixed_memory, implicit_param_constraints=implicit)
    ours = LTC.from_ncps(theirs)
    inputs, timespans = torch.randn(B, T, F), torch.rand(B, T) + 0.1
    zeros = torch.zeros(B, theirs.state_size)

    expected, expected_state = theirs(inputs, (zeros, zeros) if mixed_memory else zeros)
    outputs, state = ours(inputs)
    torch.testing.assert_close(outputs, expected, atol=1e-10, rtol=0)
    if mixed_memory:
        expected_state = torch.cat(expected_state, dim=-1)
    torch.testing.assert_close(state, expected_state, atol=1e-10, rtol=0)

    timed, _ = ours(inputs, timespans=timespans)
    for sequence in range(B):  # ncps mixes up the batch's timespans: one sequence at a time is right
        alone, _ = theirs(inputs[sequence : sequence + 1], timespans=timespans[sequence : sequence + 1])
        torch.testing.assert_close(timed[sequence : sequence + 1], alone, atol=1e-10, rtol=0)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_settings_are_imported(batch_first, return_sequences):
    theirs = ncps.torch.LTC(
        F,
        AutoNCP(12, 3),
        return_sequences=return_sequences,
        batch_first=batch_first,
        input_mapping="linear",
        output_mapping=None,
        ode_unfolds=3,
        epsilon=0.1,
    )
    inputs = torch.randn(*((B, T, F) if batch_first else (T, B, F)))
    torch.testing.assert_close(LTC.from_ncps(theirs)(inputs), theirs(inputs), atol=1e-10, rtol=0)


def test_gradients_are_those_of_ncps():
    theirs = ncps.torch.LTC(F, AutoNCP(12, 3))
    ours = LTC.from_ncps(theirs)
    inputs = torch.randn(B, T, F)
    for network in (theirs, ours):
        network(inputs)[0].square().sum().backward()
    recurrent = theirs._wiring.adjacency_matrix != 0
    sensory = theirs._wiring.sensory_adjacency_matrix != 0
    cell = theirs.rnn_cell
    for name in ("w", "sigma", "mu", "erev"):
        expected = torch.cat([getattr(cell, name).grad[recurrent], getattr(cell, f"sensory_{name}").grad[sensory]])
        torch.testing.assert_close(getattr(ours.cell, name).grad, expected)
    for name in ("gleak", "vleak", "cm", "input_w", "input_b", "output_w", "output_b"):
        torch.testing.assert_close(getattr(ours.cell, name).grad, getattr(cell, name).grad)


def test_a_reset_is_a_fresh_start_in_batch_first_layout():
    network = LTC(F, AutoNCP(12, 3), mixed_memory=True)
    inputs, starts = torch.randn(B, T, F), torch.zeros(B, T)
    starts[2, 3] = 1
    torch.testing.assert_close(network(inputs, episode_starts=starts)[0][2, 3:], network(inputs[2, 3:])[0])


def test_the_imported_network_keeps_dtype_and_trains():
    ours = LTC.from_ncps(ncps.torch.LTC(F, AutoNCP(12, 3)).float())
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    ours(torch.randn(B, T, F, dtype=torch.float32))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())


def test_saved_weights_can_be_loaded():
    saved, loaded = LTC(F, AutoNCP(12, 3)), LTC(F, AutoNCP(12, 3))
    loaded.load_state_dict(saved.state_dict())
    inputs = torch.randn(B, T, F)
    assert torch.equal(loaded(inputs)[0], saved(inputs)[0])


@pytest.mark.parametrize("arguments", [{"input_size": 0, "units": 5}, {"input_size": F, "units": 0}])
def test_sizes_are_at_least_one(arguments):
    with pytest.raises(ValueError, match="must be an integer of at least 1, got 0"):
        LTC(**arguments)


def test_only_ncps_networks_can_be_imported():
    with pytest.raises(TypeError, match=r"expected an ncps.torch.ltc.LTC, got torch.nn.modules.rnn.LSTM"):
        LTC.from_ncps(torch.nn.LSTM(2, 3))
