r"""The loops of :mod:`velora_sb3.cells.kernels.cfc` and :mod:`velora_sb3.cells.kernels.lrc` as Triton kernels.

One program walks through all steps of ``ROWS`` rows of the batch. Its state stays on the chip; so do the recurrent
weights of all gates if they fit (``RESIDENT``), else one gate's at a time is loaded in every step. ``WIDTH`` is the
number of units, padded to a power of two; padding reads weights of zero.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from velora_sb3.cells.kernels import gpu

CROWD = 2048  # rows of a batch from which on multiprocessors get several programs


@triton.jit
def tanh(x):
    """What Triton itself has only for CUDA."""
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def load_weight(weights, block, UNITS: tl.constexpr, WIDTH: tl.constexpr, TRANSPOSED: tl.constexpr):
    """One gate's block of ``(blocks * H, H)``, padded: ``(WIDTH, WIDTH)``."""
    row, column = tl.arange(0, WIDTH)[:, None], tl.arange(0, WIDTH)[None, :]
    place = column * UNITS + row if TRANSPOSED else row * UNITS + column
    return tl.load(weights + block * UNITS * UNITS + place, mask=(row < UNITS) & (column < UNITS), other=0.0)


@triton.jit
def add_product(
    total,
    left,
    kept,
    weights,
    block,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    RESIDENT: tl.constexpr,
):
    """``total + left @ weight``, with the weight that is ``kept`` on the chip or loaded again."""
    weight = kept if RESIDENT else load_weight(weights, block, UNITS, WIDTH, TRANSPOSED)
    return tl.dot(left, weight, total, input_precision="tf32x3")


@triton.jit
def load_step(place, mask, UNITS: tl.constexpr, SLOPED: tl.constexpr):
    """The blocks of a step; loaded one step ahead, as the memory answers later than a step takes."""
    first, second = tl.load(place, mask=mask, other=0.0), tl.load(place + UNITS, mask=mask, other=0.0)
    third = tl.load(place + 2 * UNITS, mask=mask, other=0.0)
    slope = tl.load(place + 3 * UNITS, mask=mask, other=0.0) if SLOPED else third
    return first, second, third, slope


@triton.jit
def blend(first, second, third, slope, hidden, time, MODE: tl.constexpr, TIMED: tl.constexpr):
    """From the products to the activations of the gates and the next state."""
    if MODE == "lrc":
        first, second, third = tl.sigmoid(first), tl.sigmoid(second), tanh(third)
        state = third + tl.exp(-2 * first * second * time) * (hidden - third)
    else:
        if TIMED:
            third += slope * (time - 1)
        first, second, third = tanh(first), tanh(second), tl.sigmoid(third)
        state = first + third * (second - first if MODE == "default" else second)
    return first, second, third, state


@triton.jit
def blend_backward(grad, first, second, third, slope, hidden, time, MODE: tl.constexpr):
    """From the gradient of the next state those of the products, the time and the state's direct way."""
    if MODE == "lrc":
        rate = 2 * first * second
        decay = tl.exp(-rate * time)
        by_exponent = grad * (third - hidden) * decay * rate
        by_first = by_exponent * time * (1 - first)
        by_second = by_exponent * time * (1 - second)
        by_third = grad * (1 - decay) * (1 - third * third)
        by_time, direct = by_exponent, grad * decay
    else:
        by_first = grad * (1 - first * first)
        by_second = grad * third * (1 - second * second)
        by_third = grad * third * (1 - third) * (second - first if MODE == "default" else second)
        if MODE == "default":
            by_first *= 1 - third
        by_time, direct = by_third * slope, tl.zeros_like(grad)
    return by_first, by_second, by_third, by_time, direct


