"""What is saved, when, and under which names."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from sb3_contrib import ARS
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.vec_env import VecNormalize

from tests.callbacks.runs import ALGORITHMS, DDPG, PPO, Listener, make_env, make_model, names, read, saver, weights
from velora_sb3.callbacks import EarlyStopping, SaveCheckpoints
from velora_sb3.checkpoints.format.files import MANIFEST, NEEDED


class WeightsAtRolloutStart(BaseCallback):
    """Remembers, for each checkpoint, weights and steps at the moment when it appeared."""

    def __init__(self, saves):
        super().__init__()
        self.saves, self.seen = saves, {}

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        for path in self.saves.iterdir():
            self.seen.setdefault(path.name, (weights(self.model), self.model.num_timesteps))


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_checkpoint_is_the_model_at_that_time(algorithm, n_envs, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm, n_envs, length=4))
    save, listener = saver(tmp_path, frequency=6), Listener()
    watch = WeightsAtRolloutStart(save.saves)
    model.learn(96, callback=[save, watch, listener])

    # With three environments an on-policy rollout has 12 episodes: of the two that are due only the last is written.
    once_in_a_rollout = n_envs == 3 and not hasattr(model, "replay_buffer")
    due = [12, 24] if once_in_a_rollout else [6, 12, 18, 24]
    assert names(save) == sorted([f"Steps_{number}" for number in due] + ["Steps_final"])
    for name, (vector, steps) in watch.seen.items():
        loaded = algorithm.load(save.saves / name / "model.zip", device="cpu")
        assert torch.equal(weights(loaded), vector)
        metadata = read(save.saves / name / "metadata.json")
        assert metadata["timesteps"] == loaded.num_timesteps == steps
        heard = [episode for episode in listener.heard if episode.timestep <= steps]
        assert metadata["episodes"] == len(heard)
        assert metadata["recent_returns"] == [episode.episode_return for episode in heard][-10:]
    assert len(watch.seen) >= 1
    assert torch.equal(weights(algorithm.load(save.saves / "Steps_final" / "model")), weights(model))


def test_models_load_without_this_package_and_act_as_they_did(tmp_path):
    import velora_sb3  # noqa: F401  (registers the alias of the last model)

    expected, observations = {}, np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    np.save(tmp_path / "observations.npy", observations)
    models = {algorithm.__name__: make_model(algorithm, make_env(tmp_path, algorithm)) for algorithm in ALGORITHMS}
    settings = {"n_steps": 16, "batch_size": 16, "policy_kwargs": {"units": 4}, "device": "cpu"}
    models["liquid"] = PPO("LiquidPolicy", make_env(tmp_path), **settings)
    for name, model in models.items():
        model.learn(48, callback=[EarlyStopping(1e9), saver(tmp_path, name)])
        expected[name] = model.predict(observations, deterministic=True)[0].tolist()
    program = """
import json, sys
import numpy as np, sb3_contrib, stable_baselines3

def load(name):
    algorithm = getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name, stable_baselines3.PPO)
    model = algorithm.load(f"checkpoints/{name}/saves/Steps_final/model", device="cpu")
    return model.predict(np.load("observations.npy"), deterministic=True)[0].tolist()

