"""The network between one observation and the cell."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from torch import nn

from velora_sb3.memory.frames import TIMESPANS_KEY, Observation, read_frames

SMALLEST_IMAGE = 36  # pixels of a side: NatureCNN's three layers have no output below


def make_encoder(
    space: spaces.Space[Any],
    encoder_class: type[BaseFeaturesExtractor] | None = None,
    encoder_kwargs: dict[str, Any] | None = None,
    normalized_image: bool = False,
) -> BaseFeaturesExtractor:
    """SB3's features extractor for one frame: ``NatureCNN`` for images, ``CombinedExtractor`` for a Dict.

    Images too small for ``NatureCNN`` are flattened.

    Args:
        space: The space of one frame.
        encoder_class: The user's own features extractor instead.
        encoder_kwargs: Its keyword arguments.
        normalized_image: Whether images come scaled to [0, 1] already.

    Returns:
        The features extractor.

    Raises:
        TypeError: If the features extractor lacks one of the arguments.
        ValueError: If a key of a Dict cannot be the name of a module.
    """
    if encoder_class is None:
        encoder_class = FlattenExtractor
        if isinstance(space, spaces.Dict):
            encoder_class = CombinedExtractor
            _check_keys(space)
            small = {key: sub for key, sub in space.spaces.items() if _is_image(sub, normalized_image) is False}
            vectors = {key: spaces.utils.flatten_space(sub) for key, sub in small.items()}
            space = spaces.Dict({**space.spaces, **vectors}) if small else space
        elif _is_image(space, normalized_image):
            encoder_class = NatureCNN
    arguments = dict(encoder_kwargs or {})
    if normalized_image and issubclass(encoder_class, NatureCNN | CombinedExtractor):
        arguments = {"normalized_image": True, **arguments}
    known = inspect.signature(encoder_class).parameters
    unknown = [name for name in arguments if name not in known]
    if unknown and not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        accepted = ", ".join(list(known)[1:]) or "none"
        raise TypeError(f"{encoder_class.__name__} has no argument {', '.join(unknown)}; it takes {accepted}")
    return encoder_class(space, **arguments)


def _check_keys(space: spaces.Dict) -> None:
    """Raise ``ValueError`` for a key that ``CombinedExtractor`` cannot give to a module of torch."""
    for key in space.spaces:
        if not isinstance(key, str) or not key or "." in key or hasattr(nn.ModuleDict(), key):
            raise ValueError(
                f"SB3 names a torch module after each key of a Dict observation, and none can be called {key!r}: "
                "rename the key, for example with gymnasium.wrappers.TransformObservation"
            )


def _is_image(space: spaces.Space[Any], normalized_image: bool) -> bool | None:
    """Whether an image is large enough for ``NatureCNN``; None for any other space."""
    if not isinstance(space, spaces.Box) or not is_image_space(space, normalized_image=normalized_image):
        return None
    return min(space.shape[1:]) >= SMALLEST_IMAGE


class TimedEncoder(BaseFeaturesExtractor):
    """The encoder alone, with the timespans (if any) as the last feature.

    For policies whose cells come after the features extractor: SB3 passes a single tensor between the two.

    Args:
        observation_space: The space that the policy sees.
        timespans_key: Key of the time since the last observation in a Dict observation.
        encoder_class: The user's own features extractor for one observation.
        encoder_kwargs: Its keyword arguments.
        normalized_image: Whether images come scaled to [0, 1] already.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        timespans_key: str = TIMESPANS_KEY,
        encoder_class: type[BaseFeaturesExtractor] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        normalized_image: bool = False,
    ) -> None:
        super().__init__(observation_space, features_dim=1)  # set below, once the encoder is built
        self.frames = frames = read_frames(observation_space, None, timespans_key, history=False)
        self.encoder = make_encoder(frames.space, encoder_class, encoder_kwargs, normalized_image)
        self.timed = frames.timespans_key is not None
        self._features_dim = int(self.encoder.features_dim) + int(self.timed)  # a numpy integer is none to torch

    def forward(self, observations: Observation) -> torch.Tensor:
        """Features of single observations.

        Args:
            observations: Preprocessed by SB3: ``(N, ...)`` or a dict of them.

        Returns:
            ``(N, features_dim)``, the timespan last if there is one.
        """
        frames, timespans = self.frames.split(observations)
        features: torch.Tensor = self.encoder(frames)
        return features if timespans is None else torch.cat([features, timespans.unsqueeze(-1)], dim=-1)
