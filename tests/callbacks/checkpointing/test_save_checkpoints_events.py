"""As a child of EvalCallback and EveryNTimesteps."""

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback, EveryNTimesteps

from tests.callbacks.runs import DDPG, PPO, Listener, make_env, make_model, names, read, saver


def evaluation(tmp_path, algorithm, **children):
    folder = tmp_path / "evaluation"
    folder.mkdir(exist_ok=True)
    return EvalCallback(make_env(folder, algorithm), eval_freq=10, verbose=0, warn=False, **children)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("algorithm", [DDPG, PPO])
def test_after_an_evaluation_it_saves_what_was_evaluated(algorithm, listed, tmp_path):
    save = saver(tmp_path, frequency=1)
    callback = evaluation(tmp_path, algorithm, callback_after_eval=CallbackList([save]) if listed else save)
    model, listener = make_model(algorithm, make_env(tmp_path, algorithm, 2)), Listener()
    with save:
        model.learn(80, callback=[callback, listener])
    assert names(save) == ["Steps_20_steps", "Steps_40_steps", "Steps_60_steps", "Steps_80_steps"]
    for path in save.saves.iterdir():
        metadata = read(path / "metadata.json")
        steps = metadata["timesteps"]
        assert algorithm.load(path / "model").num_timesteps == steps
        assert metadata["episodes"] == len([episode for episode in listener.heard if episode.timestep <= steps])
    last = read(save.saves / "Steps_80_steps" / "metadata.json")
    assert last["evaluation_reward"] == callback.last_mean_reward
    completed = read(save.directory / "completed.json")
    assert (completed["steps"], completed["interrupted"]) == (model.num_timesteps, False)
    assert completed["episodes"] == len(listener.heard)


def test_on_a_new_best_it_saves_the_best(tmp_path):
    save = saver(tmp_path)
    callback = evaluation(tmp_path, PPO, callback_on_new_best=save)
    callback.eval_env.seed(1)  # twelve draws, of which some seed has the first as the best
    bests = []

    class Bests(BaseCallback):
        def _on_step(self):
            if not bests or callback.best_mean_reward > bests[-1][1]:
                bests.append((self.num_timesteps, callback.best_mean_reward))
            return True

    with save:
        make_model(PPO, make_env(tmp_path)).learn(128, callback=[callback, Bests()])
    bests = [best for best in bests if np.isfinite(best[1])]
    assert len(bests) >= 2  # else this test shows little
    assert names(save) == sorted(f"Steps_{steps}_steps" for steps, _ in bests)
    for steps, reward in bests:
        metadata = read(save.saves / f"Steps_{steps}_steps" / "metadata.json")
        assert (metadata["evaluation_reward"], metadata["timesteps"]) == (reward, steps)
        assert metadata["episodes"] is None  # SB3 shows it no steps
    assert [entry["name"] for entry in read(save.directory / "model_config.json")["callbacks"]] == [
        "EvalCallback",
        "SaveCheckpoints",
        "Bests",
    ]


def test_every_n_timesteps(tmp_path):
    save = saver(tmp_path)
    model = make_model(PPO, make_env(tmp_path, n_envs=2))
    model.learn(96, callback=EveryNTimesteps(30, save))
    assert names(save) == ["Steps_30_steps", "Steps_60_steps", "Steps_90_steps"]
    assert "whenever it is called" in save.info()
