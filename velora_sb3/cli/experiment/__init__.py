"""A run of ``velora-sb3 train``: its configuration, its parts, its directory."""
