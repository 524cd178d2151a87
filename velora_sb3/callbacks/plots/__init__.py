"""Callbacks that plot episodes while training runs."""
