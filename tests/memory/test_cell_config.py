import numpy as np
import pytest
import torch
from gymnasium import spaces
from ncps.wirings import AutoNCP

from velora_sb3.cells import (
    CfCCell,
    GRUCell,
    LiquidCell,
    LRCCell,
    LSTMCell,
    LTCCell,
    MixedMemoryCell,
    WiredCfCCell,
    WiredLRCCell,
)
from velora_sb3.memory import LiquidExtractor, make_cell


@pytest.mark.parametrize(
    ("arguments", "kind", "output"),
    [
        ({}, CfCCell, 64),
        ({"units": 8}, CfCCell, 8),
        ({"wiring": "ncp"}, WiredCfCCell, 16),
        ({"wiring": "fully_connected", "units": 8}, WiredCfCCell, 8),
        ({"wiring": AutoNCP(12, 3)}, WiredCfCCell, 3),
        ({"cell": "ltc", "units": 8}, LTCCell, 8),
        ({"cell": "ltc", "wiring": "random", "units": 8}, LTCCell, 8),
        ({"cell": "lrc", "units": 8}, LRCCell, 8),
        ({"cell": "lrc", "wiring": "ncp"}, WiredLRCCell, 16),
        ({"cell": "gru", "units": 8}, GRUCell, 8),
        ({"cell": "lstm", "units": 8}, LSTMCell, 8),
        ({"cell": LRCCell, "units": 8}, LRCCell, 8),
        ({"cell": "velora_sb3.cells:LRCCell", "units": 8, "cell_kwargs": {"solver": "euler"}}, LRCCell, 8),
        ({"mixed_memory": True, "units": 8}, MixedMemoryCell, 8),
        ({"cell": "lrc", "mixed_memory": True, "units": 8}, MixedMemoryCell, 8),
    ],
)
def test_plain_arguments_choose_the_cell(arguments, kind, output):
    cell = make_cell(4, **arguments)
    assert type(cell) is kind
    assert (cell.input_size, cell.output_size) == (4, output)


def test_a_class_that_is_no_cell():
    with pytest.raises(TypeError, match="must be a subclass of velora_sb3.cells.LiquidCell, got <class 'int'>"):
        make_cell(4, cell=int)
    with pytest.raises(TypeError, match="must be a subclass of velora_sb3.cells.LiquidCell, got 'math:pi'"):
        make_cell(4, cell="math:pi")


def test_a_cell_without_widths_is_explained():
    class NoWidths(LiquidCell):
        def __init__(self, inputs, units):
            super().__init__()
            self.input_size = inputs

        prepare = step = None

    with pytest.raises(TypeError, match="NoWidths has no state_size, output_size: set them in its constructor"):
        make_cell(4, NoWidths)


def test_a_backbone_comes_only_when_asked_for():
    assert make_cell(4).backbone is None
    assert make_cell(4, backbone_units=32).backbone_layers == 1
    assert make_cell(4, backbone_layers=2).backbone_layers == 2


def test_the_same_live_wiring_serves_cells_of_different_inputs():
    wiring = AutoNCP(12, 3)
    assert make_cell(4, wiring=wiring).input_size == 4
    assert make_cell(5, wiring=wiring).input_size == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "rnn"}, "cell must be one of 'cfc', 'lrc', 'ltc', 'gru', 'lstm', 'package.module:Class', got 'rnn'"),
        ({"cell": "no_such.module:Cell"}, "'no_such.module:Cell' cannot be imported .No module named 'no_such'"),
        ({"cell": "velora_sb3.cells:Cell"}, "cannot be imported .module 'velora_sb3.cells' has no attribute 'Cell'"),
        ({"cell": "lrc", "solver": "rk4"}, "solver must be one of 'closed_form', 'euler'"),
        ({"solver": "euler"}, "solver='euler' needs cell='lrc': leave it out with cell='cfc'"),
        ({"cell": "gru", "mixed_memory": True}, "mixed_memory=True needs cell='cfc' or cell='lrc' or cell='ltc'"),
        ({"cell": "gru", "wiring": "ncp"}, "wiring='ncp' needs cell='cfc' or"),
        ({"cell_kwargs": {"a": 1}}, "cell_kwargs={'a': 1} needs a cell of your own"),
        ({"mode": "fast"}, "mode must be one of 'default', 'no_gate', 'pure'"),
        ({"cell": "ltc", "mode": "pure"}, "mode='pure' needs cell='cfc': leave it out with cell='ltc'"),
        ({"wiring": "ncp", "backbone_units": 32}, "backbone_units and backbone_layers need cell='cfc'"),
        ({"cell": "ltc", "backbone_layers": 1}, "backbone_layers=1 needs cell='cfc'"),
        ({"mixed_memory": "no"}, "mixed_memory must be True or False, got 'no'"),
        ({"sparsity_level": "a"}, "sparsity_level must be a finite number, got 'a'"),
        ({"cell": "lrc", "ode_unfolds": 12}, "ode_unfolds=12 needs cell='ltc': leave it out with cell='lrc'"),
        ({"sparsity_level": 0.9}, "sparsity_level=0.9 needs a wiring by name, such as wiring='ncp': leave it out"),
        ({"wiring": AutoNCP(16, 4), "wiring_seed": 3}, "wiring_seed=3 needs a wiring by name"),
        ({"wiring_seed": -1}, "wiring_seed must be an integer of at least 0, got -1"),
        ({"backbone_units": 0}, "backbone_units must be an integer of at least 1, got 0"),
        ({"ode_unfolds": 0}, "ode_unfolds must be an integer of at least 1, got 0"),
        ({"units": "64"}, "units must be an integer of at least 1, got '64'"),
        ({"wiring": "ncp", "units": 3}, "an NCP wiring needs at least 5 units"),
    ],
)
def test_arguments_that_do_not_go_together_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_cell(4, **arguments)


