"""Work beside training that training does not notice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm


@contextmanager
def preserve_rng(model: BaseAlgorithm) -> Iterator[None]:
    """Give back, at the end, the global random generators as they were, and the policy in its mode.

    So a policy may act, and an env may be made and stepped, in the middle of training. The environments of training
    must not be stepped, of course.
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
