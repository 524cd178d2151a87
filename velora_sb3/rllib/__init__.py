"""Our policies and callbacks in RLlib: recurrent RLModules, their weights in SB3, and hooks written once for both."""

from velora_sb3._optional import require

require("rllib", "velora_sb3.rllib")

from velora_sb3.rllib.actor_critic import LiquidRLModule  # noqa: E402
from velora_sb3.rllib.callbacks import as_rllib  # noqa: E402
from velora_sb3.rllib.convert import from_sb3, to_sb3  # noqa: E402
from velora_sb3.rllib.dqn import LiquidDQNModule  # noqa: E402

__all__ = ["LiquidDQNModule", "LiquidRLModule", "as_rllib", "from_sb3", "to_sb3"]
