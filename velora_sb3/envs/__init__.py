"""Environments that ask for a memory, and wrappers that make them."""

from velora_sb3.envs.mask_velocity import MaskVelocity
from velora_sb3.envs.register import register_envs

__all__ = ["MaskVelocity", "register_envs"]