found = {name: load(name) for name in sys.argv[1:] if name != "liquid"}
assert not [name for name in sys.modules if name.startswith("velora_sb3")]
found["liquid"] = load("liquid")
assert not [name for name in sys.modules if name.startswith("velora_sb3.callbacks")]
print(json.dumps(found))
"""
    command = [sys.executable, "-c", program, *expected]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == expected


@pytest.mark.parametrize("n_envs", [1, 3])
def test_the_replay_buffer_holds_every_step_so_far(n_envs, tmp_path):
    model = make_model(DDPG, make_env(tmp_path, DDPG, n_envs))
    save = saver(tmp_path, frequency=5, buffer=True)
    model.learn(96, callback=save)
    assert len(names(save)) >= 3
    for path in save.saves.iterdir():
        loaded = DDPG.load(path / "model", env=make_env(tmp_path, DDPG, n_envs))
        loaded.load_replay_buffer(path / "replay_buffer")
        assert loaded.replay_buffer.size() * n_envs == read(path / "metadata.json")["timesteps"]
    loaded.load_replay_buffer(save.saves / "Steps_final" / "replay_buffer")
    assert np.array_equal(loaded.replay_buffer.rewards, model.replay_buffer.rewards)


def test_without_buffer_there_is_none(tmp_path):
    save = saver(tmp_path, frequency=5)
    make_model(DDPG, make_env(tmp_path, DDPG)).learn(48, callback=save)
    found = {path.name for path in (save.saves / "Steps_final").iterdir()}
    assert found == {"metadata.json", "model.zip", MANIFEST, *NEEDED}


def test_buffer_for_an_algorithm_without_one(tmp_path):
    model, save = make_model(PPO, make_env(tmp_path)), saver(tmp_path, buffer=True)
    with pytest.raises(ValueError, match="buffer=True, but PPO has no replay buffer"):
        model.learn(16, callback=save)
    save.on_training_end()
    assert not save.directory.exists()


def test_statistics_of_normalization_are_saved(tmp_path):
    env = make_env(tmp_path, normalize=True)
    save = saver(tmp_path)
    make_model(PPO, env).learn(32, callback=save)
    loaded = VecNormalize.load(save.saves / "Steps_final" / "vecnormalize.pkl", make_env(tmp_path))
    assert np.array_equal(loaded.obs_rms.mean, env.obs_rms.mean)
    assert loaded.obs_rms.count == env.obs_rms.count > 32
    assert loaded.ret_rms.var == env.ret_rms.var


def test_of_several_normalizations_that_of_observations_is_saved(tmp_path):
    env = VecNormalize(VecNormalize(make_env(tmp_path), norm_reward=False), norm_obs=False)
    make_model(PPO, env).learn(32, callback=(save := saver(tmp_path)))
    loaded = VecNormalize.load(save.saves / "Steps_final" / "vecnormalize.pkl", make_env(tmp_path))
    assert loaded.obs_rms.count == env.venv.obs_rms.count > 32


def test_ars(tmp_path):
    model = ARS("LinearPolicy", make_env(tmp_path, length=4), n_delta=1, n_eval_episodes=1, seed=0)
    save = saver(tmp_path, frequency=2)
    model.learn(24, callback=save)
    assert names(save) == ["Steps_2", "Steps_4", "Steps_6", "Steps_final"]
    assert torch.equal(weights(ARS.load(save.saves / "Steps_final" / "model")), weights(model))
    assert read(save.directory / "completed.json")["episodes"] == 6


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_completed_tells_that_a_callback_of_sb3_stopped_the_run(algorithm, tmp_path):
    save = saver(tmp_path)
    make_model(algorithm, make_env(tmp_path, algorithm)).learn(200, callback=[save, StopTrainingOnMaxEpisodes(2)])
    completed = read(save.directory / "completed.json")
    assert completed["steps"] < completed["total_timesteps"] == 200
    assert (completed["early_stopped"], completed["stop_reason"], completed["interrupted"]) == (True, None, False)


@pytest.mark.parametrize("stop_first", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_completed_tells_how_the_run_went(algorithm, stop_first, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm))
    save, listener, stop = saver(tmp_path, frequency=3), Listener(), EarlyStopping(-1e9, patience=5)
    model.learn(200, callback=[stop, save, listener] if stop_first else [save, listener, stop])
    completed, returns = read(save.directory / "completed.json"), [e.episode_return for e in listener.heard]
    assert len(returns) == completed["episodes"] == 5
    assert completed["steps"] == model.num_timesteps == sum(episode.length for episode in listener.heard)
    assert completed["total_timesteps"] == 200
    assert (completed["early_stopped"], completed["interrupted"]) == (True, False)
    assert completed["stop_reason"] == stop.reason
    assert completed["best_return"] == max(returns)
    assert completed["average_return"] == pytest.approx(np.mean(returns))
    assert completed["recent_returns"] == returns
    assert 0 < completed["seconds"] < 60
    expected = {"critic_loss"} if algorithm is DDPG else {"loss"}
    logged = {name.removeprefix("train/"): value for name, value in model.logger.name_to_value.items()}
    for name in expected & set(logged):
        assert completed["losses"][name] == pytest.approx(float(logged[name]))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_last_losses(algorithm, tmp_path):
    model, save = make_model(algorithm, make_env(tmp_path, algorithm)), saver(tmp_path)
    written = {}
    model.learn(48, callback=save)
    for name, value in model.logger.name_to_value.items():  # what train() has logged and SB3 has not yet written
        if "loss" in name:
            written[name.removeprefix("train/")] = float(value)
    assert written
    assert read(save.directory / "completed.json")["losses"] == pytest.approx(written)


def test_the_configuration_says_what_was_trained(tmp_path):
    model = make_model(PPO, make_env(tmp_path, n_envs=2), gamma=0.9)
    save = saver(tmp_path, frequency=3)
    model.learn(32, callback=[EarlyStopping(1e9, patience=2), save])
    config = read(save.directory / "model_config.json")
    assert config["algorithm"]["name"] == "PPO"
    assert config["env"]["name"] == "Steps"
    assert config["env"]["n_envs"] == 2
    assert config["hyperparameters"]["gamma"] == 0.9
    assert config["policy_kwargs"] == {"net_arch": [4]}
    assert config["seed"] == 0
    assert config["callbacks"] == [
        {"name": "EarlyStopping", "settings": {"target": 1e9, "patience": 2, "window": 1}},
        {"name": "SaveCheckpoints", "settings": save.config()[1]},
    ]


def test_names_of_a_registered_environment_and_large_numbers(tmp_path):
    save = saver(tmp_path)
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, device="cpu")
    model.learn(16, callback=save)
    save.episodes.finished = 1499
    save.frequency = 1500
    model.learn(48, callback=save, reset_num_timesteps=False)
    assert {"CartPole_1.5K", "CartPole_final"} <= set(names(save))


def test_it_says_what_it_does(tmp_path, capsys):
    save = saver(tmp_path, frequency=3, verbose=1)
    make_model(PPO, make_env(tmp_path)).learn(16, callback=save)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"SaveCheckpoints: saves the model every 3 episodes and at the end in {save.saves}"
    assert lines[-1] == f"SaveCheckpoints: saved {save.saves / 'Steps_final'}"


def test_from_yaml(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load("{dirname: a/b, frequency: 2, buffer: true, force: false, root: here, verbose: 0}")
    save = SaveCheckpoints(**settings)
    name, told = save.config()
    assert name == "SaveCheckpoints" and settings.items() - {("verbose", 0)} <= told.items()
    assert json.loads(json.dumps(told)) == told
    assert not (tmp_path / "here").exists()  # nothing is created before training
    monkeypatch.chdir("/")
    make_model(DDPG, make_env(tmp_path, DDPG)).learn(16, callback=save)
    assert (tmp_path / "here" / "a" / "b" / "saves" / "Steps_final").is_dir()


def test_a_path_is_a_name(tmp_path):
    assert SaveCheckpoints(Path("a", "b"), root=tmp_path).directory == tmp_path / "a" / "b"


@pytest.mark.parametrize("dirname", ["", ".", "..", "../run", "a/../../b", "/run", 3, None])
def test_bad_names(dirname, tmp_path):
    with pytest.raises(ValueError, match="dirname must be a relative path below root="):
        SaveCheckpoints(dirname, root=tmp_path)


@pytest.mark.parametrize("frequency", [0, -1, 1.5, "10", True])
def test_bad_frequencies(frequency, tmp_path):
    with pytest.raises(ValueError, match="frequency must be an integer of at least 1, got"):
        saver(tmp_path, frequency=frequency)
