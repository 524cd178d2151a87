r"""How fast the units of a liquid cell react, at given inputs and a given state.

=====================  =======================================================================================
cell                   time constant of unit :math:`i`
=====================  =======================================================================================
LTC                    :math:`\tau_i = c_i / B_i`, capacity over all conductances open now
LRC                    :math:`\tau_i = 1 / r_i`, one over the liquid rate
CfC, ``pure``          :math:`\tau_i = 1 / (|w_{\tau,i}| + |f_i|)`
CfC, other modes       :math:`\tau_i = t / \mathrm{softplus}(s_i + a_i (t - 1))`, the gate's effective time
=====================  =======================================================================================

The LTC's is that of its equation :math:`c_i \dot v_i = A_i - B_i v_i` with the conductances held: the liquid time
constant. The ``pure`` CfC holds the same decay in closed form. The other modes replace the decay
:math:`e^{-t / \tau}` by the gate :math:`1 - w = \sigma(-(s + a (t - 1)))`; the effective time is that of the decay
which goes as far within :math:`t`, so :math:`\tau = -t / \ln(1 - w)`, and
:math:`-\ln \sigma(-z) = \mathrm{softplus}(z)`. Where no timespans are given, :math:`t = 1`: times are in steps
then, else in the environment's unit.

References:
    Hasani et al. (2021), "Liquid Time-constant Networks", https://arxiv.org/abs/2006.04439, equations 2 and 3.
    Hasani et al. (2022), "Closed-form continuous-time neural networks", https://arxiv.org/abs/2106.13898, equations 2
    and 10. The effective time of the gate is this package's, from these two equations.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from velora_sb3.cells._checks import check_inputs, check_state, check_timespans
from velora_sb3.cells.cell import LiquidCell
from velora_sb3.cells.cfc_cell import CfCCell
from velora_sb3.cells.lrc_cell import LRCCell
from velora_sb3.cells.ltc_cell import LTCCell
from velora_sb3.cells.mixed_memory import MixedMemoryCell
from velora_sb3.cells.wired_cells import WiredCell


@torch.no_grad()
def time_constants(
    cell: LiquidCell,
    inputs: torch.Tensor,
    state: torch.Tensor | None = None,
    timespans: torch.Tensor | None = None,
) -> torch.Tensor:
    """The time constants of the units of a cell in a step; the module's docstring has the formulas.

    Args:
        cell: A CfC, LTC or LRC cell; with mixed memory, the time constants are those of the units behind the LSTM.
        inputs: ``(B, input_size)``.
        state: State before the step ``(B, state_size)``; None is the zero state.
        timespans: Time since the last step ``(B,)``, in the environment's time unit; None is 1.

    Returns:
        ``(B, U)``, in the unit of the timespans, in the order of the units in the state.

    Raises:
        ValueError: If a shape or a value is wrong.
        TypeError: If the cell is of another kind.
    """
    check_inputs(inputs, 2, cell.input_size)
    check_state(state, inputs, cell.state_size)
    check_timespans(timespans, (inputs.shape[0],))
    timed = None if timespans is None else timespans.to(inputs.dtype).unsqueeze(-1)
    return _time_constants(cell, inputs, state, timed)


def has_time_constants(cell: LiquidCell) -> bool:
    """Whether the cell is of a kind whose units have time constants."""
    inner = cell.cell if isinstance(cell, MixedMemoryCell) else cell
    return isinstance(inner, WiredCell | CfCCell | LRCCell | LTCCell)


def _time_constants(
    cell: LiquidCell, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
) -> torch.Tensor:
    if isinstance(cell, MixedMemoryCell):
        return _time_constants(cell.cell, inputs, cell.write(inputs, state, timespans)[0], timespans)
    if isinstance(cell, WiredCell):
        found = []
        for layer, own in zip(cell.layers, cell.split(state), strict=True):
            assert isinstance(layer, LiquidCell)
            found.append(_time_constants(layer, inputs, own, timespans))
            inputs, _ = layer.step(layer.prepare(timespans is not None), inputs, own, timespans)
        return torch.cat(found, dim=-1)
    if isinstance(cell, CfCCell):
        return _of_cfc(cell, inputs, state, timespans)
    if isinstance(cell, LTCCell):
        return cell.capacity_over_conductance(inputs, state)
    if isinstance(cell, LRCCell):
        return 1 / cell.rates(inputs, state)
    raise TypeError(f"time constants are defined for CfC, LTC and LRC cells, got {type(cell).__name__}")


def _of_cfc(
    cell: CfCCell, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
) -> torch.Tensor:
    products = cell.products(inputs, state, timespans is not None)
    hidden = cell.hidden_size
    if cell.w_tau is not None:
        return 1 / (cell.w_tau.abs() + products.abs())
    gate = products[:, 2 * hidden : 3 * hidden]
    if timespans is None:
        return 1 / functional.softplus(gate)
    return timespans / functional.softplus(gate + products[:, 3 * hidden :] * (timespans - 1))
