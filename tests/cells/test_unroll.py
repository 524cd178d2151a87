from functools import partial

import pytest
import torch
from ncps.wirings import AutoNCP
from torch.nn.utils import prune, spectral_norm
from torch.nn.utils.rnn import pack_sequence

from tests.cells.stepping import gradients, run_step_by_step
from velora_sb3.cells import (
    CfC,
    CfCCell,
    GRUCell,
    LRCCell,
    LSTMCell,
    LTCCell,
    MixedMemoryCell,
    WiredCfCCell,
    WiredLRCCell,
    unroll,
    unroll_states,
)

T, B, F = 7, 3, 4

CELLS = {
    "cfc default": lambda: CfCCell(F, 5, backbone_layers=0),
    "cfc no_gate": lambda: CfCCell(F, 5, "no_gate", backbone_layers=0),
    "cfc pure": lambda: CfCCell(F, 5, "pure", backbone_layers=0),
    "cfc with backbone": lambda: CfCCell(F, 5, backbone_units=6, backbone_layers=2),
    "wired cfc": lambda: WiredCfCCell(F, AutoNCP(12, 3)),
    "ltc": lambda: LTCCell(AutoNCP(12, 3), F),
    "ltc without mappings": lambda: LTCCell(AutoNCP(12, 3), F, None, None),
    "lrc": lambda: LRCCell(F, 5),
    "wired lrc": lambda: WiredLRCCell(F, AutoNCP(12, 3)),
    "gru": lambda: GRUCell(F, 5, timed=True),
    "lstm": lambda: LSTMCell(F, 5, timed=True),
    "mixed memory": lambda: MixedMemoryCell(CfCCell(F, 5, backbone_layers=0)),
    "mixed memory, timed": lambda: MixedMemoryCell(CfCCell(F, 5, backbone_layers=0), timed=True),
    "mixed memory, wired": lambda: MixedMemoryCell(WiredCfCCell(F, AutoNCP(12, 3)), timed=True),
}

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(params=CELLS)
def cell(request):
    cell = CELLS[request.param]()
    for parameter in cell.parameters():  # away from special values such as pure mode's w_tau = 0
        parameter.data += 0.1 * torch.rand_like(parameter)
    return cell