@triton.jit
def _forward(
    gates,  # (T, B, blocks * H): in, the products of the inputs; out, the activations
    weights,  # (blocks * H, H)
    state,  # (B, H)
    starts,  # (T, B)
    timespans,  # (T, B)
    states,  # (T, B, H)
    steps,
    batch,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    MODE: tl.constexpr,
    HAS_STATE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    TIMED: tl.constexpr,
    RESIDENT: tl.constexpr,
    ROWS: tl.constexpr,
):
    SLOPED: tl.constexpr = TIMED and MODE != "lrc"
    BLOCKS: tl.constexpr = 4 if SLOPED else 3
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)[None, :]
    present = row < batch
    mask = present[:, None] & (column < UNITS)
    of_first = load_weight(weights, 0, UNITS, WIDTH, True) if RESIDENT else weights
    of_second = load_weight(weights, 1, UNITS, WIDTH, True) if RESIDENT else weights
    of_third = load_weight(weights, 2, UNITS, WIDTH, True) if RESIDENT else weights
    of_slope = load_weight(weights, 3, UNITS, WIDTH, True) if RESIDENT and SLOPED else weights
    hidden = tl.zeros((ROWS, WIDTH), tl.float32)
    if HAS_STATE:
        hidden = tl.load(state + row[:, None] * UNITS + column, mask=mask, other=0.0)
    place = gates + row[:, None] * (BLOCKS * UNITS) + column
    next_first, next_second, next_third, next_slope = load_step(place, mask, UNITS, SLOPED)
    for t in range(steps):
        step = t * batch + row
        place = gates + step[:, None] * (BLOCKS * UNITS) + column
        first, second, third, slope = next_first, next_second, next_third, next_slope
        later = mask & (step + batch < steps * batch)[:, None]
        next_first, next_second, next_third, next_slope = load_step(
            place + batch * (BLOCKS * UNITS), later, UNITS, SLOPED
        )
        if HAS_STARTS:  # selected, as a product with 0 would keep a NaN
            start = tl.load(starts + step, mask=present, other=0)
            hidden = tl.where(start[:, None] != 0, 0.0, hidden)
        time = tl.load(timespans + step, mask=present, other=1.0)[:, None] if TIMED else 1.0
        first = add_product(first, hidden, of_first, weights, 0, UNITS, WIDTH, True, RESIDENT)
        second = add_product(second, hidden, of_second, weights, 1, UNITS, WIDTH, True, RESIDENT)
        third = add_product(third, hidden, of_third, weights, 2, UNITS, WIDTH, True, RESIDENT)
        if SLOPED:
            slope = add_product(slope, hidden, of_slope, weights, 3, UNITS, WIDTH, True, RESIDENT)
            tl.store(place + 3 * UNITS, slope, mask=mask)
        first, second, third, hidden = blend(first, second, third, slope, hidden, time, MODE, TIMED)
        tl.store(place, first, mask=mask)
        tl.store(place + UNITS, second, mask=mask)
        tl.store(place + 2 * UNITS, third, mask=mask)
        tl.store(states + step[:, None] * UNITS + column, hidden, mask=mask)


@triton.jit
def _backward(
    grad_states,  # (T, B, H)
    gates,  # (T, B, blocks * H): the activations
    weights,  # (blocks * H, H)
    before,  # (T, B, H): the state before each step, after its reset
    starts,  # (T, B)
    timespans,  # (T, B)
    grad_gates,  # (T, B, blocks * H)
    grad_state,  # (B, H)
    grad_times,  # (T, B)
    steps,
    batch,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    MODE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    TIMED: tl.constexpr,
    RESIDENT: tl.constexpr,
    ROWS: tl.constexpr,
):
    SLOPED: tl.constexpr = TIMED and MODE != "lrc"
    BLOCKS: tl.constexpr = 4 if SLOPED else 3
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)[None, :]
    present = row < batch
    mask = present[:, None] & (column < UNITS)
    of_first = load_weight(weights, 0, UNITS, WIDTH, False) if RESIDENT else weights
    of_second = load_weight(weights, 1, UNITS, WIDTH, False) if RESIDENT else weights
    of_third = load_weight(weights, 2, UNITS, WIDTH, False) if RESIDENT else weights
    of_slope = load_weight(weights, 3, UNITS, WIDTH, False) if RESIDENT and SLOPED else weights
    carried = tl.zeros((ROWS, WIDTH), tl.float32)
    last = (steps - 1) * batch + row
    next_first, next_second, next_third, next_slope = load_step(
        gates + last[:, None] * (BLOCKS * UNITS) + column, mask, UNITS, SLOPED
    )
    next_grad = tl.load(grad_states + last[:, None] * UNITS + column, mask=mask, other=0.0)
    for i in range(steps):
        step = (steps - 1 - i) * batch + row
        time = tl.load(timespans + step, mask=present, other=1.0)[:, None] if TIMED else 1.0
        narrow, place = step[:, None] * UNITS + column, step[:, None] * (BLOCKS * UNITS) + column
        first, second, third, slope = next_first, next_second, next_third, next_slope
        grad = carried + next_grad
        hidden = tl.load(before + narrow, mask=mask, other=0.0) if MODE == "lrc" else third
        earlier = mask & (step >= batch)[:, None]
        next_first, next_second, next_third, next_slope = load_step(
            gates + place - batch * (BLOCKS * UNITS), earlier, UNITS, SLOPED
        )
        next_grad = tl.load(grad_states + narrow - batch * UNITS, mask=earlier, other=0.0)
        by_first, by_second, by_third, by_time, carried = blend_backward(
            grad, first, second, third, slope, hidden, time, MODE
        )
        tl.store(grad_gates + place, by_first, mask=mask)
        tl.store(grad_gates + place + UNITS, by_second, mask=mask)
        tl.store(grad_gates + place + 2 * UNITS, by_third, mask=mask)
        carried = add_product(carried, by_first, of_first, weights, 0, UNITS, WIDTH, False, RESIDENT)
        carried = add_product(carried, by_second, of_second, weights, 1, UNITS, WIDTH, False, RESIDENT)
        carried = add_product(carried, by_third, of_third, weights, 2, UNITS, WIDTH, False, RESIDENT)
        if SLOPED:
            by_slope = by_third * (time - 1)
            tl.store(grad_gates + place + 3 * UNITS, by_slope, mask=mask)
            carried = add_product(carried, by_slope, of_slope, weights, 3, UNITS, WIDTH, False, RESIDENT)
        if TIMED:
            tl.store(grad_times + step, tl.sum(tl.where(mask, by_time, 0.0), 1), mask=present)
        if HAS_STARTS:
            start = tl.load(starts + step, mask=present, other=0)
            carried = tl.where(start[:, None] != 0, 0.0, carried)
    tl.store(grad_state + row[:, None] * UNITS + column, carried, mask=mask)


