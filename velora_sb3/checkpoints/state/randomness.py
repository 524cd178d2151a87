"""The random states of training."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3.checkpoints.format.spaces import restore_space_random, space_random


def capture_randomness(model: BaseAlgorithm) -> dict[str, Any]:
    """The random states of Python, NumPy, torch and the model's spaces."""
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "action_space": space_random(model.action_space),
        "observation_space": space_random(model.observation_space),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_randomness(model: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Restore all random states."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"].cpu())
    restore_space_random(model.action_space, state["action_space"])
    restore_space_random(model.observation_space, state["observation_space"])
    for device, cuda in enumerate(state.get("cuda", [])):
        if device < torch.cuda.device_count():
            torch.cuda.set_rng_state(cuda.cpu(), device)
