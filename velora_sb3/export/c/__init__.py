"""A policy as C99 source: one function for each kind of layer, weights as constants."""
