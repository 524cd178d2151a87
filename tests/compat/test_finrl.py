"""The real FinRL: its agent with liquid policies, its environment beside ours. Runs with ``tox -e extras``."""

import sys
import types
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import DDPG
from stable_baselines3.common.callbacks import BaseCallback

import velora_sb3.finrl as ours
from velora_sb3 import LiquidPolicy, StatefulPredictor
from velora_sb3.callbacks import EarlyStopping, SaveCheckpoints

pytestmark = pytest.mark.skipif(find_spec("finrl") is None, reason="finrl is not installed; tox -e extras has it")

SMALL = {"units": 4}


@pytest.fixture(scope="module", autouse=True)
def light_import():
    """FinRL without the broker packages that ``import finrl`` needs."""
    ours.import_finrl()
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "finrl"]:
        del sys.modules[name]


@pytest.fixture
def theirs():
    from finrl.agents.stablebaselines3 import models
    from finrl.meta.env_stock_trading.env_stocktrading import StockTradingEnv

    return types.SimpleNamespace(Env=StockTradingEnv, Agent=models.DRLAgent)


def prices(tickers=3, days=40, seed=0):
    return ours.add_indicators(ours.synthetic_prices(tickers, days, seed))


def episode(env, actions):
    """Observations, rewards, ends, and the records before the next reset."""
    observations = [np.array(env.reset()[0], dtype=np.float64)]  # FinRL changes its list in the next step
    rewards, ends = [], []
    for action in actions:
        observation, reward, ended, _, _ = env.step(action)
        observations.append(np.array(observation, dtype=np.float64))
        rewards.append(reward)
        ends.append(ended)
    return np.array(observations), rewards, ends, env


@pytest.mark.parametrize("tickers", [1, 3])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"initial_amount": 3_000, "cost_pct": 0.05},  # cash runs out
        {"turbulence_threshold": 0.9, "initial_amount": 50_000},
        {"indicators": ["closed", "macd"]},
    ],
    ids=["rich", "poor", "turbulent", "closed"],
)
def test_both_environments_go_the_same_way(theirs, tickers, seed, settings):
    generator = np.random.default_rng(seed)
    frame = prices(tickers, seed=seed)
    frame["turbulence"] = np.repeat(generator.random(40), tickers)
    frame["closed"] = (generator.random(len(frame)) < 0.3).astype(float)
    actions = generator.uniform(-1, 1, (40, tickers)).astype(np.float32)
    first, second = (
        episode(ours.make_trading_env(frame, env_class=kind, **settings), actions)
        for kind in (ours.StockTradingEnv, theirs.Env)
    )
    np.testing.assert_allclose(first[0], second[0], rtol=1e-6)
    np.testing.assert_allclose(first[1], second[1], rtol=1e-6, atol=1e-9)
    assert first[2] == second[2] == [False] * 39 + [True]
    one, other = first[3], second[3]
    np.testing.assert_allclose(one.state, other.state, rtol=1e-12)
    np.testing.assert_allclose(one.asset_memory, other.asset_memory, rtol=1e-12)
    np.testing.assert_array_equal(one.actions_memory, other.actions_memory)
    assert (one.trades, one.date_memory) == (other.trades, other.date_memory)
    assert one.cost == pytest.approx(other.cost)
    assert one.trades > 0
    for name in ("save_asset_memory", "save_action_memory"):
        pd.testing.assert_frame_equal(getattr(one, name)(), getattr(other, name)(), check_dtype=False)
    assert (one.observation_space, one.action_space) == (other.observation_space, other.action_space)


def test_both_go_on_from_a_state_alike(theirs):
    frame, actions = prices(2), np.full((10, 2), 0.3, dtype=np.float32)
    state = episode(ours.make_trading_env(frame), actions)[3].state
    later = {"initial": False, "previous_state": state}
    ends = [
        episode(ours.make_trading_env(prices(2, seed=1), env_class=kind, **later), actions)[3]
        for kind in (ours.StockTradingEnv, theirs.Env)
    ]
    np.testing.assert_allclose(ends[0].asset_memory, ends[1].asset_memory)


@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.set_index")
def test_indicators_are_those_of_stockstats():
    from finrl.config import INDICATORS
    from finrl.meta.preprocessor.preprocessors import FeatureEngineer

    assert list(ours.INDICATORS) == INDICATORS
    raw = ours.synthetic_prices(2, 120)
    expected = FeatureEngineer(tech_indicator_list=INDICATORS).add_technical_indicator(raw)
    found = ours.add_indicators(raw)
    for name in INDICATORS:
        for ticker in ("STOCK1", "STOCK2"):
            one, other = (table.loc[table["tic"] == ticker, name].to_numpy() for table in (found, expected))
            np.testing.assert_allclose(one[1:], other[1:], rtol=1e-8, atol=1e-8, err_msg=name)


