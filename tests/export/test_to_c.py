import json
import subprocess

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from tests.export.models import (
    CHOICE,
    DICT,
    IMAGE_MODELS,
    MODELS,
    TIMED,
    TIMED_HISTORY,
    VECTOR,
    build,
    liquid,
    normalized,
)
from tests.export.test_parity import compile_strictly, needs_compiler, report
from velora_sb3 import RecurrentSAC
from velora_sb3.cells import CfCCell
from velora_sb3.export import OnnxPolicy, export_c, export_onnx

pytestmark = pytest.mark.usefixtures("few_steps")

# One of each signature.
EXAMPLES = {
    "memory": lambda: build(RecurrentSAC, **liquid(wiring="ncp", units=12)),
    "timespan": lambda: build(RecurrentSAC, observations=TIMED, **liquid(cell="ltc")),
    "timespans": lambda: build(A2C, observations=TIMED_HISTORY, **liquid()),
    "masks": lambda: build(MaskablePPO, "MlpPolicy", actions=CHOICE),
    "keys": lambda: build(PPO, observations=spaces.Dict({"/* m/s */": VECTOR, "%d": VECTOR}), **liquid()),
    "double": lambda: build(A2C, "MultiInputPolicy", env=normalized(DICT, norm_obs_keys=["b"])),
}


@needs_compiler
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_compiles_strictly_and_runs(name, tmp_path):
    folder = export_c(EXAMPLES[name](), tmp_path / "policy")
    assert sorted(file.name for file in folder.iterdir()) == [
        "example.c", "parity.json", "policy.c", "policy.h", "policy.json",
    ]  # fmt: skip
    example = compile_strictly(folder, "-fsanitize=address,undefined", "-fno-sanitize-recover")
    lines = subprocess.run([example], check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[e, s] for e in "01" for s in "012"]
    assert [line[2:] for line in lines[:3]] == [line[2:] for line in lines[3:]]  # policy_reset()


@needs_compiler
def test_c_is_c99_without_allocation_and_without_dependencies(tmp_path):
    source = (export_c(EXAMPLES["memory"](), tmp_path / "policy") / "policy.c").read_text()
    assert [line for line in source.splitlines() if line.startswith("#include")] == [
        '#include "policy.h"',
        "#include <math.h>",
    ]
    assert "alloc" not in source
    assert "static const float" in source


@needs_compiler
def test_the_report_and_the_contract(tmp_path):
    model = EXAMPLES["memory"]()
    folder = export_c(model, tmp_path / "policy")
    found, contract = report(folder), json.loads((folder / "policy.json").read_text())
    cell = model.actor.features_extractor.cell
    assert found["state_bytes"] == 4 * (cell.state_size + 2)
    assert found["stack_bytes"] > 0
    assert contract["c"]["weight_bytes"] == found["weight_bytes"]
    assert contract["target"] == "c"
    assert contract["c"]["observation"] == [{"key": "", "first": 0, "size": 3}]
    assert set(contract["files"]) == {"example.c", "parity.json", "policy.c", "policy.h"}
    double = export_c(EXAMPLES["double"](), tmp_path / "double")
    described = json.loads((double / "policy.json").read_text())["c"]
    assert described["observation_type"] == "double"
    assert [(part["key"], part["first"], part["size"]) for part in described["observation"]] == [
        ("a", 0, 1), ("b", 1, 4), ("counts", 5, 2), ("levels", 7, 2), ("switches", 9, 2),
    ]  # fmt: skip


@needs_compiler
def test_only_the_synapses_that_there_are(tmp_path):
    sizes = {}
    for sparsity in (0.1, 0.8):
        model = build(RecurrentSAC, **liquid(cell="ltc", wiring="random", units=32, sparsity_level=sparsity))
        source = (export_c(model, tmp_path / str(sparsity)) / "policy.c").read_text()
        synapses = int(source.partition("synapses_0[")[2].partition("]")[0]) // 4
        assert synapses == model.actor.features_extractor.cell.recurrent.count
        sizes[sparsity] = synapses
    assert sizes[0.8] < sizes[0.1] / 3
    dense = report(
        export_c(build(RecurrentSAC, **liquid(wiring="random", units=64, sparsity_level=0.0)), tmp_path / "d")
    )
    sparse = report(export_c(build(RecurrentSAC, **liquid(wiring="ncp", units=64, sparsity_level=0.8)), tmp_path / "s"))
    assert sparse["weight_bytes"] < dense["weight_bytes"]


