import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from tests.finrl.markets import market, scaled
from velora_sb3 import StatefulPredictor, load_checkpoint, save_checkpoint
from velora_sb3.callbacks import SaveCheckpoints
from velora_sb3.finrl import (
    DaysElapsed,
    DRLAgent,
    TradingEvalCallback,
    diagnose_learning,
    incremental_training,
    validate_training_setup,
)
from velora_sb3.finrl.normalization import save_statistics

ALGORITHMS = ["ppo", "sac", "recurrent_sac", "recurrent_ppo"]


def build(name, env=None, **settings):
    return DRLAgent(scaled() if env is None else env).get_model(
        name, policy_kwargs={"units": 4}, verbose=0, seed=4, **settings
    )


def by_hand(model, env, normalizer=None):
    """An episode with the state passed on, as SB3 asks for it."""
    observation, _ = env.reset()
    state, start, over = None, np.array([True]), False
    while not over:
        seen = observation if normalizer is None else normalizer.normalize_obs(observation)
        action, state = model.predict(seen, state, start, deterministic=True)
        observation, _, over, _, _ = env.step(action)
        start = np.array([False])
    return env.unwrapped.save_asset_memory(), env.unwrapped.save_action_memory()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_memory_is_kept_through_the_episode_and_not_beyond(name):
    model, expected = build(name), None
    account, actions = by_hand(model, scaled(seed=5))
    for given in (model, StatefulPredictor(model), model):
        found = DRLAgent.DRL_prediction(given, scaled(seed=5))
        pd.testing.assert_frame_equal(found[0], account)
        pd.testing.assert_frame_equal(found[1], actions)
        expected = found
    assert actions.nunique().max() > 1  # it reacts to what it sees
    assert list(expected[0].columns) == ["date", "account_value"]
    assert (len(expected[0]), len(expected[1])) == (12, 11)
    assert list(expected[1].columns) == ["STOCK1", "STOCK2"]


def test_memory_matters():
    model = build("recurrent_sac")
    _, actions = DRLAgent.DRL_prediction(model, scaled(seed=5))
    env = scaled(seed=5)
    observation, _ = env.reset()
    over = False
    while not over:
        action, _ = model.predict(observation, None, np.array([True]), deterministic=True)  # forgets at each step
        observation, _, over, _, _ = env.step(action)
    assert not env.unwrapped.save_action_memory().equals(actions)


def test_a_used_predictor_starts_from_an_empty_memory():
    model = build("recurrent_sac")
    predictor = StatefulPredictor(model)
    predictor.predict(scaled(seed=9).reset()[0])
    account, _ = DRLAgent.DRL_prediction(predictor, scaled(seed=5))
    pd.testing.assert_frame_equal(account, DRLAgent.DRL_prediction(model, scaled(seed=5))[0])


def test_random_actions_if_not_deterministic():
    model = build("sac")
    first, second = (DRLAgent.DRL_prediction(model, scaled(), deterministic=False)[1] for _ in range(2))
    assert not first.equals(second)


def normalized(env):
    return VecNormalize(DummyVecEnv([lambda: env]), norm_obs_keys=None)


def test_what_was_normalized_in_training_is_normalized_here():
    model = build("recurrent_sac", normalized(scaled()), model_kwargs={"learning_starts": 5, "batch_size": 2})
    model.learn(40)
    expected = by_hand(model, scaled(seed=5), model.get_vec_normalize_env())[1]
    statistics = model.get_vec_normalize_env().obs_rms.mean.copy()
    for env in (scaled(seed=5), normalized(scaled(seed=5))):
        pd.testing.assert_frame_equal(DRLAgent.DRL_prediction(model, env)[1], expected)
    np.testing.assert_array_equal(model.get_vec_normalize_env().obs_rms.mean, statistics)


@pytest.mark.filterwarnings("ignore:the running episode cannot be resumed")
def test_a_model_of_a_checkpoint_is_normalized_by_its_statistics(tmp_path):
    model = build("recurrent_ppo", normalized(scaled()), model_kwargs={"n_steps": 20, "batch_size": 20}).learn(20)
    expected = DRLAgent.DRL_prediction(model, scaled(seed=5))[1]
    save_checkpoint(model, tmp_path / "run")
    loaded = load_checkpoint(tmp_path / "run")
    pd.testing.assert_frame_equal(DRLAgent.DRL_prediction(loaded, scaled(seed=5))[1], expected)


def test_normalized_rewards_outside_do_not_hide_the_statistics_of_observations(tmp_path, monkeypatch):
    inner = normalized(scaled())
    model = build("ppo", VecNormalize(inner, norm_obs=False), model_kwargs={"n_steps": 20, "batch_size": 20}).learn(20)
    seen, predict = [], model.predict
    monkeypatch.setattr(model, "predict", lambda first, *rest: seen.append(first) or predict(first, *rest))
    DRLAgent.DRL_prediction(model, scaled(seed=5))
    first, _ = scaled(seed=5).reset()
    np.testing.assert_allclose(np.ravel(seen[0]), inner.normalize_obs(np.asarray(first)), rtol=1e-5)
    assert not np.allclose(np.ravel(seen[0]), first)
    save_statistics(model, tmp_path / "agent")
    assert VecNormalize.load(str(tmp_path / "agent_vecnormalize.pkl"), DummyVecEnv([scaled])).norm_obs