def test_data_split_is_finrls():
    from finrl.meta.preprocessor.preprocessors import data_split

    frame, dates = prices(), ("2020-01-10", "2020-02-10")
    pd.testing.assert_frame_equal(ours.data_split(frame, *dates), data_split(frame, *dates), check_index_type=False)


class Count(BaseCallback):
    steps = 0

    def _on_step(self):
        self.steps += 1
        return True


@pytest.mark.parametrize("policy", ["LiquidPolicy", LiquidPolicy])
@pytest.mark.parametrize("kind", ["ours", "finrl"])
def test_the_same_calls(theirs, kind, policy, tmp_path):
    """FinRL's script with a liquid policy, by FinRL's agent and by ours."""
    agent_class = theirs.Agent if kind == "finrl" else ours.DRLAgent
    env, _ = ours.make_trading_env(prices(), env_class=theirs.Env).get_sb_env()
    model_kwargs = {"action_noise": "ornstein_uhlenbeck", "buffer_size": 500, "batch_size": 4, "learning_starts": 5}
    agent = agent_class(env=env)
    model = agent.get_model(
        "ddpg", policy=policy, policy_kwargs=dict(SMALL), model_kwargs=model_kwargs, verbose=0, seed=0,
        tensorboard_log=str(tmp_path),
    )  # fmt: skip
    trained = agent_class.train_model(model=model, tb_log_name="ddpg", total_timesteps=20)
    assert isinstance(trained, DDPG)
    assert trained.num_timesteps == 20
    assert list(tmp_path.glob("ddpg_1/events.*"))
    assert (model_kwargs["action_noise"] == "ornstein_uhlenbeck") == (kind == "ours")
    account, actions = agent_class.DRL_prediction(trained, ours.make_trading_env(prices(seed=1), env_class=theirs.Env))
    assert (len(account), len(actions)) == (40, 39)


def test_callbacks_on_a_model_of_finrls_agent(theirs, tmp_path):
    """FinRL 0.3.7 takes no callbacks; SB3's ``learn``, which it calls, does."""
    env, _ = ours.make_trading_env(prices(2), env_class=theirs.Env).get_sb_env()
    model = theirs.Agent(env=env).get_model("a2c", policy="LiquidPolicy", policy_kwargs=dict(SMALL), verbose=0, seed=0)
    figures = ours.TradingEvalCallback(
        ours.make_trading_env(prices(2, seed=1), env_class=theirs.Env), eval_freq=60, n_eval_episodes=1, verbose=0
    )
    stop, count = EarlyStopping(target=-1e9, patience=2), Count()
    with SaveCheckpoints("finrl", root=tmp_path) as save:
        model.learn(200, callback=[figures, stop, save, count])
    assert stop.stopped_early
    assert count.steps == model.num_timesteps == 80  # two episodes of 40 steps
    assert figures.figures[0]["final_account_value"] > 0
    assert [Path(path).name.rpartition("_")[2] for path in save.saved] == ["final"]


class Scaled(gym.ObservationWrapper):
    """Numbers around 0, so that an untrained network reacts to them."""

    def observation(self, observation):
        return np.asarray(observation, dtype=np.float32) / np.r_[1e6, np.full(len(observation) - 1, 100)] - 1

    def get_sb_env(self):
        return ours.DaysElapsed.get_sb_env(self)

    @property
    def df(self):
        return self.unwrapped.df


@pytest.mark.parametrize("name", ["recurrent_sac", "recurrent_ppo"])
def test_finrls_prediction_with_a_predictor_remembers(theirs, name):
    """It throws the state away and asks again with nothing: a predictor keeps it."""

    def market():
        return Scaled(ours.make_trading_env(prices(2, seed=1), env_class=theirs.Env, hmax=5000))

    settings = {**SMALL, "mixed_memory": False}  # an untrained policy whose actions differ enough to trade
    model = ours.DRLAgent(market()).get_model(name, policy_kwargs=settings, verbose=0, seed=0)
    expected = ours.DRLAgent.DRL_prediction(model, market())
    assert expected[1].nunique().max() > 1
    found = theirs.Agent.DRL_prediction(StatefulPredictor(model), market())
    for one, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_finrls_prediction_sees_the_days(theirs):
    env = ours.make_trading_env(prices(2), env_class=theirs.Env, timespans=True)
    model = ours.DRLAgent(env).get_model("recurrent_ppo", policy_kwargs=dict(SMALL), verbose=0, seed=0)
    account, _ = theirs.Agent.DRL_prediction(StatefulPredictor(model), env)
    assert len(account) == 40
