/* Whole sequences of a CfC (default, no_gate) and of an LRC in closed form; cfc_gates.py and lrc.py have the equations.
 *
 * Arrays are contiguous, time first: gates and their gradients (T, B, blocks * H), states and their gradients (T, B, H),
 * starts and timespans (T, B), the recurrent weights (blocks * H, H). A step multiplies some rows of the batch by the
 * weights of WIDTH units, all blocks at once, while the totals stay in registers. Rows do not depend on one another,
 * and a start selects the zero state, so that a NaN stays in its row and its episode.
 */
#include <stdint.h>
#include <stdlib.h>

#include "vectors.h"

enum { DEFAULT, NO_GATE, LRC };
enum { MOST_COLUMNS = 4, MOST_ROWS = 8 };

#if defined(__AVX512F__)
#define ROWS(columns) ((columns) == 4 ? 4 : 8)
#else
#define ROWS(columns) ((columns) == 4 ? 2 : 4)
#endif

typedef vector totals[MOST_ROWS][MOST_COLUMNS];

/* out[r][c] = sum over k of rows[r][k] * panel[k][c], in vectors. */
INLINE void multiply(const int count, const int columns, const float *const *rows, long length, const float *panel,
                     totals out) {
    totals total;
#pragma GCC unroll 8
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) total[r][c] = (vector){0};
    for (long k = 0; k < length; k++, panel += columns * WIDTH) {
        vector weights[MOST_COLUMNS];
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) weights[c] = load(panel + c * WIDTH);
#pragma GCC unroll 8
        for (int r = 0; r < count; r++) {
            vector factor = all(rows[r][k]);
#pragma GCC unroll 4
            for (int c = 0; c < columns; c++) total[r][c] += factor * weights[c];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) out[r][c] = total[r][c];
}

/* Multiplies as many of the remaining rows as fit into registers, and returns how many. */
static int multiply_some(int remaining, int columns, const float *const *rows, long length, const float *panel,
                         totals out) {
    int count = ROWS(columns);
    while (count > remaining) count /= 2;
#define CASE(R, C) \
    case 8 * C + R: multiply(R, C, rows, length, panel, out); break;
#define CASES(C) CASE(1, C) CASE(2, C) CASE(4, C)
    switch (8 * columns + count) {
        CASES(1) CASES(2) CASES(3) CASES(4)
        case 8 * 1 + 8: multiply(8, 1, rows, length, panel, out); break;
        case 8 * 2 + 8: multiply(8, 2, rows, length, panel, out); break;
        case 8 * 3 + 8: multiply(8, 3, rows, length, panel, out); break;
    }
    return count;
}

static float *allocate(size_t count) { return aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64); }

/* One panel for WIDTH units: panel[k][block][unit] = weight[block * size + unit][k]. Rows beyond the units are zero. */
static float *pack_units(const float *weight, int size, int blocks) {
    int panels = (size + WIDTH - 1) / WIDTH;
    float *packed = allocate((size_t)panels * size * blocks * WIDTH);
    if (!packed) return NULL;
    for (int p = 0; p < panels; p++)
        for (int b = 0; b < blocks; b++)
            for (int i = 0; i < WIDTH; i++) {
                int unit = p * WIDTH + i;
                float *to = packed + (size_t)p * size * blocks * WIDTH + b * WIDTH + i;
                const float *from = weight + ((size_t)b * size + unit) * size;
                for (int k = 0; k < size; k++) to[(size_t)k * blocks * WIDTH] = unit < size ? from[k] : 0.0f;
            }
    return packed;
}

/* Panels for the way back, of up to MOST_COLUMNS vectors: panel[k][column] = weight[k][column]. */
static float *pack_columns(const float *weight, int length, int size) {
    int vectors = (size + WIDTH - 1) / WIDTH;
    float *packed = allocate((size_t)vectors * length * WIDTH), *to = packed;
    if (!packed) return NULL;
    for (int first = 0; first < vectors; first += MOST_COLUMNS) {
        int end = first + MOST_COLUMNS < vectors ? first + MOST_COLUMNS : vectors;
        for (int k = 0; k < length; k++)
            for (int column = first * WIDTH; column < end * WIDTH; column++)
                *to++ = column < size ? weight[(size_t)k * size + column] : 0.0f;
    }
    return packed;
}

