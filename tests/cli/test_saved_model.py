import pytest
from stable_baselines3 import PPO

from velora_sb3.callbacks import SaveCheckpoints
from velora_sb3.cli.saved_model import find_model


@pytest.fixture
def two_runs(tmp_path):
    """A directory of SaveCheckpoints in which a second run, shorter than the first, has started."""
    for seed, steps in enumerate((96, 32)):
        save = SaveCheckpoints("run", every_n_timesteps=32, root=tmp_path, force=True)
        settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": seed, "device": "cpu"}
        PPO("MlpPolicy", "CartPole-v1", **settings).learn(steps, callback=save)
    return tmp_path / "run"


def test_the_model_is_of_the_newest_checkpoint_not_of_the_one_with_the_most_timesteps(two_runs):
    assert find_model(two_runs).path.parent.name == "CartPole_final"  # of step 32


def test_without_manifests_timesteps_count(two_runs):
    for manifest in two_runs.glob("saves/*/manifest.json"):
        manifest.unlink()
    assert find_model(two_runs).path.parent.name == "CartPole_64_steps"
