import pytest

from velora_sb3.cli import main
from velora_sb3.cli.experiment.build_model import build_model
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.defaults import DEFAULTS, STEPS, defaults_for


@pytest.mark.parametrize(("algo", "env"), DEFAULTS, ids=["-".join(key) for key in DEFAULTS])
def test_every_entry_builds_a_model(algo, env):
    model = build_model(RunConfig(algo, env, seed=0, **defaults_for(algo, env)))
    assert "net_arch" not in model.policy_kwargs  # sizes are the policy's own


def test_without_an_entry_it_is_sb3s_own():
    assert defaults_for("tqc", "Pendulum-v1") == {"steps": STEPS, "n_envs": 1, "hyperparams": {}, "policy_kwargs": {}}


def test_entries_are_copies():
    defaults_for("ddpg", "Pendulum-v1")["hyperparams"]["gamma"] = 0
    assert defaults_for("ddpg", "Pendulum-v1")["hyperparams"]["gamma"] == 0.98


@pytest.mark.slow
def test_ddpg_solves_pendulum(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--algo", "ddpg", "--env", "Pendulum-v1", "--seed", "0", "--no-video"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("return"))
    assert float(row.split()[1].replace(",", "")) > -300
