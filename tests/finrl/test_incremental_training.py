import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
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


def test_without_parts():
    with pytest.raises(ValueError, match="no chunks"):
        incremental_training([], "ppo")
