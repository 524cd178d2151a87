/* A step of a cell and the way back through its pointwise part, for some units of some rows. The equations are those of
 * cfc_gates.py, lrc.py, gru.py, lstm.py and mixed_memory.py.
 */
#pragma once

#include "panels.h"

/* What a step reads and writes of one row. */
typedef struct {
    const float *before; /* the state before it; of an LSTM its memory */
    float *gates;        /* what the way back needs; NULL if there is none */
    float *state, *memory;
    float time;
} place;

/* An LSTM's blocks, and what is added to its forget gate. */
typedef struct {
    int candidate, input, forget, output;
    float offset;
} order;

INLINE order order_of(int mode) { return mode == LSTM ? (order){0, 1, 2, 3, 1.0f} : (order){2, 0, 1, 3, 0.0f}; }

INLINE void advance_lstm(const layer *l, const vector *products, const place *p, int unit, int count) {
    const order at = order_of(l->mode);
    vector candidate = tangent(products[at.candidate]), input = sigmoid(products[at.input]);
    vector forget = sigmoid(products[at.forget] + at.offset), output = sigmoid(products[at.output]);
    vector memory = forget * load_some(p->before + unit, count) + input * candidate;
    store_some(p->memory + unit, memory, count);
    store_some(p->state + unit, output * tangent(memory), count);
    if (!p->gates) return;
    float *gates = p->gates + unit;
    store_some(gates + at.candidate * l->size, candidate, count);
    store_some(gates + at.input * l->size, input, count);
    store_some(gates + at.forget * l->size, forget, count);
    store_some(gates + at.output * l->size, output, count);
}

/* The pointwise part of a step for `count` units from `unit`. */
INLINE void advance(const layer *l, int timed, const vector *products, const place *p, int unit, int count) {
    if (l->mode == LSTM || l->mode == TORCH_LSTM) {
        advance_lstm(l, products, p, unit, count);
        return;
    }
    vector first = products[0], second = products[1], third = products[2], fourth = {0}, next;
    if (l->mode == LRC) {
        first = sigmoid(first);
        second = sigmoid(second);
        third = tangent(third);
        vector decay = exponential(-2.0f * p->time * first * second);
        next = third + decay * (load_some(p->before + unit, count) - third);
    } else if (l->mode == GRU) {
        first = sigmoid(first);
        second = sigmoid(second);
        fourth = tangent(third + first * products[3]);
        third = products[3];
        next = fourth + second * (load_some(p->before + unit, count) - fourth);
    } else {
        if (timed) {
            fourth = products[3];
            third += fourth * (p->time - 1.0f);
        }
        first = tangent(first);
        second = tangent(second);
        third = sigmoid(third);
        next = l->mode == DEFAULT ? first + third * (second - first) : first + third * second;
    }
    store_some(p->state + unit, next, count);
    if (!p->gates) return;
    float *gates = p->gates + unit;
    store_some(gates, first, count);
    store_some(gates + l->size, second, count);
    store_some(gates + 2 * l->size, third, count);
    if (l->blocks == 4) store_some(gates + 3 * l->size, fourth, count);
}

static float dot(const float *one, const float *other, int length) {
    vector total = {0};
    for (int k = 0; k < length; k += WIDTH) {
        int count = least(length - k, WIDTH);
        total += load_some(one + k, count) * load_some(other + k, count);
    }
    return sum(total);
}

/* A step of one row, with the weights as they are. */
static void step_alone(const layer *l, const float *hidden, const float *inputs, const place *p) {
    const int blocks = weight_blocks(l->blocks, l->mode);
    for (int unit = 0; unit < l->size; unit += WIDTH) {
        int count = least(l->size - unit, WIDTH);
        vector products[MOST_COLUMNS] = {0};
        for (int b = 0; b < blocks; b++)
            for (int i = 0; i < count; i++) {
                size_t row = (size_t)b * l->size + unit + i;
                float by_state = l->bias[row] + dot(l->weight_hh + row * l->size, hidden, l->size);
                float by_inputs = dot(l->weight_ih + row * l->features, inputs, l->features);
                if (l->mode == GRU && b == 2) {
                    products[3][i] = by_state;
                    products[2][i] = l->bias[row + l->size] + by_inputs;
                } else
                    products[b][i] = by_state + by_inputs;
            }
        advance(l, l->blocks == 4, products, p, unit, count);
    }
}

