import numpy as np
import pytest
import torch
from ncps.wirings import AutoNCP, Random

from velora_sb3.cells import WiredCfCCell, unroll


def test_one_wiring_serves_networks_of_different_inputs_and_is_left_alone():
    wiring = AutoNCP(12, 3)
    before = wiring.adjacency_matrix.copy()
    for inputs in (4, 7):
        assert WiredCfCCell(inputs, wiring).input_size == inputs
    assert not wiring.is_built()
    assert np.array_equal(wiring.adjacency_matrix, before)


def test_a_built_wiring_is_taken_as_it_is():
    wiring = AutoNCP(12, 3)
    wiring.build(4)
    ours = WiredCfCCell(4, wiring).wiring
    assert np.array_equal(ours.adjacency_matrix, wiring.adjacency_matrix)
    assert np.array_equal(ours.sensory_adjacency_matrix, wiring.sensory_adjacency_matrix)
    assert WiredCfCCell(None, wiring).input_size == 4


def test_the_output_is_the_motor_neurons():
    cell = WiredCfCCell(4, AutoNCP(12, 3))
    outputs, state = cell(torch.randn(2, 4))
    assert outputs.shape == (2, 3)
    assert state.shape == (2, 12)
    torch.testing.assert_close(outputs, state[:, -3:])


def test_an_input_without_synapses_to_a_neuron_does_not_move_its_heads():
    cell = WiredCfCCell(4, Random(6, sparsity_level=0.5))
    absent = torch.as_tensor(cell.wiring.sensory_adjacency_matrix.T == 0)
    heads = cell.layers[0].prepare(timed=False).inputs[:12]
    assert absent.any()
    assert torch.all(heads[torch.cat([absent, absent])] == 0)


def test_masked_weights_get_no_gradient():
    cell = WiredCfCCell(4, AutoNCP(12, 3))
    unroll(cell, torch.randn(5, 2, 4))[0].sum().backward()
    for layer in cell.layers:
        masked = layer.mask[:, : layer.input_size] == 0
        assert masked.any()
        assert torch.all(layer.weight_ih.grad[masked] == 0)


def test_masks_are_buffers_not_parameters():
    cell = WiredCfCCell(4, AutoNCP(12, 3))
    assert not any("mask" in name for name, _ in cell.named_parameters())
    assert sum("mask" in name for name, _ in cell.named_buffers()) == 3


def test_a_wiring_that_does_not_fit_is_refused():
    wiring = AutoNCP(12, 3)
    with pytest.raises(ValueError, match="no number of inputs: pass it here"):
        WiredCfCCell(None, wiring)
    wiring.build(4)
    with pytest.raises(ValueError, match="built for 4 inputs, got 5"):
        WiredCfCCell(5, wiring)
    with pytest.raises(TypeError, match="must be an ncps.wirings.Wiring, got str"):
        WiredCfCCell(4, "ncp")
