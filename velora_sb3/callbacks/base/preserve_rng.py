"""Side work that leaves training unchanged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm


@contextmanager
def preserve_rng(model: BaseAlgorithm) -> Iterator[None]:
    """Restore the global random generators and the policy's training mode on exit.

    Within the block a policy may act, and other environments may be created and stepped, without changing training. The
    training environments must not be stepped.
    """
    python, numpy, mode = random.getstate(), np.random.get_state(), model.policy.training
    cuda = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        model.policy.set_training_mode(mode)
