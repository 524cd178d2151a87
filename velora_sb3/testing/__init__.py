"""Test your own callbacks on a scripted run."""

from velora_sb3.testing.run_callback import ScriptedRun, run_callback
from velora_sb3.testing.scripted_env import ScriptedEnv

__all__ = ["ScriptedEnv", "ScriptedRun", "run_callback"]
