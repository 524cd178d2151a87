"""Callbacks that log gradients and parameters."""
