r"""The pointwise part of a CfC step, in its three modes.

From the products :math:`f, g, s, a` (each ``H`` wide) and the time :math:`t` since the last step:

===========  =====================================================================================
mode         next state
===========  =====================================================================================
``default``  :math:`(1 - w) \tanh f + w \tanh g`, with :math:`w = \sigma(s + a (t - 1))`
``no_gate``  :math:`\tanh f + w \tanh g`
``pure``     :math:`A - A \, e^{-t (|w_\tau| + |f|)} f`, with parameters :math:`w_\tau` and :math:`A`
===========  =====================================================================================

The gate is the paper's :math:`\sigma(a t + b)` with :math:`s = a + b`: what the gate is after one time unit. Where no
timespans are given, :math:`t = 1` and the products :math:`a` are not computed at all.

References:
    Hasani et al. (2022), "Closed-form continuous-time neural networks", Nature Machine Intelligence,
    https://arxiv.org/abs/2106.13898, equations 2 (``pure``) and 10 (``default``).
"""

from __future__ import annotations

import torch

MODES = ("default", "no_gate", "pure")


def next_state(
    gates: torch.Tensor,  # (B, 3H); (B, 4H) with timespans; (B, H) in pure mode
    timespans: torch.Tensor | None,  # (B, 1)
    mode: str,
    w_tau: torch.Tensor | None,  # (H,)
    amplitude: torch.Tensor | None,  # (H,)
) -> torch.Tensor:
    """The pointwise part as plain, differentiable operations.

    Returns:
        The next state ``(B, H)``.
    """
    if mode == "pure":
        assert w_tau is not None and amplitude is not None
        rate = w_tau.abs() + gates.abs()
        decay = torch.exp(-rate if timespans is None else -timespans * rate)
        return amplitude - amplitude * decay * gates
    hidden = gates.shape[-1] // (3 if timespans is None else 4)
    first, second = torch.tanh(gates[:, : 2 * hidden]).chunk(2, dim=-1)
    weight = gates[:, 2 * hidden : 3 * hidden]
    if timespans is not None:
        weight = torch.addcmul(weight, gates[:, 3 * hidden :], timespans - 1)
    weight = torch.sigmoid(weight)
    if mode == "no_gate":
        return torch.addcmul(first, weight, second)
    return torch.lerp(first, second, weight)
