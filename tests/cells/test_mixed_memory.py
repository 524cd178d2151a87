import torch
from ncps.wirings import AutoNCP

from velora_sb3.cells import CfCCell, MixedMemoryCell, WiredCfCCell, unroll


def test_the_state_is_one_tensor_of_hidden_and_memory():
    cell = MixedMemoryCell(CfCCell(4, 5, backbone_layers=0))
    outputs, state = cell(torch.randn(2, 4))
    assert state.shape == (2, 10)
    torch.testing.assert_close(state[:, :5], outputs)


def test_masks_are_applied_once_for_a_whole_sequence(monkeypatch):
    cell = MixedMemoryCell(WiredCfCCell(4, AutoNCP(12, 3)))
    calls = []
    for layer in cell.cell.layers:
        prepare = layer.prepare
        monkeypatch.setattr(layer, "prepare", lambda timed, prepare=prepare: calls.append(1) or prepare(timed))
    unroll(cell, torch.randn(9, 2, 4))
    assert len(calls) == len(cell.cell.layers)


def test_one_step_from_the_zero_state_skips_the_lstm_s_recurrent_product():
    cell = MixedMemoryCell(CfCCell(4, 5, backbone_layers=0))
    inputs = torch.randn(2, 4)
    expected, _ = cell(inputs, torch.zeros(2, 10))
    cell.weight_hh.data.fill_(float("nan"))
    torch.testing.assert_close(cell(inputs)[0], expected)


def test_timed_the_lstm_sees_the_time():
    inputs, state = torch.randn(2, 4), torch.randn(2, 10)
    for timed in (False, True):
        cell = MixedMemoryCell(CfCCell(4, 5, backbone_layers=0), timed)
        assert cell.weight_ih.shape == (20, 4 + timed)
        memories = [cell(inputs, state, torch.full((2,), time))[1][:, 5:] for time in (1.0, 3.0)]
        assert torch.equal(*memories) != timed
        assert torch.equal(cell(inputs, state)[1][:, 5:], memories[0])  # None is 1
