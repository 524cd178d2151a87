"""A CartPole whose process is killed in mid-run, for ``--gym-packages``."""

import os
import signal

import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv


class Dying(gym.Wrapper):
    """Kills the process at the step that DIE_AT names, counted over all episodes of one env."""

    def __init__(self, env):
        super().__init__(env)
        self.steps = 0

    def step(self, action):
        self.steps += 1
        if self.steps == int(os.environ.get("DIE_AT", "-1")):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.env.step(action)


if "DyingCartPole-v0" not in gym.registry:
    gym.register("DyingCartPole-v0", lambda render_mode=None: Dying(CartPoleEnv()), max_episode_steps=50)
