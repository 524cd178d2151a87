"""Wrappers that hide velocities or make time irregular, and environments whose velocities are hidden."""

from velora_sb3.envs.irregular_sampling import IrregularSampling
from velora_sb3.envs.mask_velocity import MaskVelocity
from velora_sb3.envs.register import register_envs
from velora_sb3.envs.time_delta_observation import TimeDeltaObservation

__all__ = ["IrregularSampling", "MaskVelocity", "TimeDeltaObservation", "register_envs"]