def dense(tensor: torch.Tensor | None, instead: torch.Tensor) -> torch.Tensor:
    """A tensor as kernels read it; where there is none they get another, which they do not read."""
    if tensor is None:
        return instead
    tensor = tensor.contiguous()
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor


def launch(
    kernel: Any, arguments: list[Any], steps: int, batch: int, blocks: int, units: int, **constants: Any
) -> None:
    """Run a kernel on all rows of the batch; ``blocks`` is the number of its recurrent weight matrices."""
    width, resident = gpu.padded(units), gpu.fits(arguments[0].device, blocks, units)
    # Eight warps share the loading of weights sooner, but leave no room for a second program on a multiprocessor.
    warps = 8 if width > 64 or (width == 64 and not resident and batch <= CROWD) else 4
    options = {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": True}  # more stages read weights in each step
    with torch.cuda.device_of(arguments[0]):  # Triton launches on the current device
        kernel[(-(-batch // gpu.ROWS),)](
            *arguments, steps, batch, UNITS=units, WIDTH=width, RESIDENT=resident, ROWS=gpu.ROWS, **constants, **options
        )


def forward(
    inputs: torch.Tensor,  # (T, B, F)
    weight_ih: torch.Tensor,  # (blocks * H, F)
    weight_hh: torch.Tensor,  # (blocks * H, H)
    bias: torch.Tensor,  # (blocks * H,)
    state: torch.Tensor | None,  # (B, H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The activations ``(T, B, blocks * H)`` and the states after every step ``(T, B, H)``."""
    steps, batch, features = inputs.shape
    units = weight_hh.shape[-1]
    gates = torch.addmm(bias, inputs.reshape(-1, features), weight_ih.t()).view(steps, batch, len(bias))
    states = gates.new_empty(steps, batch, units)
    arguments = [gates, *(dense(given, gates) for given in (weight_hh, state, starts, timespans)), states]
    flags = {"HAS_STATE": state is not None, "HAS_STARTS": starts is not None, "TIMED": timespans is not None}
    launch(_forward, arguments, steps, batch, len(bias) // units, units, MODE=mode, **flags)
    return gates, states


def backward(
    grad_states: torch.Tensor,  # (T, B, H)
    gates: torch.Tensor,  # (T, B, blocks * H)
    weights: torch.Tensor,  # (blocks * H, H)
    before: torch.Tensor,  # (T, B, H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of the products ``(T, B, blocks * H)``, the first state and the timespans."""
    steps, batch, units = before.shape
    grad_gates, grad_state = torch.empty_like(gates), before.new_empty(before.shape[1:])
    grad_times = None if timespans is None else timespans.new_empty(timespans.shape)
    arguments = [grad_states.contiguous(), gates, weights.contiguous(), before.contiguous()]
    arguments += [*(dense(given, gates) for given in (starts, timespans)), grad_gates, grad_state]
    arguments.append(dense(grad_times, gates))
    flags = {"HAS_STARTS": starts is not None, "TIMED": timespans is not None}
    launch(_backward, arguments, steps, batch, len(weights) // units, units, MODE=mode, **flags)
    return grad_gates, grad_state, grad_times
