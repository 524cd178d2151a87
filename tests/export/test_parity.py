"""Every combination, exported: the actions are those of ``model.predict``. The export itself compares and raises."""

import json
import subprocess

import pytest

from tests.export.models import IMAGE_MODELS, MODELS
from velora_sb3.export import export_c, export_onnx
from velora_sb3.export.to_c import find_compiler

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler")


def report(folder):
    return json.loads((folder / "parity.json").read_text())


def compile_strictly(folder, *options):
    command = [find_compiler(), *STRICT, *options, "example.c", "policy.c", "-lm", "-o", "example"]
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
