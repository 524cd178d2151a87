"""Comet and W&B as callbacks."""
