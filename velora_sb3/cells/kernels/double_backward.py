"""Second derivatives of the kernels, whose hand-written backward passes have none of their own.

TRPO differentiates a gradient. While it builds the graph for that (``create_graph=True``), a kernel's backward pass
differentiates the plain form of its computation instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Tensors = Sequence[torch.Tensor | None]


def plain_gradients(
    compute: Callable[..., torch.Tensor], tensors: Tensors, grad_outputs: torch.Tensor
) -> list[torch.Tensor | None]:
    """Gradients that can be differentiated again.

    Args:
        compute: The plain form of the kernel, a function of the tensors.
        tensors: The kernel's arguments, with their graphs.
        grad_outputs: The gradient of its outputs.

    Returns:
        The gradient of each tensor; None where none is needed.
    """
    wanted = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
    with torch.enable_grad():
        outputs = compute(*tensors)
    gradients = iter(torch.autograd.grad(outputs, wanted, grad_outputs, create_graph=True, allow_unused=True))
    return [next(gradients) if tensor is not None and tensor.requires_grad else None for tensor in tensors]
