"""The liquid policy of ARS."""

from __future__ import annotations

from typing import Any

from sb3_contrib.ars.policies import ARSPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from velora_sb3.policies.mixin import LiquidPolicyMixin


class LiquidARSPolicy(LiquidPolicyMixin, ARSPolicy):
    """sb3-contrib's ``ARSPolicy`` with a liquid features extractor, for ARS.

    Takes every argument of ``ARSPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`. ARS perturbs all
    parameters, but not a wiring's masks, which are buffers.
    """

    def _to_sb3(self, arguments: dict[str, Any]) -> dict[str, Any]:
        translated = super()._to_sb3(arguments)
        self._extractor_class = translated.pop("features_extractor_class")
        self._extractor_kwargs = translated.pop("features_extractor_kwargs")
        return translated

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The liquid extractor, in place of SB3's default."""
        extractor: BaseFeaturesExtractor = self._extractor_class(self.observation_space, **self._extractor_kwargs)
        return extractor
