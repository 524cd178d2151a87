"""Checks of ``model_config``, in which RLlib passes a user's settings and its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first

from velora_sb3._validation import check_integer, suggestion
from velora_sb3.memory import CellConfig

CELL_SETTINGS = tuple(field.name for field in fields(CellConfig))
MAX_SEQ_LEN = 20  # as in RLlib's DefaultModelConfig


def read_settings(model_config: Any, known: Iterable[str], from_rllib: Iterable[str]) -> dict[str, Any]:
    """A module's settings, with ``max_seq_len``.

    Args:
        model_config: What RLlib passes.
        known: The module's own settings.
        from_rllib: Keys that RLlib's algorithms add, whether the module uses them or not.

    Raises:
        ValueError: If a key is unknown, or ``max_seq_len`` is not a positive integer.
    """
    settings = {"max_seq_len": MAX_SEQ_LEN, **(model_config or {})}
    choices = sorted({"max_seq_len", *known})
    for name in settings:
        if name not in choices and name not in from_rllib:
            hint = suggestion(name, choices)
            raise ValueError(f"model_config has an unknown key {name!r}; {hint}choices: {', '.join(choices)}")
    settings["max_seq_len"] = check_integer("max_seq_len", settings["max_seq_len"])
    return settings


def check_actions(space: Any, *kinds: type) -> None:
    """Raise ``ValueError`` unless actions are of one of these kinds, and a Box has one dimension."""
    if not isinstance(space, kinds) or (isinstance(space, spaces.Box) and len(space.shape) != 1):
        names = {spaces.Discrete: "Discrete", spaces.Box: "a Box with one dimension"}
        raise ValueError(f"the action space must be {' or '.join(names[kind] for kind in kinds)}, got {space}")


def check_observations(space: Any) -> None:
    """Raise ``ValueError`` for a space that SB3's encoders cannot read, such as images with the channels last."""
    for part in space.spaces.values() if isinstance(space, spaces.Dict) else [space]:
        if not isinstance(part, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            raise ValueError(
                "the observation space must be a Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these, got "
                f"{space}: wrap the environment in gymnasium.wrappers.FlattenObservation"
            )
        if isinstance(part, spaces.Box) and is_image_space(part) and not is_image_space_channels_first(part):
            raise ValueError(
                f"images must have the channels first, got shape {part.shape}: wrap the environment in "
                "gymnasium.wrappers.TransformObservation with numpy.moveaxis(image, -1, 0)"
            )
