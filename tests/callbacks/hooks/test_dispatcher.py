"""Hooks over several runs: a checkpoint, other callbacks beside them, the end."""

import gc
import weakref

import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.logger import Logger

from tests.callbacks.hooks.hooked import Told, model_of
from tests.callbacks.hooks.numbered_env import numbered
from tests.callbacks.hooks.test_metrics_logger import Rows
from tests.callbacks.runs import Listener, RaiseAt
from tests.checkpoints.runs import SaveAt
from velora_sb3 import load_checkpoint, resume_training
from velora_sb3.callbacks import EarlyStopping, EpisodeCallback, EvalCallback, LambdaCallback
from velora_sb3.callbacks.hooks.metrics_logger import MetricsWriter


class Keeps(Told):
    """Counts its steps in the episode's data, and logs the running mean of returns."""

    def on_episode_step(self, *, episode, **kwargs):
        super().on_episode_step(episode=episode, **kwargs)
        episode.custom_data["steps"] = episode.custom_data.get("steps", 0) + 1

    def on_episode_end(self, *, episode, metrics_logger, **kwargs):
        super().on_episode_end(episode=episode, **kwargs)
        assert episode.custom_data["steps"] == len(episode)
        metrics_logger.log_value("returns", episode.get_return(), reduce="lifetime_sum")
        self.told.append(("total", metrics_logger.peek("returns")))


def since(told, first):
    return told[told.index(first) :]


@pytest.mark.parametrize("algorithm", [PPO, SAC])
@pytest.mark.parametrize("place", [0, 1], ids=["saved before the hooks", "saved after the hooks"])
def test_a_resumed_run_tells_what_is_left(algorithm, place, tmp_path):
    whole, resumed = Keeps(), Keeps()
    callbacks = [whole]
    callbacks.insert(place, SaveAt(tmp_path / "checkpoint", 6))
    settings = {} if algorithm is PPO else {"train_freq": 6}
    model_of(algorithm, numbered((4, 5)), **settings).learn(48, callback=callbacks)
    resume_training(tmp_path / "checkpoint", numbered((4, 5)), [resumed], device="cpu")
    told = [one for one in resumed.told if one not in ("init", ("env", False), "loaded")]
    assert told == whole.told[-len(told) :]
    assert ("step", False, 0, 1, 3) in told and ("step", False, 0, 0, 4) not in told
    assert resumed.results[-1]["training_iteration"] == whole.results[-1]["training_iteration"] == 4
    assert resumed.results[-1]["env_runners"]["num_episodes"] == whole.results[-1]["env_runners"]["num_episodes"]
    assert [one for one in told if one[0] == "total"][-1] == [one for one in whole.told if one[0] == "total"][-1]


def test_loaded_comes_after_init_and_before_episodes(tmp_path):
    model_of(PPO, numbered((4,))).learn(12, callback=[SaveAt(tmp_path / "checkpoint", 6), Told()])
    first, new = Told(), []
    second = LambdaCallback(on_checkpoint_loaded=lambda algorithm: new.append(algorithm))  # the run had none
    model = resume_training(tmp_path / "checkpoint", numbered((4,)), [first, second], device="cpu")
    assert first.told[:5] == ["init", ("env", False), "loaded", "result", ("step", False, 0, 1, 3)]
    assert new == [model]


def test_loading_by_hand():
    told = Told()
    model = model_of(PPO, numbered((4,)))
    model.learn(6, callback=told)
    again = Told()
    again.load_state_dict(told.state_dict())
    model.learn(6, callback=again, reset_num_timesteps=False)
    model.learn(6, callback=again, reset_num_timesteps=False)
    assert again.told.count("loaded") == 1
    assert again.lives()[:3] == [("step", 0, 1, 3), ("step", 0, 1, 4), ("end", 0, 1, 4)]
    assert again.results[0]["training_iteration"] == 2


def test_without_a_checkpoint_nothing_is_loaded():
    told = Told()
    model_of(PPO, numbered((4,))).learn(12, callback=told)
    assert "loaded" not in told.told


def test_environments_that_were_reset_begin_new_episodes(tmp_path):
    told = Told()
    model_of(PPO, numbered((4,))).learn(12, callback=[SaveAt(tmp_path / "checkpoint", 6), Told()])
    model = load_checkpoint(tmp_path / "checkpoint", numbered((4,)), device="cpu")
    model.set_env(numbered((4,)))
    model.learn(6, callback=told, reset_num_timesteps=False)
    assert told.lives()[:3] == [("created", 0), ("start", 0, 0, 0), ("step", 0, 0, 1)]


def test_init_and_environments_once():
    told, model = Told(), model_of(PPO, numbered((4,)))
    evaluation = EvalCallback(numbered((4,)), n_eval_episodes=1, eval_freq=6, verbose=0, warn=False)
    for _ in range(2):
        model.learn(6, callback=[told, evaluation])
    model.learn(6, callback=[told, evaluation], reset_num_timesteps=False)
    model_of(PPO, numbered((4,))).learn(6, callback=told)
    once = [one for one in told.told if one in ("init", ("env", False), ("env", True))]
    assert once == ["init", ("env", False), ("env", True), "init", ("env", False)]


def test_beside_other_callbacks():
    told, listener, stopping = Told(), Listener(), EarlyStopping(10.0, patience=2)
    model = model_of(PPO, numbered((4,)))
    model.learn(60, callback=[stopping, told, listener])
    assert model.num_timesteps == 8
    assert [one[2:] for one in told.returns] == [(one.episode_return, one.length) for one in listener.heard]
    assert told.lives()[-1] == ("start", 0, 2, 0)


def test_the_logger_is_left_as_it_was():
    rows, model = Rows(), model_of(PPO, numbered((4,)))
    model.set_logger(Logger(None, [rows]))
    inside = []
    model.learn(
        6, callback=LambdaCallback(on_sample_end=lambda algorithm: inside.extend(algorithm.logger.output_formats))
    )
    assert isinstance(inside[0], MetricsWriter) and inside[1:] == [rows]
    assert model.logger.output_formats == [rows]


def test_after_an_error_no_hook_is_called():
    told, model = Told(), model_of(PPO, numbered((4,)))
    with pytest.raises(KeyboardInterrupt), told:
        model.learn(12, callback=[told, RaiseAt(7)])
    assert told.told.count("result") == 1
    assert model.logger.output_formats == []


def test_nothing_is_kept_alive():
    class Empty(EpisodeCallback):
        def on_episode_step(self, *, episode, **kwargs):
            pass

    model, callback = model_of(PPO, numbered((4,))), Empty()
    model.learn(6, callback=callback)
    gone = [weakref.ref(model), weakref.ref(callback)]
    del model, callback
    gc.collect()
    assert [one() for one in gone] == [None, None]
