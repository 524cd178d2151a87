import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize
from torch.nn.utils import parameters_to_vector

from velora_sb3.finrl import DRLAgent, data_split, incremental_training, make_trading_env, synthetic_prices

SETTINGS = {"policy_kwargs": {"units": 4}, "verbose": 0, "seed": 0}


class Days(BaseCallback):
    """Remembers which prices it was trained on."""

    def __init__(self):
        super().__init__()
        self.first = []

    def _on_training_start(self):
        self.first.append(self.training_env.get_attr("df")[0]["date"].iloc[0])

    def _on_step(self):
        return True


def chunks():
    prices = synthetic_prices(2, 60, start="2024-01-01")
    return [data_split(prices, *dates) for dates in (("2024-01-01", "2024-02-01"), ("2024-02-01", "2024-03-01"))]


@pytest.mark.parametrize("name", ["a2c", "recurrent_sac"])
def test_one_model_on_one_part_after_the_other(tmp_path, name):
    days = Days()
    short = {"learning_starts": 5, "batch_size": 2, "sequence_length": 4, "burn_in_length": 0}
    settings = {**SETTINGS, "model_kwargs": short if name == "recurrent_sac" else {}}
    model = incremental_training(
        iter(chunks()), name, 25, model_settings=settings, callbacks=days, save_path=tmp_path / "models"
    )
    assert model.num_timesteps == 50
    assert days.first == ["2024-01-01", "2024-02-01"]
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"chunk_0_model.zip", "chunk_1_model.zip"}
    first = type(model).load(tmp_path / "models" / "chunk_0_model")
    assert first.num_timesteps == 25
    if name == "recurrent_sac":
        assert model.replay_buffer.pos == 50  # it learns from the first part too
        before, after = (parameters_to_vector(each.policy.parameters()).tolist() for each in (first, model))
        assert before != after


def test_an_existing_model_goes_on():
    model = DRLAgent(make_trading_env(chunks()[0])).get_model("a2c", **SETTINGS)
    model.learn(10)
    assert incremental_training(chunks(), model, 10, save_path=None) is model
    assert model.num_timesteps == 30


@pytest.mark.parametrize("wraps_itself", [True, False])
def test_normalization_goes_on(wraps_itself):
    def normalized(chunk):
        return VecNormalize(DummyVecEnv([lambda: make_trading_env(chunk)]))

    parts = chunks()
    model = DRLAgent(normalized(parts[0])).get_model("a2c", **SETTINGS)
    model.learn(10)
    before = model.get_vec_normalize_env().obs_rms.count
    incremental_training(
        parts[1:], model, 10, make_env=normalized if wraps_itself else make_trading_env, save_path=None
    )
    env = model.get_vec_normalize_env()
    assert env.obs_rms.count == pytest.approx(before + 11)  # ten steps and a reset
    assert env.get_attr("df")[0]["date"].iloc[0] == "2024-02-01"


@pytest.mark.parametrize("outer", [lambda env: env, VecMonitor], ids=["alone", "monitored"])
def test_a_saved_model_trades_as_the_one_in_memory(tmp_path, outer):
    def normalized(chunk):
        env = DummyVecEnv([lambda: make_trading_env(chunk, timespans=True)])
        return outer(VecNormalize(env, norm_obs_keys=["observation"]))

    short = {"learning_starts": 5, "batch_size": 2, "sequence_length": 4, "burn_in_length": 0}
    settings, parts = {**SETTINGS, "model_kwargs": short}, chunks()

    def account():
        return DRLAgent.DRL_prediction(model, make_trading_env(parts[0], timespans=True))[0]["account_value"].tolist()

    def account_from_file(number):
        env, path = make_trading_env(parts[0], timespans=True), tmp_path / f"chunk_{number}_model"
        return DRLAgent.DRL_prediction_load_from_file("recurrent_sac", env, path)

    model = incremental_training(
        parts[:1], "recurrent_sac", 25, make_env=normalized, model_settings=settings, save_path=tmp_path
    )
    first = account()
    assert account_from_file(0) == first
    incremental_training(parts, model, 25, make_env=normalized, save_path=tmp_path)
    assert account_from_file(1) == account()
    assert {path.name for path in tmp_path.iterdir()} == {
        f"chunk_{number}_model{rest}" for number in range(2) for rest in (".zip", "_vecnormalize.pkl")
    }


@pytest.mark.parametrize("settings", [{}, {"norm_reward": False}], ids=["all", "observations"])
def test_normalization_under_another_wrapper_goes_on(settings):
    def monitored(chunk):
        return VecMonitor(VecNormalize(DummyVecEnv([lambda: make_trading_env(chunk)]), **settings))

    parts = chunks()
    model = DRLAgent(monitored(parts[0])).get_model("a2c", **SETTINGS)
    model.learn(10)
    before = model.get_vec_normalize_env().obs_rms.count
    incremental_training(parts[1:], model, 10, make_env=monitored, save_path=None)
    assert model.get_vec_normalize_env().obs_rms.count == pytest.approx(before + 11)
    assert isinstance(model.get_vec_normalize_env().venv, DummyVecEnv)  # not normalized twice


def test_a_model_goes_on_from_its_files(tmp_path):
    def normalized(chunk):
        return VecNormalize(DummyVecEnv([lambda: make_trading_env(chunk)]))

    parts = chunks()
    model = incremental_training(parts[:1], "a2c", 10, make_env=normalized, model_settings=SETTINGS, save_path=tmp_path)
    count = model.get_vec_normalize_env().obs_rms.count
    env = DummyVecEnv([lambda: make_trading_env(parts[1])])
    loaded = A2C.load(
        tmp_path / "chunk_0_model", VecNormalize.load(str(tmp_path / "chunk_0_model_vecnormalize.pkl"), env)
    )
    incremental_training(parts[1:], loaded, 10, make_env=normalized, save_path=None)
    assert loaded.get_vec_normalize_env().obs_rms.count == pytest.approx(count + 11)


def test_without_parts():
    with pytest.raises(ValueError, match="several data frames of prices, got one: pass .prices."):
        incremental_training(synthetic_prices(2, 20))
    with pytest.raises(ValueError, match="no chunks"):
        incremental_training([], "ppo")
