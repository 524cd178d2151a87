import pytest
import torch

from velora_sb3.cells import CfCCell


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
def test_one_step_from_the_zero_state_does_not_touch_the_recurrent_weights(mode):
    cell = CfCCell(4, 5, mode, backbone_layers=0)
    inputs = torch.randn(3, 4)
    expected, _ = cell(inputs, torch.zeros(3, 5))
    cell.weight_hh.data.fill_(float("nan"))  # any product with them would show
    outputs, state = cell(inputs)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(state, outputs)
    outputs.sum().backward()
    assert cell.weight_hh.grad is None


def test_default_mode_blends_two_heads_by_a_gate_that_time_drives():
    cell = CfCCell(1, 1, backbone_layers=0)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor([[0.3], [-0.7], [2.0]]))
        cell.slope_ih.fill_(0.5)
        cell.bias.zero_()
        cell.slope_bias.zero_()
    inputs, t = torch.tensor([[1.0]]), torch.tensor([0.4])
    gate = torch.sigmoid(0.5 * t + 1.5)  # a = 0.5, b = 1.5: together the 2.0 after one time unit
    expected = torch.tanh(torch.tensor(0.3)) * (1 - gate) + torch.tanh(torch.tensor(-0.7)) * gate
    torch.testing.assert_close(cell(inputs, timespans=t)[0][0], expected)


def test_without_timespans_the_gate_s_slope_takes_no_part():
    cell = CfCCell(4, 5, backbone_layers=0)
    slopes = [parameter for name, parameter in cell.named_parameters() if name.startswith("slope")]
    assert len(slopes) == 3
    inputs, state = torch.randn(3, 4), torch.randn(3, 5)
    expected, _ = cell(inputs, state, torch.ones(3))
    for slope in slopes:
        slope.data.fill_(float("nan"))
    torch.testing.assert_close(cell(inputs, state)[0], expected)


def test_a_mask_is_a_buffer_and_cuts_the_heads_but_not_the_gate():
    mask = torch.ones(4 + 5, 5)
    mask[0] = 0  # the first input must not reach the heads
    cell = CfCCell(4, 5, backbone_layers=0, sparsity_mask=mask)
    assert "mask" in dict(cell.named_buffers())
    weights = cell.prepare(timed=True).inputs  # f, g, s, a
    assert torch.all(weights[:10, 0] == 0)
    assert torch.all(weights[10:, 0] != 0)


def test_dropout_acts_in_training_alone():
    cell = CfCCell(4, 5, backbone_units=8, backbone_layers=2, backbone_dropout=0.5)
    inputs = torch.randn(3, 4)
    assert not torch.equal(cell(inputs)[0], cell(inputs)[0])
    cell.eval()
    torch.testing.assert_close(cell(inputs)[0], cell(inputs)[0], atol=0, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fast"}, "mode must be one of 'default', 'no_gate', 'pure'"),
        ({"backbone_activation": "swish"}, "backbone_activation must be one of 'lecun_tanh'"),
        ({"hidden_size": 0}, "hidden_size must be an integer of at least 1, got 0"),
        ({"input_size": 2.5}, "input_size must be an integer of at least 1, got 2.5"),
        ({"backbone_layers": -1}, "backbone_layers must be an integer of at least 0, got -1"),
        ({"backbone_dropout": 1.0}, "backbone_dropout must be a finite number at least 0 and below 1, got 1.0"),
        ({"sparsity_mask": torch.ones(9, 5)}, "sparsity_mask needs backbone_layers=0"),
        ({"backbone_layers": 0, "sparsity_mask": torch.ones(5, 9)}, r"shape \(9, 5\), got \(5, 9\)"),
    ],
)
def test_wrong_arguments_are_named_with_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        CfCCell(**{"input_size": 4, "hidden_size": 5, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 2, 4),), "2 dimensions"),
        ((torch.zeros(3, 2),), "4 features"),
        ((torch.zeros(3, 4), torch.zeros(2, 5)), r"state must have shape \(3, 5\)"),
        ((torch.zeros(3, 4), None, torch.ones(3, 1)), r"timespans must have shape \(3,\), got \(3, 1\)"),
        ((torch.zeros(3, 4), None, -torch.ones(3)), "not negative"),
    ],
)
def test_a_step_names_what_is_wrong_with_its_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        CfCCell(4, 5)(*arguments)


@pytest.mark.parametrize("mode", ["default", "pure"])
def test_orthogonal_initialization(mode):
    cell = CfCCell(4, 16, mode, backbone_layers=0)
    cell.reset_parameters("orthogonal")
    weights = [cell.weight_hh, cell.slope_hh] if mode == "default" else [cell.weight_hh]
    for gate in torch.cat(weights).split(16):
        torch.testing.assert_close(gate @ gate.t(), torch.eye(16), atol=1e-5, rtol=0)
    bound = 4**-0.5
    assert bound * 0.9 < cell.weight_ih.abs().max() <= bound
    assert cell.bias.abs().max() <= bound


def test_an_unknown_initialization():
    with pytest.raises(ValueError, match="initialization"):
        CfCCell(4, 16).reset_parameters("xavier")
