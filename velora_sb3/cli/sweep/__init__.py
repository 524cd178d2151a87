"""A sweep of ``velora-sb3 sweep``: its file, its trials, its table and pictures."""
