"""A checkpoint of another version is refused by the name of the version that wrote it."""

import json
import shutil

import pytest

from velora_sb3 import load_checkpoint, resume_training, save_checkpoint
from velora_sb3.checkpoints import CheckpointError, list_checkpoints, newest_checkpoint
from velora_sb3.checkpoints.format.files import MANIFEST, SCHEMA, STATE

OLD = r"old was written by velora-sb3 0\.1\.0 with schema 1; this is velora-sb3 .*reads schema 2: resume the run with"


@pytest.fixture
def run(original, tmp_path):
    """A run with a checkpoint of an earlier schema."""
    path = shutil.copytree(original, tmp_path / "run" / "old")
    for name in (MANIFEST, STATE):
        content = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**content, "schema": 1, "versions": {"velora-sb3": "0.1.0"}}))
    return path.parent


@pytest.mark.parametrize("place", ["", "old"], ids=["the run", "the checkpoint"])
def test_resuming(place, run):
    with pytest.raises(CheckpointError, match=OLD):
        resume_training(run / place, "CartPole-v1")


def test_loading(run):
    with pytest.raises(CheckpointError, match=OLD):
        load_checkpoint(run / "old")


@pytest.mark.parametrize("state", ["{", "[]", '{"versions": 3}', '{"versions": {"velora-sb3": "0.1\\nrm -r /"}}'])
def test_the_version_is_not_believed(state, run):
    (run / "old" / STATE).write_text(state)
    with pytest.raises(CheckpointError, match="old was written by another version of velora-sb3 with schema 1"):
        load_checkpoint(run / "old")


def test_a_new_one_is_found_beside_it_and_may_replace_it(run, model):
    save_checkpoint(model, run / "new")
    assert newest_checkpoint(run) == run / "new"
    with pytest.warns(UserWarning, match=f"skipped a checkpoint: .*{OLD}"):
        assert [manifest.path.name for manifest in list_checkpoints(run)] == ["new"]
    save_checkpoint(model, run / "old")
    assert [manifest.path.name for manifest in list_checkpoints(run)] == ["old", "new"]


def test_the_schema_is_in_both_files(original):
    assert [json.loads((original / name).read_text())["schema"] for name in (MANIFEST, STATE)] == [SCHEMA] * 2
