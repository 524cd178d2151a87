"""From an observation as the environment gives it to what SB3's features extractors take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, VecTransposeImage
from torch import nn

from velora_sb3._normalization import ObservationStatistics


class ObservationEntry(nn.Module):
    """One observation, or one entry of a Dict: normalized, channels first, one-hot, scaled.

    Args:
        name: Name of the input.
        key: Key of the entry; ``""`` for an observation that is not a Dict.
        raw: Its space as the environment has it.
        seen: Its space as the policy has it: of an image, channels may stand first there.
        statistics: Statistics that normalize it, if any.
        scales_images: Whether the policy divides images by 255.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self,
        name: str,
        key: str,
        raw: spaces.Space[Any],
        seen: spaces.Space[Any],
        statistics: ObservationStatistics | None,
        scales_images: bool,
    ) -> None:
        super().__init__()
        self.name, self.key, self.raw, self.seen = name, key, raw, seen
        self.shape: tuple[int, ...] = tuple(raw.shape or ())
        self.normalized = statistics is not None and key in statistics.mean
        self.clip = 0.0
        if statistics is not None and self.normalized:
            mean = statistics.mean[key]
            if mean.shape != self.shape:
                raise ValueError(
                    f"the VecNormalize has statistics of shape {mean.shape} for {name}, which has shape {self.shape}: "
                    "VecNormalize must be the outermost wrapper that changes observations, around VecFrameStack"
                )
            self.clip = statistics.clip
            deviation = np.sqrt(statistics.variance[key] + statistics.epsilon)
            self.register_buffer("mean", torch.as_tensor(mean))
            self.register_buffer("deviation", torch.as_tensor(deviation))
        self.transposed = self.shape != tuple(seen.shape or ())
        self.scaled = scales_images and is_image_space(seen)
        self.sizes: list[int] = []  # of the one-hot vectors
        if isinstance(seen, spaces.Discrete):
            self.sizes = [int(seen.n)]
        elif isinstance(seen, spaces.MultiDiscrete):
            self.sizes = [int(n) for n in seen.nvec]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""
        return np.dtype(self.raw.dtype)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """What the features extractor takes, float32.

        Args:
            values: ``(B, *shape)``.
        """
        if self.normalized:
            scaled = (values.double() - self.mean) / self.deviation
            values = torch.clamp(scaled, -self.clip, self.clip).float()
        if self.transposed:
            values = values.permute(0, 3, 1, 2)
        if self.sizes:
            numbers = values.reshape(values.shape[0], len(self.sizes))
            hot = [numbers[:, i : i + 1] == torch.arange(n) for i, n in enumerate(self.sizes)]
            return torch.cat(hot, dim=-1).float()
        values = values.float()
        return values / 255.0 if self.scaled else values


def raw_observation_space(model: Any, given: spaces.Space[Any] | None) -> spaces.Space[Any]:
    """The observation space before the wrappers that SB3 and ``VecNormalize`` put around environments.

    Args:
        model: The model.
        given: The environment's space, for a model without an environment; None for the one that the policy has.
    """
    space = given
    env: VecEnv | None = model.get_env()
    if space is None and env is not None:
        while isinstance(env, VecTransposeImage | VecNormalize):
            env = env.venv
        space = env.observation_space
    space = model.observation_space if space is None else space
    ours = model.observation_space
    known = set(ours.spaces) if isinstance(ours, spaces.Dict) else {""}
    if (set(space.spaces) if isinstance(space, spaces.Dict) else {""}) != known:
        raise ValueError(f"observation_space is {space}, but the model has {ours}: pass the space it was trained in")
    for (key, raw), (_, seen) in zip(_entries(space, ours), _entries(ours, ours), strict=True):
        shape, wanted = tuple(raw.shape or ()), tuple(seen.shape or ())
        if shape != wanted and not (len(shape) == 3 and (shape[2], shape[0], shape[1]) == wanted):
            where = f"[{key!r}]" if key else ""
            raise ValueError(
                f"observation_space{where} has shape {shape}, but the model has {wanted}: pass the space it was "
                "trained in"
            )
    return space


def make_entries(
    model: Any,
    raw: spaces.Space[Any],
    statistics: ObservationStatistics | None,
    timespans_key: str | None,
) -> list[ObservationEntry]:
    """One entry for each tensor of an observation, in the order of the policy's space; timespans come last."""
    seen = model.observation_space
    if statistics is not None:
        known = set(seen.spaces) if isinstance(seen, spaces.Dict) else {""}
        if unknown := set(statistics.mean) - known:
            raise ValueError(
                f"the VecNormalize has statistics for {sorted(unknown)}, but the model observes {sorted(known)}: "
                "pass the one that the model was trained under"
            )
    scales = bool(getattr(model.policy, "normalize_images", True))
    pairs = zip(_entries(raw, seen), _entries(seen, seen), strict=True)
    entries = [
        ObservationEntry(_name(key, timespans_key), key, one, policy_s, statistics, scales)
        for (key, one), (_, policy_s) in pairs
    ]
    return sorted(entries, key=lambda entry: entry.name == TIMESPANS)


TIMESPANS = "timespans"


def _name(key: str, timespans_key: str | None) -> str:
    if not key:
        return "observation"
    return TIMESPANS if key == timespans_key else f"observation.{key}"


def _entries(space: spaces.Space[Any], order: spaces.Space[Any]) -> list[tuple[str, spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        assert isinstance(order, spaces.Dict)
        return [(key, space[key]) for key in order.spaces]
    return [("", space)]