@needs_compiler
def test_c_and_onnx_replace_each_other_and_agree(tmp_path):
    model = build(PPO, "MlpPolicy", env=normalized(VECTOR))
    export_onnx(model, tmp_path / "policy")
    export_c(model, tmp_path / "policy")
    assert not (tmp_path / "policy" / "policy.onnx").exists()
    assert isinstance(OnnxPolicy(export_onnx(model, tmp_path / "policy")).predict(VECTOR.sample()), np.ndarray)


class Doubling(torch.nn.Module):
    def forward(self, inputs):
        return 2 * inputs


class OwnExtractor(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, 3)

    def forward(self, observations):
        return 2 * observations


class OwnCell(CfCCell):
    pass


def test_what_cannot_be_written_in_c(tmp_path):
    own_layer = build(PPO, "MlpPolicy")
    own_layer.policy.mlp_extractor.policy_net.append(Doubling())
    own_extractor = build(PPO, "MlpPolicy", policy_kwargs={"features_extractor_class": OwnExtractor})
    own_cell = build(PPO, **liquid())
    own_cell.policy.features_extractor.cell.__class__ = OwnCell
    for model, part in ((own_layer, "Doubling"), (own_extractor, "OwnExtractor"), (own_cell, "OwnCell")):
        with pytest.raises(ValueError, match=rf"test_to_c\.{part} cannot be written in C: export to ONNX"):
            export_c(model, tmp_path / "policy")
        export_onnx(model, tmp_path / "onnx")  # which can
    for name in ("PPO, image", "SAC, image in a Dict"):
        with pytest.raises(ValueError, match=r"is an image, which exports to C do not support: export to ONNX"):
            export_c(IMAGE_MODELS[name](), tmp_path / "policy")
    with pytest.raises(ValueError, match="C has no random numbers"):
        export_c(MODELS["PPO"](), tmp_path / "policy", deterministic=False)
    assert not (tmp_path / "policy").exists()


def test_weights_that_are_nan(tmp_path):
    model = build(PPO, "MlpPolicy")
    torch.nn.init.constant_(model.policy.action_net.weight, float("nan"))
    with pytest.raises(ValueError, match=r"the policy has NaN among its weights .* train it again"):
        export_c(model, tmp_path / "policy")


def test_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr("velora_sb3.export.to_c.find_compiler", lambda: None)
    with pytest.warns(UserWarning, match="the exported policy was not compared with the model: no C compiler: set CC"):
        folder = export_c(build(PPO, "MlpPolicy"), tmp_path / "policy")
    assert report(folder)["reference"] is None
    assert "no C compiler" in report(folder)["reason"]


@needs_compiler
@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.LeakyReLU(0.2),
        torch.nn.ELU(0.7),
        torch.nn.Sigmoid(),
        torch.nn.SiLU(),
        torch.nn.GELU(),
        torch.nn.Softplus(),
        torch.nn.ReLU6(),
        torch.nn.Hardtanh(-0.3, 0.4),
        torch.nn.LayerNorm(8),
        torch.nn.BatchNorm1d(8),
        torch.nn.Dropout(),
        torch.nn.Identity(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_every_layer(layer, tmp_path):
    model = build(PPO, "MlpPolicy", spaces.Box(-9.0, 9.0, (3,)), policy_kwargs={"net_arch": [8]})
    model.policy.mlp_extractor.policy_net[1] = layer
    if isinstance(layer, torch.nn.BatchNorm1d):
        torch.nn.init.uniform_(layer.running_mean)
        torch.nn.init.uniform_(layer.running_var)
    assert report(export_c(model, tmp_path / "policy"))["largest_difference"] < 1e-5
