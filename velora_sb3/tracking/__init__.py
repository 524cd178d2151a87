"""Comet and W&B behind SB3's logger."""
