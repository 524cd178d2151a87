import csv
import math

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import StopTrainingOnNoModelImprovement
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from tests.finrl.markets import frame, market, scaled
from velora_sb3.callbacks import EarlyStopping
from velora_sb3.finrl import DRLAgent, TradingEvalCallback, make_trading_env
from velora_sb3.finrl.performance import performance

CLOSES = [[10, 20], [11, 20], [9, 21], [12, 20]]


class AllIn(gym.ActionWrapper):
    """Whatever the agent wants, it buys five shares of each stock at every step."""

    def action(self, action):
        return np.full(2, 0.5001, dtype=np.float32)


def scripted(closes=CLOSES):
    return AllIn(make_trading_env(frame(closes), hmax=10, initial_amount=1000, cost_pct=0.0))


EXPECTED = performance([1000, 1005, 995, 1025], [150, 155, 150], 252)


def model(env=None, name="a2c", **settings):
    env = scripted() if env is None else env
    return DRLAgent(env).get_model(name, policy_kwargs={"units": 4}, verbose=0, seed=0, **settings)


def rows(tmp_path, learner, steps, callback):
    learner.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    DRLAgent.train_model(learner, "x", steps, callback)
    learner.logger.close()
    with (tmp_path / "log" / "progress.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["eval/mean_reward"]]


@pytest.mark.parametrize(
    "make", [lambda: scripted(), lambda: DummyVecEnv([scripted] * 3), lambda: SubprocVecEnv([scripted] * 2, "fork")]
)
@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
def test_figures_are_logged_with_the_evaluation(tmp_path, make):
    callback = TradingEvalCallback(make(), eval_freq=10, n_eval_episodes=3, verbose=0)
    (first, second) = rows(tmp_path, model(), 20, callback)
    callback.eval_env.close()
    for row, steps in ((first, 10), (second, 20)):
        assert int(row["time/total_timesteps"]) == steps
        assert {name: float(row[f"eval/{name}"]) for name in EXPECTED} == pytest.approx(EXPECTED)
    for figures, steps in zip(callback.figures, (10, 20), strict=True):
        assert figures == pytest.approx({"timesteps": steps, **EXPECTED})
    assert callback.sharpe_history == pytest.approx([EXPECTED["sharpe_ratio"]] * 2)
    assert callback.max_drawdown_history == pytest.approx([EXPECTED["max_drawdown"]] * 2)


def test_the_mean_over_episodes_that_differ(tmp_path):
    other = [[10, 20], [8, 20], [9, 21], [7, 20]]
    env = DummyVecEnv([scripted, lambda: scripted(other)])
    (row,) = rows(tmp_path, model(), 10, TradingEvalCallback(env, eval_freq=10, n_eval_episodes=2, verbose=0))
    single = performance([1000, 990, 1010, 965])["max_drawdown"]
    assert float(row["eval/max_drawdown"]) == pytest.approx((EXPECTED["max_drawdown"] + single) / 2)


def test_an_env_that_trades_in_its_last_step(tmp_path):
    class Short(gym.Wrapper):
        def step(self, action):
            observation, reward, _, truncated, info = self.env.step(action)
            return observation, reward, self.env.unwrapped.day == 3, truncated, info

    (row,) = rows(tmp_path, model(), 10, TradingEvalCallback(Short(scripted()), eval_freq=10, verbose=0))
    assert {name: float(row[f"eval/{name}"]) for name in EXPECTED} == pytest.approx(EXPECTED)


def test_without_trade_ratios_are_not_defined(tmp_path):
    flat = make_trading_env(frame(CLOSES), initial_amount=1)  # too poor for a single share
    callback = TradingEvalCallback(flat, eval_freq=10, verbose=0)
    (row,) = rows(tmp_path, model(), 10, callback)
    assert "eval/sharpe_ratio" not in row
    assert float(row["eval/final_account_value"]) == 1
    assert float(row["eval/turnover"]) == 0
    assert math.isnan(callback.sharpe_history[0])


def test_an_env_with_an_account_but_no_shares(tmp_path):
    class Account(gym.Env):
        observation_space, action_space = scripted().observation_space, scripted().action_space

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.asset_memory = [100.0]
            return self.observation_space.sample(), {}

        def step(self, action):
            self.asset_memory.append(self.asset_memory[-1] + 10)
            return self.observation_space.sample(), 0.0, len(self.asset_memory) == 4, False, {}

    env = Account()
    env.reset()
    (row,) = rows(tmp_path, model(), 10, TradingEvalCallback(env, eval_freq=10, verbose=0))
    assert float(row["eval/final_account_value"]) == 130
    assert "eval/turnover" not in row


def test_an_account_that_loses_everything_does_not_end_training(tmp_path):
    env = AllIn(make_trading_env(frame(CLOSES), hmax=10, initial_amount=0, cost_pct=0.0))
    callback = TradingEvalCallback(env, eval_freq=10, verbose=0)
    with pytest.warns(RuntimeWarning, match="no figures but the final account value: .*need positive") as warned:
        (first, second) = rows(tmp_path, model(), 20, callback)
    assert len([one for one in warned if "no figures" in str(one.message)]) == 1
    assert float(second["eval/final_account_value"]) == 0
    assert not first.get("eval/sharpe_ratio")


def test_other_environments_are_refused_when_training_starts():
    callback = TradingEvalCallback(gym.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="needs a trading environment: eval_env has no asset_memory"):
        DRLAgent.train_model(model(), "x", 10, callback)
    learner = model()
    with pytest.raises(ValueError, match="is the training environment"):
        DRLAgent.train_model(learner, "x", 10, TradingEvalCallback(learner.get_env()))
    with pytest.raises(ValueError, match="periods_per_year"):
        TradingEvalCallback(market(), periods_per_year=0)


def test_early_stopping_after_evaluations():
    stop = EarlyStopping(target=40 * 1e-4 - 1e-9, patience=2)
    callback = TradingEvalCallback(scripted(), eval_freq=10, n_eval_episodes=1, callback_after_eval=stop, verbose=0)
    learner = DRLAgent.train_model(model(), "x", 100, [callback])
    assert learner.num_timesteps == 20
    assert stop.stopped_early


def test_stopping_without_improvement(tmp_path):
    stop = StopTrainingOnNoModelImprovement(2, min_evals=1)
    callback = TradingEvalCallback(
        scripted(), eval_freq=10, callback_after_eval=stop, best_model_save_path=tmp_path, log_path=tmp_path, verbose=0
    )
    learner = DRLAgent.train_model(model(), "x", 200, callback)
    assert learner.num_timesteps < 100
    assert A2C.load(tmp_path / "best_model").num_timesteps == 10
    assert np.load(tmp_path / "evaluations.npz")["timesteps"][0] == 10


def test_a_recurrent_policy_under_normalization(tmp_path):
    def normalized():
        return VecNormalize(DummyVecEnv([lambda: market(60, timespans=True)]), norm_obs_keys=["observation"])

    train, trade = normalized(), normalized()
    trade.training = trade.norm_reward = False
    learner = model(train, "recurrent_ppo", model_kwargs={"n_steps": 20, "batch_size": 20})
    callback = TradingEvalCallback(trade, eval_freq=20, n_eval_episodes=1, verbose=0)
    rows(tmp_path, learner, 40, callback)
    account, _ = DRLAgent.DRL_prediction(learner, market(60, timespans=True))
    assert len(callback.figures) == 2
    assert callback.figures[0].keys() >= {"timesteps", "annual_return", "turnover"}
    assert len(account) == 60


def test_what_is_evaluated_is_what_prediction_shows():
    learner = model(scaled(), "recurrent_sac", model_kwargs={"learning_starts": 1000})  # it does not change
    callback = TradingEvalCallback(scaled(seed=4), eval_freq=10, n_eval_episodes=1, verbose=0)
    DRLAgent.train_model(learner, "x", 10, callback)
    account, _ = DRLAgent.DRL_prediction(learner, scaled(seed=4))
    assert callback.figures[0]["sharpe_ratio"] == pytest.approx(performance(account["account_value"])["sharpe_ratio"])


def test_its_state_can_be_restored():
    callback = TradingEvalCallback(scripted(), eval_freq=10, verbose=0)
    DRLAgent.train_model(model(), "x", 10, callback)
    other = TradingEvalCallback(scripted(), eval_freq=10, verbose=0)
    other.load_state_dict(callback.state_dict())
    assert other.figures == callback.figures != []


def test_figures_of_minutes_are_annualized_by_minutes():
    prices = frame(CLOSES)
    times = pd.date_range("2024-03-07 09:30", periods=len(CLOSES), freq="min").strftime("%Y-%m-%d %H:%M:%S")
    prices["date"] = np.repeat(times, 2)
    callback = TradingEvalCallback(make_trading_env(prices, hmax=1), eval_freq=10, n_eval_episodes=1, verbose=0)
    DRLAgent.train_model(model(), "x", 10, callback)
    assert callback.periods_per_year == len(CLOSES) * 252


def test_the_best_model_is_saved_with_its_normalization(tmp_path):
    def normalized():
        return VecNormalize(DummyVecEnv([lambda: market(60, hmax=5000)]), norm_reward=False)

    learner = model(normalized(), "ppo", model_kwargs={"n_steps": 20, "batch_size": 20})
    env = normalized()
    env.training = False
    callback = TradingEvalCallback(env, eval_freq=20, n_eval_episodes=1, best_model_save_path=tmp_path, verbose=0)
    DRLAgent.train_model(learner, "x", 20, callback)
    account = DRLAgent.DRL_prediction_load_from_file("ppo", market(60, hmax=5000), tmp_path / "best_model")
    assert account[-1] == callback.figures[0]["final_account_value"] != 1e6
    assert (tmp_path / "best_model_vecnormalize.pkl").exists()
