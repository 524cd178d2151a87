"""``SaveCheckpoints`` and what it writes."""
