"""Small sweeps, without the command line."""

from pathlib import Path

from velora_sb3.cli.experiment.launch import start_learning
from velora_sb3.cli.experiment.run import train_model
from velora_sb3.cli.sweep.sweep_file import SweepFile, _checked
from velora_sb3.cli.sweep.trial import trial_function
from velora_sb3.tune.engine import run_sweep
from velora_sb3.tune.results import Results

QUIET = {"include_dashboard": False}
SMALL = {
    "algo": "ppo",
    "env": "CartPole-v1",
    "policy": "MlpPolicy",
    "n_envs": 1,
    "eval_freq": 200,
    "hyperparams": {"n_steps": 50, "batch_size": 50, "n_epochs": 2},
}


def sweep_of(**keys):
    search = {"learning_rate": {"loguniform": [1e-4, 1e-2]}, "gamma": {"uniform": [0.9, 0.99]}}
    return _checked(SweepFile(**{**SMALL, "search": search, **keys}))


def run(sweep, directory: Path):
    """Run a sweep where Ray is already running; its results."""
    directory.mkdir(exist_ok=True)
    results = Results(directory / "sweep.db")
    assert run_sweep(sweep.plan(), trial_function(sweep, directory / "trials"), directory, results) is None
    return results


def trained_alone(config, directory: Path):
    """The model of ``velora-sb3 train`` with that configuration."""
    models = []
    learn = start_learning(config)
    place = directory / f"alone-{len(list(directory.glob('alone-*')))}"
    place.mkdir()
    train_model(lambda callback: models.append(learn(callback)), config, place, curves=False, video=False)
    return models[0]
