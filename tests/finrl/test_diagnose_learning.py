import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from velora_sb3.finrl import DRLAgent, diagnose_learning, make_trading_env, synthetic_prices


class Follow(gym.Env):
    """The nearer the action is to the observation, the better."""

    def __init__(self):
        self.observation_space, self.action_space = (spaces.Box(-1, 1, (1,), np.float32) for _ in "oa")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.seen = 0, np.array([0.5], np.float32)
        return self.seen, {}

    def step(self, action):
        reward = -float(np.abs(action - self.seen).sum())
        self.steps += 1
        self.seen = np.array([(-1) ** self.steps * 0.5], np.float32)
        return self.seen, reward, self.steps == 8, False, {}


def acting(function, name="ppo", env=None, trained=True):
    """A model that acts by a function of the observation."""
    model = DRLAgent(env or Follow()).get_model(name, "MlpPolicy", verbose=0, seed=0)
    model.num_timesteps = 100 if trained else 0
    model.predict = lambda observation, *_, **__: (function(observation), None)
    return model


def test_a_model_that_has_learned(capsys):
    diagnosis = diagnose_learning(acting(lambda seen: seen), Follow(), 3)
    assert diagnosis.episode_rewards == pytest.approx([0, 0, 0])
    assert diagnosis.average_reward == pytest.approx(0)
    assert len(diagnosis.random_rewards) == 3
    assert max(diagnosis.random_rewards) < 0
    assert diagnosis.findings == []
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model:          mean return 0 (min 0, max 0)"
    assert lines[-1] == "no problems found"


@pytest.mark.parametrize(
    ("function", "finding"),
    [
        (lambda seen: -seen, "no better than random actions"),
        (lambda seen: np.full_like(seen, 0.1), "always takes the same action"),
        (lambda seen: np.sign(seen), "100% of the actions are at their limits"),
    ],
)
def test_findings(function, finding, capsys):
    diagnosis = diagnose_learning(acting(function), Follow(), 2, verbose=0)
    assert any(finding in each for each in diagnosis.findings)
    assert capsys.readouterr().out == ""


def test_weights_and_training():
    model = acting(lambda seen: seen, trained=False)
    with torch.no_grad():
        next(model.policy.parameters()).fill_(float("nan"))
    findings = diagnose_learning(model, Follow(), 1, verbose=0).findings
    assert "log_std is not finite: training diverged, lower the learning rate" in findings
    assert "the model has not been trained yet" in findings


@pytest.mark.parametrize("name", ["ppo", "sac", "recurrent_ppo"])
def test_a_model_that_has_diverged_where_its_actions_are_refused(name):
    env = make_trading_env(synthetic_prices(2, 6))
    model = DRLAgent(env).get_model(name, verbose=0, seed=0)
    with torch.no_grad():
        for weights in model.policy.parameters():
            weights.fill_(float("nan"))
    diagnosis = diagnose_learning(model, env, 2, verbose=0)
    assert np.isnan(diagnosis.episode_rewards).all()
    assert np.isfinite(diagnosis.random_rewards).all()
    assert "is not finite: training diverged" in diagnosis.findings[0]
    assert "the model has not been trained yet" in diagnosis.findings[1:]


def test_actions_that_are_not_finite():
    findings = diagnose_learning(acting(lambda seen: np.full_like(seen, np.nan)), Follow(), 1, verbose=0).findings
    assert "the model's actions are not finite: check the observations" in findings


def test_rewards_are_the_environments_own_under_normalization():
    inner = VecNormalize(DummyVecEnv([Follow, Follow]), norm_obs=False)
    env = VecNormalize(inner, norm_reward=False)
    diagnosis = diagnose_learning(acting(lambda seen: np.zeros_like(seen), env=env), env, 3, verbose=0)
    assert diagnosis.episode_rewards == pytest.approx([-4.0] * 3)


def test_a_recurrent_model_keeps_its_memory_and_random_states_stay():
    model = DRLAgent(Follow()).get_model("recurrent_sac", policy_kwargs={"units": 4}, verbose=0, seed=0)
    state, space = np.random.get_state()[1].tolist(), str(model.action_space.np_random.bit_generator.state)
    first = diagnose_learning(model, Follow(), 2, verbose=0)
    assert first.episode_rewards[0] == first.episode_rewards[1]
    assert first == diagnose_learning(model, Follow(), 2, verbose=0)
    assert np.random.get_state()[1].tolist() == state
    assert str(model.action_space.np_random.bit_generator.state) == space


def test_at_least_one_episode():
    with pytest.raises(ValueError, match="n_episodes"):
        diagnose_learning(acting(lambda seen: seen), Follow(), 0)
