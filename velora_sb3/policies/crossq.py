"""The liquid policy of CrossQ."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces
from sb3_contrib.crossq.policies import CrossQPolicy

from velora_sb3.policies.mixin import LiquidPolicyMixin


class LiquidCrossQPolicy(LiquidPolicyMixin, CrossQPolicy):
    """sb3-contrib's ``CrossQPolicy`` with a liquid features extractor, for CrossQ.

    Takes every argument of ``CrossQPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.

    Raises:
        ValueError: For Dict observations, because sb3-contrib's CrossQ concatenates observations and next
            observations as tensors; and for ``recurrent``.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Box, *args: Any, **kwargs: Any
    ) -> None:
        if "recurrent" in kwargs:
            raise ValueError(
                "CrossQ has no recurrent form: it normalizes over batches of independent transitions, and the steps "
                "of a window are not independent; use RecurrentSAC or RecurrentTQC"
            )
        if isinstance(observation_space, spaces.Dict):
            raise ValueError(
                "sb3-contrib's CrossQ does not support Dict observations: use SAC or TQC, or gymnasium's "
                "FlattenObservation"
            )
        super().__init__(observation_space, action_space, *args, **kwargs)
