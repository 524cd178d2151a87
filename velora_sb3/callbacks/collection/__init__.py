"""``CallbackCollection``: a list of callbacks that can change during training."""
