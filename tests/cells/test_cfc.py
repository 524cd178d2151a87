import ncps.torch
import pytest
import torch
from ncps.wirings import NCP, AutoNCP, FullyConnected, Random

from velora_sb3.cells import LTC, CfC

B, T, F = 3, 6, 4

pytestmark = pytest.mark.usefixtures("float64")

KINDS = {
    "dense": (5, {"backbone_layers": 0, "backbone_units": 0}),
    "backbone": (5, {}),
    "deep backbone": (5, {"backbone_layers": 3, "backbone_units": 7, "activation": "gelu"}),
    "AutoNCP": (lambda: AutoNCP(12, 3), {}),
    "NCP": (lambda: NCP(6, 5, 2, 3, 2, 4, 3), {}),
    "FullyConnected": (lambda: FullyConnected(6), {}),
    "Random": (lambda: Random(6, sparsity_level=0.4), {}),
}


def pair(kind, mode="default", mixed_memory=False, **more):
    """An ncps network with random parameters, and ours with its weights."""
    units, arguments = KINDS[kind]
    units = units() if callable(units) else units
    theirs = ncps.torch.CfC(F, units, mode=mode, mixed_memory=mixed_memory, **arguments, **more)
    for name, parameter in theirs.named_parameters():
        if (parameter.requires_grad and parameter.dim() != 2) or "w_tau" in name or name.endswith("A"):
            parameter.data.normal_()
    return theirs, CfC.from_ncps(theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
@pytest.mark.parametrize("mixed_memory", [False, True], ids=["", "mixed"])
def test_the_numbers_are_those_of_ncps(kind, mode, mixed_memory):
    theirs, ours = pair(kind, mode, mixed_memory)
    inputs, timespans = torch.randn(B, T, F), torch.rand(B, T) + 0.1

    expected, expected_state = theirs(inputs)
    outputs, state = ours(inputs)
    torch.testing.assert_close(outputs, expected, atol=1e-10, rtol=0)
    if mixed_memory:
        expected_state = torch.cat(expected_state, dim=-1)
    torch.testing.assert_close(state, expected_state, atol=1e-10, rtol=0)

    timed, _ = ours(inputs, timespans=timespans)
    for sequence in range(B):  # ncps mixes up the batch's timespans: one sequence at a time is right
        alone, _ = theirs(inputs[sequence : sequence + 1], timespans=timespans[sequence : sequence + 1])
        torch.testing.assert_close(timed[sequence : sequence + 1], alone, atol=1e-10, rtol=0)


@pytest.mark.parametrize("activation", ["lecun_tanh", "relu", "silu", "tanh", "gelu"])
def test_every_backbone_activation_is_that_of_ncps(activation):
    theirs = ncps.torch.CfC(F, 5, activation=activation, backbone_units=8)
    inputs = torch.randn(B, T, F)
    torch.testing.assert_close(CfC.from_ncps(theirs)(inputs)[0], theirs(inputs)[0], atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", [ncps.torch.CfC, ncps.torch.LTC])
def test_a_frozen_network_is_imported(kind):
    theirs = kind(F, AutoNCP(12, 3), mixed_memory=True).requires_grad_(False)
    ours = {ncps.torch.CfC: CfC, ncps.torch.LTC: LTC}[kind].from_ncps(theirs)
    inputs = torch.randn(B, T, F)
    torch.testing.assert_close(ours(inputs)[0], theirs(inputs)[0], atol=1e-10, rtol=0)


def test_backbone_dropout_is_imported():
    theirs = ncps.torch.CfC(F, 5, backbone_layers=2, backbone_dropout=0.3)
    dropouts = [part.p for part in CfC.from_ncps(theirs).modules() if isinstance(part, torch.nn.Dropout)]
    assert dropouts == [0.3]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("proj_size", [None, 2])
def test_layouts_are_those_of_ncps(batch_first, return_sequences, proj_size):
    theirs, ours = pair("dense", batch_first=batch_first, return_sequences=return_sequences, proj_size=proj_size)
    inputs = torch.randn(*((B, T, F) if batch_first else (T, B, F)))
    torch.testing.assert_close(ours(inputs)[0], theirs(inputs)[0])
    torch.testing.assert_close(ours(inputs)[1], theirs(inputs)[1])


@pytest.mark.parametrize("return_sequences", [True, False])
def test_one_sequence_without_a_batch_dimension(return_sequences):
    theirs, ours = pair("dense", return_sequences=return_sequences)
    inputs, state, timespans = torch.randn(T, F), torch.randn(5), torch.rand(T)
    outputs, last = ours(inputs, state)
    expected, expected_last = theirs(inputs, state)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, expected_last)
    torch.testing.assert_close(ours(inputs, state, timespans)[0], theirs(inputs, state, timespans)[0])


def test_timespans_and_episode_starts_may_carry_a_last_dimension_of_one():
    network = CfC(F, 5)
    inputs, timespans, starts = torch.randn(B, T, F), torch.rand(B, T), torch.rand(B, T) < 0.3
    flat, _ = network(inputs, timespans=timespans, episode_starts=starts)
    deep, _ = network(inputs, timespans=timespans.unsqueeze(-1), episode_starts=starts.unsqueeze(-1))
    torch.testing.assert_close(flat, deep)


def test_a_reset_is_a_fresh_start_in_batch_first_layout():
    network = CfC(F, 5)
    inputs, starts = torch.randn(B, T, F), torch.zeros(B, T)
    starts[2, 3] = 1
    torch.testing.assert_close(network(inputs, episode_starts=starts)[0][2, 3:], network(inputs[2, 3:])[0])


def test_the_imported_network_keeps_dtype_and_trains():
    theirs = ncps.torch.CfC(F, AutoNCP(12, 3)).float()
    ours = CfC.from_ncps(theirs)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    ours(torch.randn(B, T, F, dtype=torch.float32), timespans=torch.rand(B, T))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())


@pytest.mark.parametrize("argument", ["backbone_units", "backbone_layers", "backbone_dropout"])
def test_a_wired_network_has_no_backbone(argument):
    with pytest.raises(ValueError, match=f"a wired CfC has no backbone: leave out {argument}"):
        CfC(F, AutoNCP(12, 3), **{argument: 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": torch.zeros(F)}, "2 dimensions .* or 3 with a batch"),
        ({"timespans": torch.ones(T, B)}, r"timespans must have shape \(3, 6\), got \(6, 3\)"),
        ({"episode_starts": torch.ones(T, B)}, r"episode_starts must have shape \(3, 6\), got \(6, 3\)"),
    ],
)
def test_wrong_shapes_are_named_in_the_user_s_layout(arguments, message):
    with pytest.raises(ValueError, match=message):
        CfC(F, 5)(**{"inputs": torch.zeros(B, T, F), **arguments})


def test_only_ncps_networks_can_be_imported():
    with pytest.raises(TypeError, match="expected an ncps.torch.cfc.CfC, got torch.nn.modules.rnn.LSTM"):
        CfC.from_ncps(torch.nn.LSTM(2, 3))


@pytest.mark.parametrize("name", ["inputs", "timespans", "episode_starts"])
def test_what_is_no_tensor_is_named(name):
    arguments = {"inputs": torch.zeros(2, 4, 3), name: [1.0] * 4}
    with pytest.raises(TypeError, match=f"{name} must be a tensor, got list"):
        CfC(3, 8)(**arguments)


def test_a_tuple_as_state_of_a_single_sequence_is_named():
    with pytest.raises(TypeError, match="one tensor of shape"):
        CfC(3, 8)(torch.zeros(4, 3), (torch.zeros(8), torch.zeros(8)))
