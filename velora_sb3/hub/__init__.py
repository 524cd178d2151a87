"""Trained models on the Hugging Face Hub, as checkpoints that hold no pickle."""

from velora_sb3.hub.client import HubError
from velora_sb3.hub.pull import load_from_hub, pull_from_hub
from velora_sb3.hub.push import push_to_hub

__all__ = ["HubError", "load_from_hub", "pull_from_hub", "push_to_hub"]
