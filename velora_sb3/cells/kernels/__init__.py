"""Whole-sequence kernels: one autograd function each, twice differentiable."""
