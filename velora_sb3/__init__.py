"""Liquid neural networks with real memory, and callbacks, for Stable-Baselines3.

Importing the package makes ``"LiquidPolicy"`` known to every algorithm of SB3 and sb3-contrib.
"""

from velora_sb3.policies import LiquidTD3Policy, register

LiquidPolicy = LiquidTD3Policy

register()

__version__ = "0.1.0"

__all__ = ["LiquidPolicy", "__version__", "register"]
