"""What is to be known of a run before anything happened."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from velora_sb3.callbacks.run_description import describe_run


@dataclass(frozen=True)
class About:
    """A run, before anything happened.

    Attributes:
        algorithm: The class's name.
        env: The environment's id.
        env_name: The same in short, for the run's name.
        seed: The model's seed, None if it has none.
        total_timesteps: ``num_timesteps`` at which training is to end.
        config: Policy, settings, environments and callbacks, as JSON.
        versions: Versions by package, as JSON.
    """

    algorithm: str
    env: str
    env_name: str
    seed: int | None
    total_timesteps: int
    config: str
    versions: str


def describe(model: BaseAlgorithm, total_timesteps: int, callbacks: Iterable[BaseCallback]) -> About:
    """Everything about a run that starts now.

    Args:
        model: The model, with its environments.
        total_timesteps: ``num_timesteps`` at which training is to end.
        callbacks: The callbacks of this ``learn()``.

    Returns:
        The description.
    """
    run = describe_run(model, callbacks)
    versions = run.pop("versions")
    return About(
        algorithm=run["algorithm"]["name"],
        env=run["env"]["id"] or run["env"]["name"],
        env_name=run["env"]["name"],
        seed=run["seed"],
        total_timesteps=int(total_timesteps),
        config=json.dumps(run),
        versions=json.dumps(versions),
    )