@pytest.mark.parametrize("timed", [False, True], ids=["regular", "timespans"])
@pytest.mark.parametrize("resets", [False, True], ids=["one episode", "resets"])
def test_unroll_equals_stepping(cell, timed, resets):
    inputs = torch.randn(T, B, F, requires_grad=True)
    state = torch.randn(B, cell.state_size)
    timespans = torch.rand(T, B) + 0.1 if timed else None
    starts = torch.rand(T, B) < 0.3 if resets else None

    outputs, last = unroll(cell, inputs, state, episode_starts=starts, timespans=timespans)
    expected, expected_last = run_step_by_step(cell, inputs, state, starts, timespans)

    torch.testing.assert_close(outputs, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(last, expected_last, atol=1e-12, rtol=0)
    for ours, theirs in zip(gradients(cell, inputs, outputs), gradients(cell, inputs, expected), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_nan_ends_with_its_episode(cell):
    inputs = torch.randn(T, B, F, requires_grad=True)
    state = torch.full((B, cell.state_size), float("nan"))
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0], starts[4, 1] = True, True
    expected, _ = unroll(cell, inputs, episode_starts=starts)
    outputs, _ = unroll(cell, inputs, state, episode_starts=starts)  # a state that is NaN, and reset at once
    torch.testing.assert_close(outputs, expected)
    for ours, theirs in zip(gradients(cell, inputs, outputs), gradients(cell, inputs, expected), strict=True):
        torch.testing.assert_close(ours, theirs)

    broken = inputs.detach().clone()
    broken[2, 1] = float("nan")
    outputs, _ = unroll(cell, broken, episode_starts=starts)
    assert outputs[2:4, 1].isnan().any(-1).all()
    torch.testing.assert_close(outputs[4:], expected[4:])
    torch.testing.assert_close(outputs[:, [0, 2]], expected[:, [0, 2]])
    _, states = unroll_states(cell, broken, episode_starts=starts)
    assert states[4:].isfinite().all()
    last, _ = unroll(cell, torch.randn(1, B, F), state, episode_starts=torch.ones(1, B))  # a single step
    assert last.isfinite().all()


def test_a_gradient_that_is_nan_ends_with_its_episode(cell):
    inputs, starts = torch.randn(T, B, F), torch.zeros(T, B, dtype=torch.bool)
    starts[4, 1] = True
    state = torch.randn(B, cell.state_size)
    clean, _ = unroll(cell, inputs.requires_grad_(), state.requires_grad_(), episode_starts=starts)
    expected = torch.autograd.grad(clean[:, [0, 2]].sum() + clean[:4, 1].sum(), [inputs, state])
    broken = inputs.detach().clone()
    broken[5, 1] = float("nan")
    outputs, _ = unroll(cell, broken.requires_grad_(), state, episode_starts=starts)
    by_inputs, by_state = torch.autograd.grad(outputs.sum(), [broken, state])
    torch.testing.assert_close(by_inputs[:, [0, 2]], expected[0][:, [0, 2]])
    torch.testing.assert_close(by_inputs[:4, 1], expected[0][:4, 1])
    torch.testing.assert_close(by_state, expected[1])


def test_a_reset_in_mid_sequence_is_a_fresh_start_for_that_sequence_alone(cell):
    inputs, state = torch.randn(T, B, F), torch.randn(B, cell.state_size)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[4, 1] = True

    outputs, last = unroll(cell, inputs, state, episode_starts=starts)
    untouched, _ = unroll(cell, inputs, state)
    fresh, fresh_last = unroll(cell, inputs[4:, 1:2])

    torch.testing.assert_close(outputs[4:, 1:2], fresh)
    torch.testing.assert_close(last[1:2], fresh_last)
    torch.testing.assert_close(outputs[:, [0, 2]], untouched[:, [0, 2]])
    torch.testing.assert_close(outputs[:4], untouched[:4])
    assert not torch.allclose(outputs[4:, 1], untouched[4:, 1])


def test_no_state_is_the_zero_state(cell):
    inputs = torch.randn(T, B, F)
    for steps in (1, T):
        outputs, last = unroll(cell, inputs[:steps])
        expected, expected_last = unroll(cell, inputs[:steps], torch.zeros(B, cell.state_size))
        torch.testing.assert_close(outputs, expected)
        torch.testing.assert_close(last, expected_last)


def test_two_halves_give_what_the_whole_gives(cell):
    inputs = torch.randn(T, B, F)
    whole, last = unroll(cell, inputs)
    first, state = unroll(cell, inputs[:3])
    second, state = unroll(cell, inputs[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, last)


def test_second_derivatives_through_a_carried_state_are_those_of_the_whole_sequence(cell):
    inputs, used = torch.randn(T, B, F), list(cell.parameters())

    def derivatives(*windows):
        state, loss = None, 0.0
        for window in windows:
            outputs, state = unroll(cell, window, state)
            loss = loss + outputs.square().sum()
        first = torch.autograd.grad(loss, used, create_graph=True, allow_unused=True)
        squares = sum(gradient.square().sum() for gradient in first if gradient is not None)
        return [*first, *torch.autograd.grad(squares, used, allow_unused=True)]

    for ours, expected in zip(derivatives(inputs[:2], inputs[2:4], inputs[4:]), derivatives(inputs), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("change", [partial(prune.l1_unstructured, amount=0.5), spectral_norm], ids=["pruned", "norm"])
def test_weights_that_torch_derives_from_others_follow_them(cell, change):
    """torch computes them anew where a module is called; a sequence is no such call."""
    named = [(module, name) for module in cell.modules() for name, _ in module.named_parameters(recurse=False)]
    for module, name in named:
        if change is not spectral_norm or getattr(module, name).dim() == 2:
            change(module, name)
    inputs = torch.randn(T, B, F)
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    for _ in range(3):
        before, _ = unroll(cell.eval(), inputs)
        optimizer.zero_grad()
        before.square().mean().backward()
        optimizer.step()
    outputs, _ = unroll(cell, inputs)
    expected, _ = run_step_by_step(cell, inputs)
    assert not torch.equal(outputs, before)
    torch.testing.assert_close(outputs, expected)


def test_timespans_matter_and_one_is_the_default(cell):
    inputs, state = torch.randn(T, B, F), torch.randn(B, cell.state_size)
    outputs, _ = unroll(cell, inputs, state)
    torch.testing.assert_close(unroll(cell, inputs, state, timespans=torch.ones(T, B))[0], outputs)
    assert not torch.allclose(unroll(cell, inputs, state, timespans=torch.full((T, B), 0.3))[0], outputs)


def test_integers_and_booleans_as_inputs_count_as_floats(cell):
    one_hot = torch.nn.functional.one_hot(torch.randint(F, (T, B)), F)
    expected, _ = unroll(cell, one_hot.to(torch.get_default_dtype()))
    for inputs in (one_hot, one_hot.bool()):
        torch.testing.assert_close(unroll(cell, inputs)[0], expected)
        torch.testing.assert_close(cell(inputs[0])[0], expected[0])


def test_timespans_belong_to_their_own_sequence_where_batch_equals_units():
    # ncps broadcasts (B,) against (B, H): silently wrong for B == H.
    cell = CfCCell(F, B, backbone_layers=0)
    inputs, timespans = torch.randn(T, B, F), torch.rand(T, B)
    outputs, _ = unroll(cell, inputs, timespans=timespans)
    for sequence in range(B):
        alone = slice(sequence, sequence + 1)
        torch.testing.assert_close(outputs[:, alone], unroll(cell, inputs[:, alone], timespans=timespans[:, alone])[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": torch.zeros(B, F)}, r"3 dimensions \(time, batch, features\), got shape \(3, 4\)"),
        ({"inputs": torch.zeros(T, B, F + 1)}, "4 features in the last dimension"),
        ({"inputs": torch.zeros(0, B, F)}, "at least one time step"),
        ({"state": torch.zeros(B, 3)}, r"state must have shape \(3, 5\), got \(3, 3\)"),
        ({"timespans": torch.ones(T)}, r"timespans must have shape \(7, 3\), got \(7,\)"),
        ({"timespans": torch.ones(T, B, 1)}, r"timespans must have shape \(7, 3\)"),
        ({"timespans": torch.full((T, B), -1.0)}, "finite and not negative, got values from -1.0 to -1.0"),
        ({"timespans": torch.full((T, B), float("nan"))}, "finite and not negative"),
        ({"timespans": torch.full((T, B), float("inf"))}, "finite and not negative"),
        ({"episode_starts": torch.ones(B, T)}, r"episode_starts must have shape \(7, 3\), got \(3, 7\)"),
    ],
)
def test_wrong_shapes_and_values_are_named(arguments, message):
    cell = CfCCell(F, 5, backbone_layers=0)
    with pytest.raises(ValueError, match=message):
        unroll(cell, **{"inputs": torch.zeros(T, B, F), **arguments})


@pytest.mark.parametrize("kind", [CfCCell, LSTMCell])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_a_state_of_another_type_is_refused(kind, dtype):
    cell = kind(F, 5).float()
    inputs, state = torch.zeros(T, B, F, dtype=torch.float32), torch.ones(B, cell.state_size, dtype=dtype)
    for run in (unroll, unroll_states, lambda cell, inputs, state: cell(inputs[0], state)):
        with pytest.raises(TypeError, match=f"type of the inputs, torch.float32, got {dtype}"):
            run(cell, inputs, state)


def test_a_tuple_as_state_is_told_how_mixed_memory_is_laid_out():
    cell = MixedMemoryCell(CfCCell(F, 5, backbone_layers=0))
    with pytest.raises(TypeError, match=r"one tensor of shape \(3, 10\), got tuple.*torch.cat"):
        unroll(cell, torch.zeros(T, B, F), (torch.zeros(B, 5), torch.zeros(B, 5)))


@pytest.mark.parametrize("name", ["inputs", "timespans", "episode_starts"])
def test_what_is_no_tensor_is_named(name):
    cell = CfCCell(F, 5, backbone_layers=0)
    arguments = {"inputs": torch.zeros(T, B, F), name: torch.zeros(T, B).tolist()}
    with pytest.raises(TypeError, match=f"{name} must be a tensor, got list: convert it with torch.as_tensor"):
        unroll(cell, **arguments)


def test_a_packed_sequence_is_told_how_to_become_a_tensor():
    packed = pack_sequence([torch.zeros(3, F), torch.zeros(2, F)])
    with pytest.raises(TypeError, match="got PackedSequence: convert it with torch.nn.utils.rnn.pad_packed_sequence"):
        CfC(F, 5)(packed)
