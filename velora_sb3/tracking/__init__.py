"""Comet and W&B behind SB3's logger.

Nothing is imported here: the process that talks to a tracker's package imports from here, and has no use for torch.
"""
