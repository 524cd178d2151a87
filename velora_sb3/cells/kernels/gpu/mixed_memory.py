"""The loops of :mod:`velora_sb3.cells.kernels.mixed_memory` as Triton kernels; see :mod:`.gated` for their shape."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from velora_sb3.cells.kernels.gpu.gated import (
    add_product,
    blend,
    blend_backward,
    dense,
    launch,
    load_step,
    load_weight,
    tanh,
)


@triton.jit
def _forward(
    products,  # (T, B, 4H): in, the LSTM's products of the inputs; out, a, i, f, o
    gates,  # (T, B, blocks * H): in, the CfC's products of the inputs; out, the activations
    lstm,  # (4H, H)
    weights,  # (blocks * H, H)
    state,  # (B, 2H)
    starts,  # (T, B)
    timespans,  # (T, B)
    written,  # (T, B, H): the CfC's initial state
    states,  # (T, B, 2H)
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
    BLOCKS: tl.constexpr = 4 if TIMED else 3
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)[None, :]
    present = row < batch
    mask = present[:, None] & (column < UNITS)
    of_candidate = load_weight(lstm, 0, UNITS, WIDTH, True) if RESIDENT else lstm
    of_input = load_weight(lstm, 1, UNITS, WIDTH, True) if RESIDENT else lstm
    of_forget = load_weight(lstm, 2, UNITS, WIDTH, True) if RESIDENT else lstm
    of_output = load_weight(lstm, 3, UNITS, WIDTH, True) if RESIDENT else lstm
    of_first = load_weight(weights, 0, UNITS, WIDTH, True) if RESIDENT else weights
    of_second = load_weight(weights, 1, UNITS, WIDTH, True) if RESIDENT else weights
    of_third = load_weight(weights, 2, UNITS, WIDTH, True) if RESIDENT else weights
    of_slope = load_weight(weights, 3, UNITS, WIDTH, True) if RESIDENT and TIMED else weights
    hidden, memory = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS, WIDTH), tl.float32)
    if HAS_STATE:
        hidden = tl.load(state + row[:, None] * (2 * UNITS) + column, mask=mask, other=0.0)
        memory = tl.load(state + row[:, None] * (2 * UNITS) + UNITS + column, mask=mask, other=0.0)
    next_a, next_i, next_f, next_o = load_step(products + row[:, None] * (4 * UNITS) + column, mask, UNITS, True)
    for t in range(steps):
        step = t * batch + row
        place = gates + step[:, None] * (BLOCKS * UNITS) + column
        first, second, third, slope = load_step(place, mask, UNITS, TIMED)
        candidate, entry, forget, output = next_a, next_i, next_f, next_o
        place = products + step[:, None] * (4 * UNITS) + column
        later = mask & (step + batch < steps * batch)[:, None]
        next_a, next_i, next_f, next_o = load_step(place + batch * (4 * UNITS), later, UNITS, True)
        if HAS_STARTS:  # selected, as a product with 0 would keep a NaN
            start = tl.load(starts + step, mask=present, other=0)[:, None] != 0
            hidden, memory = tl.where(start, 0.0, hidden), tl.where(start, 0.0, memory)
        candidate = tanh(add_product(candidate, hidden, of_candidate, lstm, 0, UNITS, WIDTH, True, RESIDENT))
        entry = tl.sigmoid(add_product(entry, hidden, of_input, lstm, 1, UNITS, WIDTH, True, RESIDENT))
        forget = tl.sigmoid(add_product(forget + 1, hidden, of_forget, lstm, 2, UNITS, WIDTH, True, RESIDENT))
        output = tl.sigmoid(add_product(output, hidden, of_output, lstm, 3, UNITS, WIDTH, True, RESIDENT))
        memory = forget * memory + entry * candidate
        hidden = output * tanh(memory)
        tl.store(place, candidate, mask=mask)
        tl.store(place + UNITS, entry, mask=mask)
        tl.store(place + 2 * UNITS, forget, mask=mask)
        tl.store(place + 3 * UNITS, output, mask=mask)
        tl.store(written + step[:, None] * UNITS + column, hidden, mask=mask)

        time = tl.load(timespans + step, mask=present, other=1.0)[:, None] if TIMED else 1.0
        place = gates + step[:, None] * (BLOCKS * UNITS) + column
        first = add_product(first, hidden, of_first, weights, 0, UNITS, WIDTH, True, RESIDENT)
        second = add_product(second, hidden, of_second, weights, 1, UNITS, WIDTH, True, RESIDENT)
        third = add_product(third, hidden, of_third, weights, 2, UNITS, WIDTH, True, RESIDENT)
        if TIMED:
            slope = add_product(slope, hidden, of_slope, weights, 3, UNITS, WIDTH, True, RESIDENT)
            tl.store(place + 3 * UNITS, slope, mask=mask)
        first, second, third, hidden = blend(first, second, third, slope, hidden, time, MODE, TIMED)
        tl.store(place, first, mask=mask)
        tl.store(place + UNITS, second, mask=mask)
        tl.store(place + 2 * UNITS, third, mask=mask)
        place = states + step[:, None] * (2 * UNITS) + column
        tl.store(place, hidden, mask=mask)
        tl.store(place + UNITS, memory, mask=mask)


@triton.jit
def _backward(
    grad_states,  # (T, B, 2H)
    products,  # (T, B, 4H): a, i, f, o
    gates,  # (T, B, blocks * H): the activations
    lstm,  # (4H, H)
    weights,  # (blocks * H, H)
    states,  # (T, B, 2H)
    before,  # (T, B, 2H): the states before each step, after its reset
    starts,  # (T, B)
    timespans,  # (T, B)
    grad_products,  # (T, B, 4H)
    grad_gates,  # (T, B, blocks * H)
    grad_state,  # (B, 2H)
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
    BLOCKS: tl.constexpr = 4 if TIMED else 3
    row, column = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)[None, :]
    present = row < batch
    mask = present[:, None] & (column < UNITS)
    of_candidate = load_weight(lstm, 0, UNITS, WIDTH, False) if RESIDENT else lstm
    of_input = load_weight(lstm, 1, UNITS, WIDTH, False) if RESIDENT else lstm
    of_forget = load_weight(lstm, 2, UNITS, WIDTH, False) if RESIDENT else lstm
    of_output = load_weight(lstm, 3, UNITS, WIDTH, False) if RESIDENT else lstm
    of_first = load_weight(weights, 0, UNITS, WIDTH, False) if RESIDENT else weights
    of_second = load_weight(weights, 1, UNITS, WIDTH, False) if RESIDENT else weights
    of_third = load_weight(weights, 2, UNITS, WIDTH, False) if RESIDENT else weights
    of_slope = load_weight(weights, 3, UNITS, WIDTH, False) if RESIDENT and TIMED else weights
    by_hidden, by_memory = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS, WIDTH), tl.float32)
    for i in range(steps):
        step = (steps - 1 - i) * batch + row
        wide = step[:, None] * (2 * UNITS) + column
        by_hidden += tl.load(grad_states + wide, mask=mask, other=0.0)
        by_memory += tl.load(grad_states + wide + UNITS, mask=mask, other=0.0)

        time = tl.load(timespans + step, mask=present, other=1.0)[:, None] if TIMED else 1.0
        place = step[:, None] * (BLOCKS * UNITS) + column
        first, second, third, slope = load_step(gates + place, mask, UNITS, TIMED)
        by_first, by_second, by_third, by_time, by_written = blend_backward(
            by_hidden, first, second, third, slope, third, time, MODE
        )
        tl.store(grad_gates + place, by_first, mask=mask)
        tl.store(grad_gates + place + UNITS, by_second, mask=mask)
        tl.store(grad_gates + place + 2 * UNITS, by_third, mask=mask)
        by_written = add_product(by_written, by_first, of_first, weights, 0, UNITS, WIDTH, False, RESIDENT)
        by_written = add_product(by_written, by_second, of_second, weights, 1, UNITS, WIDTH, False, RESIDENT)
        by_written = add_product(by_written, by_third, of_third, weights, 2, UNITS, WIDTH, False, RESIDENT)
        if TIMED:
            by_slope = by_third * (time - 1)
            tl.store(grad_gates + place + 3 * UNITS, by_slope, mask=mask)
            by_written = add_product(by_written, by_slope, of_slope, weights, 3, UNITS, WIDTH, False, RESIDENT)
            tl.store(grad_times + step, tl.sum(tl.where(mask, by_time, 0.0), 1), mask=present)

        place = step[:, None] * (4 * UNITS) + column
        candidate, entry, forget, output = load_step(products + place, mask, UNITS, True)
        memory = tl.load(before + wide + UNITS, mask=mask, other=0.0)
        bounded = tanh(tl.load(states + wide + UNITS, mask=mask, other=0.0))
        by_output = by_written * bounded * output * (1 - output)
        by_memory += by_written * output * (1 - bounded * bounded)
        by_candidate = by_memory * entry * (1 - candidate * candidate)
        by_entry = by_memory * candidate * entry * (1 - entry)
        by_forget = by_memory * memory * forget * (1 - forget)
        by_memory *= forget
        tl.store(grad_products + place, by_candidate, mask=mask)
        tl.store(grad_products + place + UNITS, by_entry, mask=mask)
        tl.store(grad_products + place + 2 * UNITS, by_forget, mask=mask)
        tl.store(grad_products + place + 3 * UNITS, by_output, mask=mask)
        by_hidden = tl.zeros((ROWS, WIDTH), tl.float32)
        by_hidden = add_product(by_hidden, by_candidate, of_candidate, lstm, 0, UNITS, WIDTH, False, RESIDENT)
        by_hidden = add_product(by_hidden, by_entry, of_input, lstm, 1, UNITS, WIDTH, False, RESIDENT)
        by_hidden = add_product(by_hidden, by_forget, of_forget, lstm, 2, UNITS, WIDTH, False, RESIDENT)
        by_hidden = add_product(by_hidden, by_output, of_output, lstm, 3, UNITS, WIDTH, False, RESIDENT)
        if HAS_STARTS:
            start = tl.load(starts + step, mask=present, other=0)[:, None] != 0
            by_hidden, by_memory = tl.where(start, 0.0, by_hidden), tl.where(start, 0.0, by_memory)
    place = grad_state + row[:, None] * (2 * UNITS) + column
    tl.store(place, by_hidden, mask=mask)
    tl.store(place + UNITS, by_memory, mask=mask)


def forward(
    inputs: torch.Tensor,  # (T, B, F)
    lstm_ih: torch.Tensor,  # (4H, F)
    lstm_hh: torch.Tensor,  # (4H, H)
    lstm_bias: torch.Tensor,  # (4H,)
    weight_ih: torch.Tensor,  # (blocks * H, F)
    weight_hh: torch.Tensor,  # (blocks * H, H)
    bias: torch.Tensor,  # (blocks * H,)
    state: torch.Tensor | None,  # (B, 2H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The activations of LSTM and CfC, what the LSTM wrote ``(T, B, H)`` and the states ``(T, B, 2H)``."""
    steps, batch, features = inputs.shape
    units = weight_hh.shape[-1]
    flat = inputs.reshape(-1, features)
    products = torch.addmm(lstm_bias, flat, lstm_ih.t()).view(steps, batch, len(lstm_bias))
    gates = torch.addmm(bias, flat, weight_ih.t()).view(steps, batch, len(bias))
    written, states = gates.new_empty(steps, batch, units), gates.new_empty(steps, batch, 2 * units)
    given = (dense(tensor, gates) for tensor in (lstm_hh, weight_hh, state, starts, timespans))
    flags = {"HAS_STATE": state is not None, "HAS_STARTS": starts is not None, "TIMED": timespans is not None}
    blocks = 4 + len(bias) // units
    launch(_forward, [products, gates, *given, written, states], steps, batch, blocks, units, MODE=mode, **flags)
    return products, gates, written, states


def backward(
    grad_states: torch.Tensor,  # (T, B, 2H)
    products: torch.Tensor,  # (T, B, 4H)
    gates: torch.Tensor,  # (T, B, blocks * H)
    lstm: torch.Tensor,  # (4H, H)
    weights: torch.Tensor,  # (blocks * H, H)
    states: torch.Tensor,  # (T, B, 2H)
    before: torch.Tensor,  # (T, B, 2H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of both products, the first state and the timespans."""
    steps, batch, _ = gates.shape
    units = weights.shape[-1]
    grad_products, grad_gates = torch.empty_like(products), torch.empty_like(gates)
    grad_state = torch.empty_like(before[0])
    grad_times = None if timespans is None else timespans.new_empty(timespans.shape)
    arguments = [grad_states.contiguous(), products, gates, lstm.contiguous(), weights.contiguous(), states, before]
    arguments += [dense(starts, gates), dense(timespans, gates), grad_products, grad_gates, grad_state]
    arguments.append(dense(grad_times, gates))
    flags = {"HAS_STARTS": starts is not None, "TIMED": timespans is not None}
    launch(_backward, arguments, steps, batch, 4 + len(weights) // units, units, MODE=mode, **flags)
    return grad_products, grad_gates, grad_state, grad_times
