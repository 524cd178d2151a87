import json
import shutil
from dataclasses import asdict

import pytest
from stable_baselines3 import PPO

from velora_sb3.callbacks import SaveCheckpoints
from velora_sb3.cells import LRCCell
from velora_sb3.checkpoints import CheckpointError
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.saved_model import find_config, find_model

SETTINGS = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "device": "cpu"}


class OwnCell(LRCCell):
    """A cell as a user may write one."""


@pytest.fixture
def two_runs(tmp_path):
    """A directory of SaveCheckpoints in which a second run, shorter than the first, has started."""
    for seed, steps in enumerate((96, 32)):
        save = SaveCheckpoints("run", every_n_timesteps=32, root=tmp_path, force=True)
        PPO("MlpPolicy", "CartPole-v1", seed=seed, **SETTINGS).learn(steps, callback=save)
    return tmp_path / "run"


def test_the_model_is_of_the_newest_checkpoint_not_of_the_one_with_the_most_timesteps(two_runs):
    assert find_model(two_runs).path.parent.name == "CartPole_final"  # of step 32


def test_without_manifests_timesteps_count(two_runs):
    for manifest in two_runs.glob("saves/*/manifest.json"):
        manifest.unlink()
    assert find_model(two_runs).path.parent.name == "CartPole_64_steps"


@pytest.mark.parametrize("cell", [OwnCell, "tests.cli.test_saved_model:OwnCell"])
def test_the_cell_of_its_run_is_trusted_but_not_what_a_checkpoint_says_of_itself(cell, tmp_path):
    model = PPO("LiquidPolicy", "CartPole-v1", policy_kwargs={"cell": cell, "units": 4}, **SETTINGS)
    model.learn(16, callback=SaveCheckpoints("run", root=tmp_path))
    assert find_model(tmp_path / "run").load_checkpoint().num_timesteps == 16
    alone = shutil.copytree(tmp_path / "run" / "saves" / "CartPole_final", tmp_path / "alone")
    for name in ("config.json", "model_config.json"):
        shutil.copy(tmp_path / "run" / "model_config.json", alone / name)
        with pytest.raises(CheckpointError, match=r"pass trusted=\[OwnCell\] in Python"):
            find_model(alone).load_checkpoint()
        (alone / name).unlink()


def test_a_checkpoint_is_no_run_whose_packages_are_imported(two_runs):
    checkpoint = find_model(two_runs).path.parent
    config = RunConfig("ppo", "CartPole-v1", steps=1, seed=0, gym_packages=["gone"])
    (checkpoint / "config.json").write_text(json.dumps(asdict(config)))
    with pytest.raises(UserError, match="is not a description by SaveCheckpoints or push_to_hub"):
        find_config(checkpoint)