/* A step of every row: `hidden` and `inputs` are what the weights are multiplied by. */
static void step(const layer *l, int batch, const float *const *hidden, const float *const *inputs,
                 const place *places) {
    const float *panel = l->panels;
    const int blocks = weight_blocks(l->blocks, l->mode);
    if (!panel) {
        for (int row = 0; row < batch; row++) step_alone(l, hidden[row], inputs[row], places + row);
        return;
    }
    for (int unit = 0; unit < l->size; unit += WIDTH, panel += panel_size(l)) {
        int count = least(l->size - unit, WIDTH);
        for (int row = 0; row < batch;) {
            totals products;
            int rows = rows_at_once(batch - row, blocks);
            for (int r = 0; r < rows; r++)
                for (int b = 0; b < l->blocks; b++) products[r][b] = load(panel + b * WIDTH);
            const float *weights = panel + l->blocks * WIDTH;
            multiply_rows(rows, blocks, hidden + row, l->size, weights, products);
            for (int r = 0; r < rows && l->mode == GRU; r++) {
                vector by_state = products[r][2];
                products[r][2] = products[r][3]; /* the inputs' bias */
                products[r][3] = by_state;
            }
            multiply_rows(rows, blocks, inputs + row, l->features, weights + (size_t)l->size * blocks * WIDTH, products);
            for (int r = 0; r < rows; r++, row++) advance(l, l->blocks == 4, products[r], places + row, unit, count);
        }
    }
}

/* The gradients of a step's products from that of its state, for `count` units of a row; returns that of the time.
 * `carried` turns into what flows to the state before the step, besides through the products. */
INLINE vector retreat(int mode, int timed, vector grad, const float *gates, const float *before, float time,
                      float *grad_gates, float *carried, int size, int count) {
    vector first = load_some(gates, count);
    vector second = load_some(gates + size, count);
    vector third = load_some(gates + 2 * size, count);
    vector by_first, by_second, by_third, by_time, direct = {0};
    if (mode == LRC) {
        vector rate = 2.0f * first * second;
        vector decay = exponential(-rate * time);
        by_time = grad * (third - load_some(before, count)) * decay * rate;
        by_first = by_time * time * (1.0f - first);
        by_second = by_time * time * (1.0f - second);
        by_third = grad * (1.0f - decay) * (1.0f - third * third);
        direct = grad * decay;
    } else if (mode == GRU) {
        vector candidate = load_some(gates + 3 * size, count);
        vector by_inputs = grad * (1.0f - second) * (1.0f - candidate * candidate);
        store_some(grad_gates + 3 * size, by_inputs, count);
        by_first = by_inputs * third * first * (1.0f - first);
        by_second = grad * (load_some(before, count) - candidate) * second * (1.0f - second);
        by_third = by_inputs * first;
        by_time = (vector){0};
        direct = grad * second;
    } else {
        vector difference = mode == DEFAULT ? second - first : second;
        by_first = (mode == DEFAULT ? grad * (1.0f - third) : grad) * (1.0f - first * first);
        by_second = grad * third * (1.0f - second * second);
        by_third = grad * difference * third * (1.0f - third);
        by_time = by_third;
        if (timed) {
            by_time = by_third * load_some(gates + 3 * size, count);
            store_some(grad_gates + 3 * size, by_third * (time - 1.0f), count);
        }
    }
    store_some(grad_gates, by_first, count);
    store_some(grad_gates + size, by_second, count);
    store_some(grad_gates + 2 * size, by_third, count);
    store_some(carried, direct, count);
    return by_time;
}

/* The gradients of an LSTM's products from those of its output and of its memory after the step, which turns into that
 * of its memory before the step. */
INLINE void retreat_lstm(int mode, vector by_output, float *by_memory, const float *gates, const float *before,
                         const float *after, float *grad_gates, int size, int count) {
    const order at = order_of(mode);
    vector candidate = load_some(gates + at.candidate * size, count);
    vector input = load_some(gates + at.input * size, count);
    vector forget = load_some(gates + at.forget * size, count);
    vector output = load_some(gates + at.output * size, count);
    vector bounded = tangent(load_some(after, count));
    vector grad = load_some(by_memory, count) + by_output * output * (1.0f - bounded * bounded);
    store_some(grad_gates + at.candidate * size, grad * input * (1.0f - candidate * candidate), count);
    store_some(grad_gates + at.input * size, grad * candidate * input * (1.0f - input), count);
    store_some(grad_gates + at.forget * size, grad * load_some(before, count) * forget * (1.0f - forget), count);
    store_some(grad_gates + at.output * size, by_output * bounded * output * (1.0f - output), count);
    store_some(by_memory, grad * forget, count);
}