/* The pointwise part of a step for `count` units of a row, and what the way back needs in place of the products. */
INLINE void advance(int mode, int timed, const vector *products, float *gates, const float *hidden, float time,
                    float *state, int size, int count) {
    vector first = products[0] + load_some(gates, count);
    vector second = products[1] + load_some(gates + size, count);
    vector third = products[2] + load_some(gates + 2 * size, count);
    vector next;
    if (mode == LRC) {
        first = sigmoid(first);
        second = sigmoid(second);
        third = tangent(third);
        vector decay = exponential(-2.0f * time * first * second);
        next = third + decay * (load_some(hidden, count) - third);
    } else {
        if (timed) {
            vector slope = products[3] + load_some(gates + 3 * size, count);
            store_some(gates + 3 * size, slope, count);
            third += slope * (time - 1.0f);
        }
        first = tangent(first);
        second = tangent(second);
        third = sigmoid(third);
        next = mode == DEFAULT ? first + third * (second - first) : first + third * second;
    }
    store_some(gates, first, count);
    store_some(gates + size, second, count);
    store_some(gates + 2 * size, third, count);
    store_some(state, next, count);
}

int gated_forward(float *gates, const float *weight, const float *state, const uint8_t *starts, const float *timespans,
                  float *states, int steps, int batch, int size, int blocks, int mode) {
    float *packed = pack_units(weight, size, blocks);
    float *zeros = calloc(size, sizeof(float));
    const float **hidden = malloc(batch * sizeof(float *));
    int failed = !packed || !zeros || !hidden;
    for (int t = 0; t < steps && !failed; t++) {
        const float *before = t ? states + (size_t)(t - 1) * batch * size : state;
        for (int row = 0; row < batch; row++) {
            int fresh = !before || (starts && starts[(size_t)t * batch + row]);
            hidden[row] = fresh ? zeros : before + (size_t)row * size;
        }
        for (int unit = 0; unit < size; unit += WIDTH) {
            int count = size - unit < WIDTH ? size - unit : WIDTH;
            for (int row = 0; row < batch;) {
                totals products;
                int rows = multiply_some(batch - row, blocks, hidden + row, size, packed + (size_t)unit * size * blocks,
                                         products);
                for (int r = 0; r < rows; r++, row++) {
                    size_t place = (size_t)t * batch + row;
                    advance(mode, blocks == 4, products[r], gates + place * blocks * size + unit, hidden[row] + unit,
                            timespans ? timespans[place] : 1.0f, states + place * size + unit, size, count);
                }
            }
        }
    }
    free(packed);
    free(zeros);
    free(hidden);
    return failed;
}

/* The gradients of a step's products from that of its state, for `count` units of a row; returns that of the time.
 * `carried` turns into what flows to the state before the step, besides through the products. */
INLINE vector retreat(int mode, int timed, const float *grad_state, const float *gates, const float *before, float time,
                      float *grad_gates, float *carried, int size, int count) {
    vector grad = load_some(grad_state, count) + load_some(carried, count);
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

/* `grad_state` carries the gradient from step to step. */
int gated_backward(const float *grad_states, const float *gates, const float *weight, const float *before,
                   const uint8_t *starts, const float *timespans, float *grad_gates, float *grad_state,
                   float *grad_times, int steps, int batch, int size, int blocks, int mode) {
    int length = blocks * size;
    float *packed = pack_columns(weight, length, size);
    const float **rows = malloc(batch * sizeof(float *));
    int failed = !packed || !rows;
    memset(grad_state, 0, (size_t)batch * size * sizeof(float));
    for (int t = steps - 1; t >= 0 && !failed; t--) {
        for (int row = 0; row < batch; row++) {
            size_t place = (size_t)t * batch + row;
            rows[row] = grad_gates + place * length;
            float time = timespans ? timespans[place] : 1.0f, by_time = 0.0f;
            for (int unit = 0; unit < size; unit += WIDTH) {
                int count = size - unit < WIDTH ? size - unit : WIDTH;
                vector part = retreat(mode, blocks == 4, grad_states + place * size + unit, gates + place * length + unit,
                                      before + place * size + unit, time, grad_gates + place * length + unit,
                                      grad_state + (size_t)row * size + unit, size, count);
                if (grad_times)
                    for (int i = 0; i < count; i++) by_time += part[i];
            }
            if (grad_times) grad_times[place] = by_time;
        }
        const float *panel = packed;
        for (int first = 0; first < size; first += MOST_COLUMNS * WIDTH) {
            int columns = (size - first + WIDTH - 1) / WIDTH;
            columns = columns < MOST_COLUMNS ? columns : MOST_COLUMNS;
            for (int row = 0; row < batch;) {
                totals sums;
                int done = multiply_some(batch - row, columns, rows + row, length, panel, sums);
                for (int r = 0; r < done; r++, row++) {
                    int fresh = starts && starts[(size_t)t * batch + row];
                    for (int c = 0; c < columns; c++) {
                        int unit = first + c * WIDTH, count = size - unit < WIDTH ? size - unit : WIDTH;
                        float *to = grad_state + (size_t)row * size + unit;
                        store_some(to, fresh ? (vector){0} : load_some(to, count) + sums[r][c], count);
                    }
                }
            }
            panel += (size_t)length * columns * WIDTH;
        }
    }
    free(packed);
    free(rows);
    return failed;
}
