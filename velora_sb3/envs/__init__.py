"""Environments that ask for a memory, and wrappers that make them."""

from velora_sb3.envs.irregular_sampling import IrregularSampling
from velora_sb3.envs.mask_velocity import MaskVelocity
from velora_sb3.envs.register import register_envs
from velora_sb3.envs.time_delta_observation import TimeDeltaObservation

__all__ = ["IrregularSampling", "MaskVelocity", "TimeDeltaObservation", "register_envs"]
