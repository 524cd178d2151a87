"""Videos: writing, reading, and recording an episode."""
