"""Every combination, exported: the actions are those of ``model.predict``. The export itself compares and raises."""

import json
import subprocess

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from torch.nn.utils import prune

from tests.export.models import CHOICE, IMAGE_MODELS, MODELS, build
from velora_sb3 import RecurrentSAC, RecurrentTD3
from velora_sb3._compiler import find_compiler
from velora_sb3.export import export_c, export_onnx

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")


def report(folder):
    return json.loads((folder / "parity.json").read_text())


def compile_strictly(folder, *options):
    command = [*find_compiler(), *STRICT, *options, "example.c", "policy.c", "-lm", "-o", "example"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "example"


@pytest.mark.parametrize("name", MODELS | IMAGE_MODELS)
@pytest.mark.usefixtures("few_steps")
def test_a_few_steps(name, tmp_path):
    model = (MODELS | IMAGE_MODELS)[name]()
    assert report(export_onnx(model, tmp_path / "onnx"))["episodes"] > 4
    if name in MODELS and find_compiler() is not None:
        assert report(export_c(model, tmp_path / "c"))["episodes"] > 4


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS | IMAGE_MODELS)
def test_a_thousand_steps_in_onnx(name, tmp_path):
    found = report(export_onnx((MODELS | IMAGE_MODELS)[name](), tmp_path / "policy"))
    assert found["steps"] == 1_000
    assert found["episodes"] > 20
    assert found["largest_difference"] <= found["tolerance"] <= 2e-5  # half of the action's range is 1.75


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_thousand_steps_in_c(name, tmp_path):
    folder = export_c(MODELS[name](), tmp_path / "policy")
    found = report(folder)
    assert found["steps"] == 1_000
    assert found["episodes"] > 20
    assert found["largest_difference"] <= found["tolerance"] <= 2e-5
    example = compile_strictly(folder, "-fsanitize=address,undefined", "-fno-sanitize-recover")
    subprocess.run([example], check=True, capture_output=True)


@pytest.mark.parametrize("algorithm", [SAC, RecurrentTD3])
@pytest.mark.parametrize(("low", "high"), [(1_000, 1_001), (100_000, 101_000)])
@pytest.mark.usefixtures("few_steps")
def test_a_small_range_far_from_zero(low, high, algorithm, tmp_path):
    model = build(algorithm, actions=spaces.Box(low, high, (1,), np.float32))
    found = report(export_onnx(model, tmp_path / "policy"))
    assert found["largest_difference"] <= found["tolerance"] <= 4 * np.spacing(np.float32(high))


@needs_compiler
def test_a_large_bias_does_not_round_the_differences_away(tmp_path):
    model = build(DQN, actions=CHOICE)
    with torch.no_grad():
        model.q_net.q_net[-1].bias.fill_(2_000)
        model.q_net.q_net[-1].weight *= 0.05
    assert report(export_c(model, tmp_path / "policy"))["compared"] == 1_000


def test_a_memory_that_amplifies_rounding_is_compared_in_short_episodes(tmp_path):
    model = build(RecurrentSAC, policy_kwargs={"mixed_memory": False})
    with torch.no_grad():
        model.actor.features_extractor.cell.weight_hh *= 4
    assert 500 <= report(export_onnx(model, tmp_path / "policy"))["compared"] < 1_000


@pytest.mark.usefixtures("few_steps")
def test_weights_that_are_pruned_are_exported_right_after_training(tmp_path):
    model = build(PPO)
    cell = model.policy.features_extractor.cell
    prune.l1_unstructured(cell, "weight_hh", 0.9)
    prune.l1_unstructured(model.policy.action_net, "weight", 0.5)
    model.learn(8)
    assert not cell.weight_hh.is_leaf  # torch copies no such tensor
    found = report(export_onnx(model, tmp_path / "policy"))
    assert found["largest_difference"] <= found["tolerance"]


class Random(PPO):
    def predict(self, *args, **kwargs):
        action, state = super().predict(*args, **kwargs)
        return action + np.random.standard_normal(action.shape), state


def test_what_does_not_repeat_itself_cannot_be_compared(tmp_path):
    with pytest.raises(ValueError, match="is reproducible in only 0 of 1000 steps.* draws random numbers"):
        export_onnx(build(Random), tmp_path / "policy")
