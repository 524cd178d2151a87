"""Every cell, and one of the user's own, in every algorithm: learn, act, save and load."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO, CrossQ, RecurrentPPO
from stable_baselines3 import PPO, SAC
from torch import nn

from tests.algorithms.recurrent import ALGORITHMS as RECURRENT
from tests.algorithms.recurrent import DISCRETE_ACTIONS
from tests.algorithms.recurrent import make_model as make_recurrent_model
from tests.compat.algorithms import (
    ACTIONS,
    ALGORITHMS,
    BOX,
    DISCRETE,
    OBSERVATIONS,
    RandomEnv,
    make_model,
    parameters,
    train,
)
from velora_sb3 import RecurrentDQN, RecurrentMaskablePPO, RecurrentSAC, load_checkpoint, save_checkpoint
from velora_sb3.cells import GRUCell, LiquidCell, LRCCell, LSTMCell
from velora_sb3.checkpoints import CheckpointError


class LeakyCell(LiquidCell):
    """Units that follow a target, each with a time constant of its own."""

    def __init__(self, input_size, units, slowest=20.0):
        super().__init__()
        self.input_size, self.state_size, self.output_size = input_size, units, units
        self.drive = nn.Linear(input_size + units, units)
        self.log_tau = nn.Parameter(torch.linspace(0, math.log(slowest), units))

    def prepare(self, timed):
        return self.log_tau.exp()

    def step(self, prepared, inputs, state, timespans):
        state = inputs.new_zeros(len(inputs), self.state_size) if state is None else state
        target = torch.tanh(self.drive(torch.cat([inputs, state], dim=-1)))
        state = torch.lerp(target, state, torch.exp(-(1 if timespans is None else timespans) / prepared))
        return state, state


NAME = f"{__name__}:LeakyCell"
CELLS = {"lrc": LRCCell, "gru": GRUCell, "lstm": LSTMCell, NAME: LeakyCell}


def make(algorithm, **policy_kwargs):
    timed = OBSERVATIONS["timespans"]
    if algorithm in RECURRENT:
        env = RandomEnv(timed, DISCRETE if algorithm in DISCRETE_ACTIONS else BOX)
        return make_recurrent_model(algorithm, env, policy_kwargs=policy_kwargs)
    return make_model(algorithm, RandomEnv(timed, ACTIONS[algorithm][0]), policy_kwargs)


REMEMBERING = [*RECURRENT, RecurrentPPO, RecurrentMaskablePPO]
REACTIVE = [algorithm for algorithm in ALGORITHMS if algorithm not in (*REMEMBERING, CrossQ)]  # which takes no Dict
PAIRS = [(algorithm, cell) for algorithm in REMEMBERING for cell in ("lrc", NAME)]
PAIRS += [(algorithm, cell) for algorithm in (RecurrentSAC, RecurrentDQN, RecurrentPPO) for cell in ("gru", "lstm")]
PAIRS += [(algorithm, "lrc") for algorithm in REACTIVE] + [(SAC, "lstm"), (PPO, NAME), (TRPO, "gru")]


@pytest.mark.parametrize(("algorithm", "cell"), PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_learns_acts_and_is_saved(tmp_path, algorithm, cell):
    model = make(algorithm, cell=cell)
    before = parameters(model)
    kinds = {type(module) for module in model.policy.modules() if isinstance(module, LiquidCell)}
    assert kinds == {CELLS[cell]}
    train(model, 32)
    changed = [name for name, tensor in parameters(model).items() if not torch.equal(tensor, before[name])]
    assert any("cell" in name for name in changed)
    assert all(torch.isfinite(tensor).all() for tensor in parameters(model).values() if tensor.is_floating_point())
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model")
    observation = {key: value[None] for key, value in OBSERVATIONS["timespans"].sample().items()}
    state, other = None, None
    for step in range(3):
        starts = np.full(1, step == 0)
        action, state = model.predict(observation, state, starts, deterministic=True)
        expected, other = loaded.predict(observation, other, starts, deterministic=True)
        np.testing.assert_array_equal(action, expected)


@pytest.mark.parametrize("cell", [NAME, LeakyCell], ids=["name", "class"])
def test_a_checkpoint_imports_no_cell_that_is_not_trusted(tmp_path, cell):
    model = make(ALGORITHMS[0], cell=cell, cell_kwargs={"slowest": 5.0})
    save_checkpoint(model, tmp_path / "saved")
    with pytest.raises(CheckpointError, match="LeakyCell.*not on the list of classes"):
        load_checkpoint(tmp_path / "saved")
    loaded = load_checkpoint(tmp_path / "saved", trusted=[LeakyCell])
    assert loaded.policy_kwargs["cell_kwargs"] == {"slowest": 5.0}


def test_a_trusted_cell_may_be_named_by_the_package_that_exports_it(tmp_path, monkeypatch):
    package = ModuleType("exporting")
    package.LeakyCell = LeakyCell
    monkeypatch.setitem(sys.modules, "exporting", package)
    save_checkpoint(make(ALGORITHMS[0], cell="exporting:LeakyCell"), tmp_path / "saved")
    with pytest.raises(CheckpointError, match="exporting.LeakyCell.*not on the list of classes"):
        load_checkpoint(tmp_path / "saved", trusted=[LSTMCell])
    for trusted in (LeakyCell, "exporting:LeakyCell", "exporting.LeakyCell"):
        load_checkpoint(tmp_path / "saved", trusted=[trusted])


def test_the_cells_of_this_package_are_trusted(tmp_path):
    save_checkpoint(make(ALGORITHMS[0], cell="velora_sb3.cells:LSTMCell"), tmp_path / "saved")
    load_checkpoint(tmp_path / "saved")
