"""The base class of callbacks, and what they share."""
