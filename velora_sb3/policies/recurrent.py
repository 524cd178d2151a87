"""Where velora-sb3 0.1 kept RecurrentPPO's policies: SB3 unpickles a policy class by the name of its module."""

raise ImportError(
    "this file was saved by velora-sb3 0.1, and its liquid policy for RecurrentPPO or RecurrentMaskablePPO cannot be "
    "loaded by later versions: train the model again, or load it with velora-sb3 0.1"
)
