"""Recurrent models small enough for a test."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.noise import NormalActionNoise

from tests.compat.algorithms import BOX, DISCRETE, OBSERVATIONS, RandomEnv
from velora_sb3 import RecurrentDDPG, RecurrentDQN, RecurrentQRDQN, RecurrentSAC, RecurrentTD3, RecurrentTQC
from velora_sb3.memory import StepInput
from velora_sb3.memory.actions import encode_actions

CONTINUOUS = [RecurrentDDPG, RecurrentTD3, RecurrentSAC, RecurrentTQC]
DISCRETE_ACTIONS = [RecurrentDQN, RecurrentQRDQN]
ALGORITHMS = CONTINUOUS + DISCRETE_ACTIONS


def make_env(algorithm, observations="vector"):
    return RandomEnv(OBSERVATIONS[observations], BOX if algorithm in CONTINUOUS else DISCRETE)


def make_model(algorithm, env=None, policy_kwargs=None, **more):
    settings = {
        "sequence_length": 4,
        "burn_in_length": 0,
        "n_steps": 1,
        "batch_size": 3,
        "learning_starts": 10,
        "buffer_size": 300,
        "seed": 0,
        **more,
    }
    small = {"units": 8, "readout_units": 8, "net_arch": [8], **(policy_kwargs or {})}
    if algorithm is RecurrentQRDQN:
        small["n_quantiles"] = 5
    if algorithm in DISCRETE_ACTIONS:
        settings = {"train_freq": 2, **settings}
    env = make_env(algorithm) if env is None else env
    return algorithm("LiquidPolicy", env, policy_kwargs=small, device="cpu", **settings)


def noisy(algorithm):
    """Action noise for those that take it; DQN explores by itself."""
    return {"action_noise": NormalActionNoise(np.zeros(2), 0.5 * np.ones(2))} if algorithm in CONTINUOUS else {}


def acting_extractor(model):
    return getattr(model.policy, model.policy.acting_network).features_extractor


def memory_by_hand(model):
    """The memory that stepping through what the replay buffer stored gives, from its first step on."""
    buffer, extractor = model.replay_buffer, acting_extractor(model)
    state = torch.zeros(buffer.n_envs, extractor.cell.state_size)
    previous = torch.zeros(buffer.n_envs, extractor.previous_action_size)
    for index in range(buffer.size()):
        starting = index == 0 or torch.as_tensor(buffer.dones[index - 1]).bool().unsqueeze(-1)
        keep = 0.0 if starting is True else 1 - starting.float()
        step = StepInput(torch.as_tensor(buffer.observations[index]), state * keep, previous * keep)
        with torch.no_grad():
            extractor(step)
        state = step.next_state
        previous = encode_actions(torch.as_tensor(buffer.actions[index]), model.action_space)
    return state.numpy(), previous.numpy()
