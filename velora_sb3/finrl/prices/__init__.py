"""Prices: loading, splitting, indicators, and synthetic ones."""