def test_statistics_that_are_missing_are_said_to_be(tmp_path):
    model = build("ppo", normalized(scaled()), model_kwargs={"n_steps": 20, "batch_size": 20}).learn(20)
    model.save(tmp_path / "agent")
    loaded = PPO.load(tmp_path / "agent")
    with pytest.warns(UserWarning, match="trained under VecNormalize, but its zip file does not contain the statis"):
        DRLAgent.DRL_prediction_load_from_file("ppo", scaled(), tmp_path / "agent")
    for given in (loaded, StatefulPredictor(loaded)):
        with pytest.warns(UserWarning, match="trained under VecNormalize"):
            DRLAgent.DRL_prediction(given, scaled())
    DRLAgent.DRL_prediction(loaded, normalized(scaled()))
    DRLAgent.DRL_prediction(StatefulPredictor(loaded, vec_normalize=False), scaled())


def test_days_elapsed_are_seen():
    def prediction(unit):
        env = DaysElapsed(scaled(20), unit)
        model = build("recurrent_ppo", env)
        return DRLAgent.DRL_prediction(model, env)[1]

    assert prediction(1.0).equals(prediction(1.0))
    assert not prediction(1.0).equals(prediction(5.0))


def test_environments_that_do_not_fit():
    import gymnasium as gym

    model = build("sac")
    with pytest.raises(ValueError, match="no save_asset_memory, save_action_memory.*needs a trading environment"):
        DRLAgent.DRL_prediction(model, gym.make("Pendulum-v1"))
    with pytest.raises(ValueError, match="DummyVecEnv of 2: pass the trading environment itself"):
        DRLAgent.DRL_prediction(model, DummyVecEnv([market, market]))
    with pytest.raises(ValueError, match="VecFrameStack of 1.*FrameStackObservation"):
        DRLAgent.DRL_prediction(model, VecFrameStack(DummyVecEnv([market]), 2))


def under_normalization(tickers, timespans):
    keys = ["observation"] if timespans else None
    env = DummyVecEnv([lambda: market(20, tickers, timespans=timespans)])
    return VecNormalize(env, norm_reward=False, norm_obs_keys=keys)


@pytest.mark.parametrize(
    ("trained", "played", "message"),
    [
        ((2, True), (2, False), "observation space is Box.*the model's is Dict.*pass timespans=True"),
        ((2, False), (2, True), "observation space is Dict.*the model's is Box.*pass timespans=False"),
        ((2, True), (1, True), "observation space .*needs the tickers and indicators"),
        ((2, False), (3, False), "observation space .*needs the tickers and indicators"),
    ],
)
def test_an_environment_that_does_not_fit_the_model(tmp_path, trained, played, message):
    model = build("ppo", under_normalization(*trained), model_kwargs={"n_steps": 20, "batch_size": 20})
    env = market(20, played[0], timespans=played[1])
    incremental_training([1], model, 20, make_env=lambda _: under_normalization(*trained), save_path=tmp_path)
    for use in (
        lambda: DRLAgent.DRL_prediction(model, env),
        lambda: DRLAgent.DRL_prediction(StatefulPredictor(model), under_normalization(*played)),
        lambda: DRLAgent.DRL_prediction_load_from_file("ppo", env, tmp_path / "chunk_0_model"),
        lambda: diagnose_learning(model, env),
        lambda: validate_training_setup(model, under_normalization(*played)),
        lambda: model.learn(20, TradingEvalCallback(under_normalization(*played))),
        lambda: incremental_training([1], model, 20, make_env=lambda _: under_normalization(*played), save_path=None),
    ):
        with pytest.raises(ValueError, match=f"the environment does not fit the model: its {message}"):
            use()


@pytest.mark.parametrize("name", ["sac", "recurrent_sac"])
def test_from_a_file(name, tmp_path):
    model = build(name)
    expected = DRLAgent.DRL_prediction(model, scaled(seed=5))[0]["account_value"].tolist()
    model.save(tmp_path / "agent")
    for path in (tmp_path / "agent", str(tmp_path / "agent.zip")):
        assert DRLAgent.DRL_prediction_load_from_file(name, scaled(seed=5), path) == expected


def test_from_a_folder_of_checkpoints(tmp_path):
    model = build("recurrent_ppo", normalized(scaled()), model_kwargs={"n_steps": 20, "batch_size": 20})
    with SaveCheckpoints("run", root=tmp_path) as save:
        model.learn(40, save)
    expected = DRLAgent.DRL_prediction(model, scaled(seed=5))[0]["account_value"].tolist()
    folder = save.saved[-1]
    assert DRLAgent.DRL_prediction_load_from_file("recurrent_ppo", scaled(seed=5), folder) == expected


def test_files_that_are_none(tmp_path):
    build("sac").save(tmp_path / "agent")
    with pytest.raises(ValueError, match="no model at .*other"):
        DRLAgent.DRL_prediction_load_from_file("sac", scaled(), tmp_path / "other")
    with pytest.raises(ValueError, match="no model at .*model.zip"):
        DRLAgent.DRL_prediction_load_from_file("sac", scaled(), tmp_path)
    with pytest.raises(ValueError, match="cannot be loaded as PPO"):
        DRLAgent.DRL_prediction_load_from_file("ppo", scaled(), tmp_path / "agent")
