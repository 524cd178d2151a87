from importlib.util import find_spec

import pytest
from stable_baselines3.common.callbacks import CallbackList

from tests.finrl.markets import market
from velora_sb3.finrl import DRLAgent, make_callbacks


def train(tmp_path, name, shape=list, steps=60, **settings):
    callbacks = make_callbacks(
        tmp_path, market(20, seed=1), name, eval_freq=20, save_frequency=1, every_n_timesteps=60, verbose=0, **settings
    )
    model_kwargs = {"learning_starts": 10, "batch_size": 2} if "sac" in name else None
    model = DRLAgent(market(20)).get_model(
        name, policy_kwargs={"units": 4}, model_kwargs=model_kwargs, verbose=0, seed=0
    )
    DRLAgent.train_model(model=model, tb_log_name="x", total_timesteps=steps, callbacks=shape(callbacks))
    return model, callbacks


@pytest.mark.parametrize(("name", "shape"), [("a2c", list), ("recurrent_sac", CallbackList)])
def test_a_run_with_all_of_them(tmp_path, name, shape):
    model, callbacks = train(tmp_path, name, shape)
    kinds = [type(callback).__name__ for callback in callbacks]
    assert kinds[:3] == ["SaveCheckpoints", "TradingEvalCallback", "ActionAnalysis"]
    assert ("LearningRateScheduler" in kinds) == (name == "a2c")
    assert len(callbacks[1].figures) == 3
    assert model.num_timesteps == 60
    assert (tmp_path / "best_model" / "best_model.zip").exists()
    assert (tmp_path / "eval_logs" / "evaluations.npz").exists()
    assert (tmp_path / "checkpoints" / "completed.json").exists()
    if find_spec("matplotlib"):
        assert list((tmp_path / "plots").rglob("*.png"))


def test_a_target_stops(tmp_path):
    model, _ = train(tmp_path, "a2c", target=-1e9, patience=2)
    assert model.num_timesteps == 40


def test_no_improvement_stops(tmp_path):
    env = market(20, seed=1, reward_scaling=0.0)
    callbacks = make_callbacks(tmp_path, env, eval_freq=10, patience=1, verbose=0)
    model = DRLAgent(market(20)).get_model("a2c", policy_kwargs={"units": 4}, verbose=0, seed=0)
    DRLAgent.train_model(model, "x", 200, callbacks)
    assert model.num_timesteps < 100


def test_a_run_to_resume_needs_its_directory_again(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "model_config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="force=True"):
        make_callbacks(tmp_path, market(20))
    assert make_callbacks(tmp_path, market(20), force=True)[0].force


def test_the_replay_buffer_is_saved_on_request(tmp_path):
    assert make_callbacks(tmp_path, market(20), "sac")[0].buffer is False
    assert make_callbacks(tmp_path, market(20), "sac", buffer="resume")[0].buffer == "resume"


def test_an_unknown_model_name(tmp_path):
    with pytest.raises(ValueError, match="unknown model_name 'pppo': did you mean 'ppo'"):
        make_callbacks(tmp_path, market(20), "pppo")
