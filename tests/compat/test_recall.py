"""A task that nothing but a memory solves: say at the end which of two cues stood at the beginning."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3 import RecurrentDQN, RecurrentSAC

STEPS = 6
SMALL = {"units": 16, "net_arch": [16]}


class Recall(gym.Env):
    """Shows a cue for one step, then nothing; the last action is worth 1 if it names the cue."""

    def __init__(self, discrete=True):
        self.observation_space = spaces.Box(-1, 1, (2,))
        self.action_space = spaces.Discrete(2) if discrete else spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.cue = 0, int(self.np_random.integers(2))
        return np.array([2 * self.cue - 1, 0], dtype=np.float32), {}

    def step(self, action):
        self.steps += 1
        ended, named = self.steps == STEPS, int(np.asarray(action).item() > 0)
        asked = self.steps == STEPS - 1
        return np.array([0, asked], dtype=np.float32), float(ended and named == self.cue), ended, False, {}


def share_recalled(model, discrete=True):
    return evaluate_policy(model, DummyVecEnv([lambda: Recall(discrete)]), 40, warn=False)[0]


@pytest.mark.parametrize(("algorithm", "recalled"), [(RecurrentPPO, True), (PPO, False)])
def test_recurrent_ppo_recalls_and_ppo_guesses(algorithm, recalled):
    settings = {"learning_rate": 3e-3, "n_steps": 32, "batch_size": 256, "n_epochs": 4, "seed": 0, "device": "cpu"}
    model = algorithm("LiquidPolicy", DummyVecEnv([Recall] * 8), policy_kwargs=SMALL, **settings).learn(4096)
    share = share_recalled(model)
    assert share == 1 if recalled else share < 0.8


def off_policy(algorithm, discrete, **more):
    frequency = {"train_freq": 4, "target_update_interval": 100, "exploration_fraction": 0.5} if discrete else {}
    small = {**SMALL, "readout_units": 16}
    settings = {"learning_rate": 3e-3, "batch_size": 32, "seed": 0, "device": "cpu", "policy_kwargs": small}
    return algorithm("LiquidPolicy", Recall(discrete), **{**settings, **frequency, **more})


def test_recurrent_dqn_recalls():
    assert share_recalled(off_policy(RecurrentDQN, discrete=True, sequence_length=STEPS).learn(1500)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "settings", "steps"),
    [
        (RecurrentDQN, {"burn_in_length": 0}, 4000),
        (RecurrentSAC, {"train_freq": 2, "gradient_steps": 1, "ent_coef": 0.02}, 2000),
    ],
)
def test_what_windows_are_too_short_for_is_recalled_from_stored_states_alone(algorithm, settings, steps):
    discrete = algorithm is RecurrentDQN

    def share(stored_state):
        model = off_policy(algorithm, discrete, sequence_length=2, stored_state=stored_state, **settings)
        return share_recalled(model.learn(steps), discrete)

    assert share(stored_state=True) == 1
    assert share(stored_state=False) < 0.8
