"""Where a kernel's plain form takes its place: the same computation in ordinary, differentiable operations.

- Second derivatives: TRPO differentiates a gradient, and a hand-written backward pass has no derivative of its own.
- Tracing, export, compilation, ``vmap``, batches of gradients and forward-mode differentiation, which cannot look into
  an autograd function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.autograd import forward_ad

Tensors = Sequence[torch.Tensor | None]


def is_tracing() -> bool:
    """Whether ``torch.jit.trace`` records operations; it warns of comparisons of shapes, which it cannot record."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def autocasts(tensor: torch.Tensor) -> bool:
    """Whether autocast is on for the tensor's device."""
    return torch._C._is_any_autocast_enabled() and not tensor.is_meta and torch.is_autocast_enabled(tensor.device.type)


def needs_plain_form() -> bool:
    """Whether PyTorch records or transforms operations, instead of only running them."""
    return (
        torch.compiler.is_compiling()  # or torch.export
        or torch._C._is_tracing()  # or the TorchScript exporter to ONNX
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack() > 0  # make_fx, or a fake tensor mode
    )


def needs_plain_gradients(*grads: torch.Tensor | None) -> bool:
    """Whether a backward pass is itself differentiated (``create_graph``), or gets a batch (``is_grads_batched``)."""
    return (
        torch.is_grad_enabled()
        or needs_plain_form()
        or any(grad is not None and torch._C._functorch.is_legacy_batchedtensor(grad) for grad in grads)
    )


def plain_gradients(
    compute: Callable[..., torch.Tensor], tensors: Tensors, grad_outputs: torch.Tensor
) -> list[torch.Tensor | None]:
    """Gradients by PyTorch's own operations, which can be differentiated again where the caller's are recorded.

    Args:
        compute: The plain form of the kernel, a function of the tensors.
        tensors: The kernel's arguments, with their graphs.
        grad_outputs: The gradient of its outputs.

    Returns:
        The gradient of each tensor; None where none is needed.
    """
    recorded = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, as one argument may come from another: a state from the same weights, one call earlier.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        outputs = compute(*views)
    wanted = [view for view in views if view is not None and view.requires_grad]
    gradients = iter(torch.autograd.grad(outputs, wanted, grad_outputs, create_graph=recorded, allow_unused=True))
    return [next(gradients) if view is not None and view.requires_grad else None for view in views]