def test_numpy_numbers_are_taken():
    cell = make_cell(4, units=np.int64(8), backbone_layers=np.int32(1), sparsity_level=np.float32(0.5))
    assert (cell.state_size, cell.backbone_layers) == (8, 1)


def test_an_unknown_setting_is_named():
    with pytest.raises(TypeError, match="'wirring'"):
        make_cell(4, wirring="ncp")


def test_initialization_reaches_every_cfc():
    for arguments in ({}, {"wiring": "ncp"}, {"mixed_memory": True}, {"backbone_units": 8}):
        torch.manual_seed(0)
        as_ncps = make_cell(4, units=12, **arguments)
        torch.manual_seed(0)
        orthogonal = make_cell(4, units=12, initialization="orthogonal", **arguments)
        cells = [module for module in orthogonal.modules() if isinstance(module, CfCCell)]
        others = [module for module in as_ncps.modules() if isinstance(module, CfCCell)]
        for cell, other in zip(cells, others, strict=True):
            assert not torch.equal(cell.weight_hh, other.weight_hh)
            columns = cell.weight_hh[: cell.hidden_size]
            assert torch.linalg.matrix_rank(columns) == min(columns.shape)
            assert torch.linalg.svdvals(columns).max().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("settings", [{}, {"cell": "lrc"}, {"mode": "pure"}])
@pytest.mark.parametrize("inputs", [3, 30])
def test_orthogonal_inputs(settings, inputs):
    torch.manual_seed(0)
    cell = make_cell(inputs, units=12, initialization="orthogonal_inputs", **settings)
    for gate in cell.weight_ih.split(12):
        torch.testing.assert_close(torch.linalg.svdvals(gate), torch.full((min(inputs, 12),), 2.0))
    bound = (6 / (inputs + 24)) ** 0.5  # of ncps
    assert 0.9 * bound < cell.weight_hh.abs().max() <= bound


def test_an_extractor_that_goes_from_step_to_step_starts_orthogonal():
    space = spaces.Box(-1, 1, (3,))
    history = spaces.Box(-1, 1, (5, 3))

    def is_orthogonal(extractor):
        gate = extractor.cell.weight_hh[:8]
        return torch.allclose(gate @ gate.t(), torch.eye(8), atol=1e-4)

    assert not is_orthogonal(LiquidExtractor(space, units=8))
    assert is_orthogonal(LiquidExtractor(space, units=8, previous_action_size=2))
    assert is_orthogonal(LiquidExtractor(history, units=8))
    assert not is_orthogonal(LiquidExtractor(history, units=8, initialization="ncps"))


def test_numpy_s_numbers_and_booleans_are_taken():
    sizes = {"units": np.int64(8), "backbone_units": np.int32(4)}
    drawn = {**sizes, "mixed_memory": np.bool_(True), "mode": np.str_("no_gate")}
    expected = make_cell(3, **{name: value.item() for name, value in drawn.items()})
    assert [p.shape for p in make_cell(3, **drawn).parameters()] == [p.shape for p in expected.parameters()]
    seed = {"wiring": "ncp", "units": np.int64(12), "sparsity_level": np.float32(0.5), "wiring_seed": np.int64(1)}
    for settings in (drawn, seed, {**seed, "cell": "ltc", "ode_unfolds": np.int64(2)}):
        outputs, _ = make_cell(3, **settings)(torch.zeros(2, 3))
        assert len(outputs) == 2
