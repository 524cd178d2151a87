/* Whole sequences of a CfC (default, no_gate), of an LRC in closed form, of torch's GRU and LSTM, and of mixed memory,
 * an LSTM cell before a CfC. The equations are those of cfc_gates.py, lrc.py, gru.py, lstm.py and mixed_memory.py.
 *
 * Arrays are contiguous and time first: inputs (T, B, F), gates and their gradients (T, B, blocks * H), states and their
 * gradients (T, B, H), starts and timespans (T, B); weights are (blocks * H, F) and (blocks * H, H). A GRU has four
 * blocks of gates but three of weights, since its candidate keeps the products of inputs and state apart. A step
 * multiplies some rows of the batch by the weights of WIDTH units, all blocks at once, while the totals stay in
 * registers. Rows do not depend on one another, and a start selects the zero state: a NaN stays in its row and its
 * episode.
 */
#include <stdint.h>
#include <stdlib.h>

#include "vectors.h"

enum { DEFAULT, NO_GATE, LRC, GRU, LSTM, TORCH_LSTM }; /* LSTM: the first half of mixed memory */
enum { MOST_COLUMNS = 4, MOST_ROWS = 8 };

#if defined(__AVX512F__)
#define ROWS(columns) ((columns) == 4 ? 4 : 8)
#else
#define ROWS(columns) ((columns) == 4 ? 2 : 4)
#endif

typedef vector totals[MOST_ROWS][MOST_COLUMNS];

/* sums[r][c] += sum over k of rows[r][k] * panel[k][c], in vectors. */
INLINE void multiply(const int count, const int columns, const float *const *rows, long length, const float *panel,
                     totals sums) {
    totals total;
#pragma GCC unroll 8
    for (int r = 0; r < count; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++) total[r][c] = sums[r][c];
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
        for (int c = 0; c < columns; c++) sums[r][c] = total[r][c];
}

/* As many of the remaining rows as fit into registers. */
INLINE int rows_at_once(int remaining, int columns) {
    int count = ROWS(columns);
    while (count > remaining) count /= 2;
    return count;
}

static void multiply_rows(int count, int columns, const float *const *rows, long length, const float *panel,
                          totals sums) {
#define CASE(R, C) \
    case 8 * C + R - 1: multiply(R, C, rows, length, panel, sums); break;
#define CASES(R) CASE(R, 1) CASE(R, 2) CASE(R, 3) CASE(R, 4)
    switch (8 * columns + count - 1) {
        CASES(1) CASES(2) CASES(4) CASE(8, 1) CASE(8, 2) CASE(8, 3)
    }
}

static float *allocate(size_t count) { return aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64); }

static int least(int one, int other) { return one < other ? one : other; }

typedef struct {
    int features, size, blocks, mode;
    float *panels; /* for WIDTH units each: [bias, state, inputs][block][unit], zero beyond the last unit */
} layer;

INLINE int weight_blocks(int blocks, int mode) { return mode == GRU ? 3 : blocks; }

static size_t panel_size(const layer *l) {
    return (l->blocks + (size_t)(l->size + l->features) * weight_blocks(l->blocks, l->mode)) * WIDTH;
}

static float *pack_rows(const float *weight, int length, int blocks, const layer *l, int first, float *to) {
    for (int b = 0; b < blocks; b++)
        for (int i = 0; i < WIDTH; i++) {
            const float *from = weight + ((size_t)b * l->size + first + i) * length;
            for (int k = 0; k < length; k++)
                to[((size_t)k * blocks + b) * WIDTH + i] = first + i < l->size ? from[k] : 0.0f;
        }
    return to + (size_t)length * blocks * WIDTH;
}

static int pack(layer *l, const float *weight_ih, const float *weight_hh, const float *bias) {
    int panels = (l->size + WIDTH - 1) / WIDTH, blocks = weight_blocks(l->blocks, l->mode);
    l->panels = allocate(panels * panel_size(l));
    if (!l->panels) return 1;
    for (int p = 0; p < panels; p++) {
        float *to = l->panels + p * panel_size(l);
        to = pack_rows(bias, 1, l->blocks, l, p * WIDTH, to);
        to = pack_rows(weight_hh, l->size, blocks, l, p * WIDTH, to);
        pack_rows(weight_ih, l->features, blocks, l, p * WIDTH, to);
    }
    return 0;
}

/* Panels for the way back, of up to MOST_COLUMNS vectors: panel[k][column] = weight[k][column]. */
static float *pack_columns(const float *weight, int length, int size) {
    int vectors = (size + WIDTH - 1) / WIDTH;
    float *packed = allocate((size_t)vectors * length * WIDTH), *to = packed;
    if (!packed) return NULL;
    for (int first = 0; first < vectors; first += MOST_COLUMNS) {
        int end = least(first + MOST_COLUMNS, vectors);
        for (int k = 0; k < length; k++)
            for (int column = first * WIDTH; column < end * WIDTH; column++)
                *to++ = column < size ? weight[(size_t)k * size + column] : 0.0f;
    }
    return packed;
}

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

/* A step of every row: `hidden` and `inputs` are what the weights are multiplied by. */
static void step(const layer *l, int batch, const float *const *hidden, const float *const *inputs,
                 const place *places) {
    const float *panel = l->panels;
    const int blocks = weight_blocks(l->blocks, l->mode);
    for (int unit = 0; unit < l->size; unit += WIDTH, panel += panel_size(l)) {
        int count = least(l->size - unit, WIDTH);
        for (int row = 0; row < batch;) {
            totals products;
            int rows = rows_at_once(batch - row, l->blocks);
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

static float dot(const float *one, const float *other, int length) {
    vector total = {0};
    for (int k = 0; k < length; k += WIDTH) {
        int count = least(length - k, WIDTH);
        total += load_some(one + k, count) * load_some(other + k, count);
    }
    return sum(total);
}

/* A step of one row, with the weights as they are: to pack them would take longer than the step. */
static void step_alone(const layer *l, const float *weight_ih, const float *weight_hh, const float *bias,
                       const float *hidden, const float *inputs, const place *p) {
    for (int unit = 0; unit < l->size; unit += WIDTH) {
        int count = least(l->size - unit, WIDTH);
        vector products[MOST_COLUMNS] = {0};
        for (int b = 0; b < l->blocks; b++)
            for (int i = 0; i < count; i++) {
                size_t row = (size_t)b * l->size + unit + i;
                products[b][i] = bias[row] + dot(weight_hh + row * l->size, hidden, l->size) +
                                 dot(weight_ih + row * l->features, inputs, l->features);
            }
        advance(l, l->blocks == 4, products, p, unit, count);
    }
}

int gated_forward(const float *inputs, const float *weight_ih, const float *weight_hh, const float *bias,
                  const float *state, const uint8_t *starts, const float *timespans, float *gates, float *states,
                  int steps, int batch, int features, int size, int blocks, int mode) {
    layer l = {features, size, blocks, mode, NULL};
    float *zeros = calloc(size, sizeof(float));
    const float **rows = malloc(2 * batch * sizeof(float *)), **hidden = rows, **seen = rows + batch;
    place *places = malloc(batch * sizeof(place));
    int alone = batch * steps == 1 && mode != GRU;
    int failed = (!alone && pack(&l, weight_ih, weight_hh, bias)) || !zeros || !rows || !places;
    for (int t = 0; t < steps && !failed; t++) {
        for (int row = 0; row < batch; row++) {
            size_t at = (size_t)t * batch + row;
            const float *before = t ? states + (at - batch) * size : state ? state + (size_t)row * size : zeros;
            hidden[row] = starts && starts[at] ? zeros : before;
            seen[row] = inputs + at * features;
            places[row] = (place){hidden[row], gates ? gates + at * blocks * size : NULL, states + at * size, NULL,
                                  timespans ? timespans[at] : 1.0f};
        }
        if (alone)
            step_alone(&l, weight_ih, weight_hh, bias, hidden[0], seen[0], places);
        else
            step(&l, batch, hidden, seen, places);
    }
    free(l.panels);
    free(zeros);
    free(rows);
    free(places);
    return failed;
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

/* Adds the products of the rows by the weights to what is carried, and forgets it where an episode starts. */
static void flow(const float *const *rows, int batch, int length, int size, const float *panel, const uint8_t *starts,
                 float *carried, int stride) {
    for (int first = 0; first < size; first += MOST_COLUMNS * WIDTH) {
        int columns = least((size - first + WIDTH - 1) / WIDTH, MOST_COLUMNS);
        for (int row = 0; row < batch;) {
            totals sums = {0};
            int count = rows_at_once(batch - row, columns);
            multiply_rows(count, columns, rows + row, length, panel, sums);
            for (int r = 0; r < count; r++, row++)
                for (int c = 0; c < columns; c++) {
                    int unit = first + c * WIDTH, some = least(size - unit, WIDTH);
                    float *to = carried + (size_t)row * stride + unit;
                    vector total = load_some(to, some) + sums[r][c];
                    store_some(to, starts && starts[row] ? (vector){0} : total, some);
                }
        }
        panel += (size_t)length * columns * WIDTH;
    }
}

/* `grad_state` carries the gradient from step to step; rows of `before` are `stride` apart. */
int gated_backward(const float *grad_states, const float *gates, const float *weight_hh, const float *before,
                   const uint8_t *starts, const float *timespans, float *grad_gates, float *grad_state,
                   float *grad_times, int steps, int batch, int size, int blocks, int mode, int stride) {
    int length = blocks * size, products = weight_blocks(blocks, mode) * size;
    float *packed = pack_columns(weight_hh, products, size);
    const float **rows = malloc(batch * sizeof(float *));
    int failed = !packed || !rows;
    memset(grad_state, 0, (size_t)batch * size * sizeof(float));
    for (int t = steps - 1; t >= 0 && !failed; t--) {
        for (int row = 0; row < batch; row++) {
            size_t at = (size_t)t * batch + row;
            float *to = grad_gates + at * length, *carried = grad_state + (size_t)row * size, by_time = 0.0f;
            float time = timespans ? timespans[at] : 1.0f;
            rows[row] = to;
            for (int unit = 0; unit < size; unit += WIDTH) {
                int count = least(size - unit, WIDTH);
                vector grad = load_some(grad_states + at * size + unit, count) + load_some(carried + unit, count);
                vector part = retreat(mode, blocks == 4, grad, gates + at * length + unit, before + at * stride + unit,
                                      time, to + unit, carried + unit, size, count);
                if (grad_times)
                    for (int i = 0; i < count; i++) by_time += part[i];
            }
            if (grad_times) grad_times[at] = by_time;
        }
        flow(rows, batch, products, size, packed, starts ? starts + (size_t)t * batch : NULL, grad_state, size);
    }
    free(packed);
    free(rows);
    return failed;
}

/* States are (T, B, 2H), the CfC's and then the LSTM's memory; `written` is what the CfC starts from (T, B, H). */
int mixed_memory_forward(const float *inputs, const float *lstm_ih, const float *lstm_hh, const float *lstm_bias,
                         const float *weight_ih, const float *weight_hh, const float *bias, const float *state,
                         const uint8_t *starts, const float *timespans, float *products, float *gates, float *written,
                         float *states, int steps, int batch, int features, int size, int blocks, int mode) {
    layer lstm = {features, size, 4, LSTM, NULL}, cfc = {features, size, blocks, mode, NULL};
    float *zeros = calloc(2 * size, sizeof(float));
    const float **rows = malloc(3 * batch * sizeof(float *)), **hidden = rows, **seen = rows + batch;
    const float **start = rows + 2 * batch;
    place *places = malloc(2 * batch * sizeof(place)), *cfc_places = places + batch;
    int failed = pack(&lstm, lstm_ih, lstm_hh, lstm_bias) | pack(&cfc, weight_ih, weight_hh, bias);
    failed = failed || !zeros || !rows || !places;
    for (int t = 0; t < steps && !failed; t++) {
        for (int row = 0; row < batch; row++) {
            size_t at = (size_t)t * batch + row;
            const float *before = t ? states + (at - batch) * 2 * size : state ? state + (size_t)row * 2 * size : zeros;
            float *after = states + at * 2 * size, *between = written + at * size;
            hidden[row] = starts && starts[at] ? zeros : before;
            seen[row] = inputs + at * features;
            start[row] = between;
            places[row] = (place){hidden[row] + size, products + at * 4 * size, between, after + size, 1.0f};
            cfc_places[row] = (place){NULL, gates + at * blocks * size, after, NULL, timespans ? timespans[at] : 1.0f};
        }
        step(&lstm, batch, hidden, seen, places);
        step(&cfc, batch, start, seen, cfc_places);
    }
    free(lstm.panels);
    free(cfc.panels);
    free(zeros);
    free(rows);
    free(places);
    return failed;
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

int mixed_memory_backward(const float *grad_states, const float *products, const float *gates, const float *lstm_hh,
                          const float *weight_hh, const float *states, const float *before, const uint8_t *starts,
                          const float *timespans, float *grad_products, float *grad_gates, float *grad_state,
                          float *grad_times, int steps, int batch, int size, int blocks, int mode) {
    int length = blocks * size;
    float *packed = pack_columns(weight_hh, length, size), *lstm_packed = pack_columns(lstm_hh, 4 * size, size);
    float *through = allocate((size_t)batch * size); /* to what the LSTM wrote */
    const float **rows = malloc(2 * batch * sizeof(float *)), **lstm_rows = rows + batch;
    int failed = !packed || !lstm_packed || !through || !rows;
    memset(grad_state, 0, 2 * (size_t)batch * size * sizeof(float));
    for (int t = steps - 1; t >= 0 && !failed; t--) {
        size_t first = (size_t)t * batch;
        for (int row = 0; row < batch; row++) {
            size_t at = first + row;
            float *carried = grad_state + 2 * (size_t)row * size, by_time = 0.0f;
            rows[row] = grad_gates + at * length;
            lstm_rows[row] = grad_products + at * 4 * size;
            for (int unit = 0; unit < size; unit += WIDTH) {
                int count = least(size - unit, WIDTH);
                vector grad = load_some(grad_states + at * 2 * size + unit, count) + load_some(carried + unit, count);
                vector part = retreat(mode, blocks == 4, grad, gates + at * length + unit, NULL,
                                      timespans ? timespans[at] : 1.0f, grad_gates + at * length + unit,
                                      carried + unit, size, count);
                store_some(through + (size_t)row * size + unit, (vector){0}, count);
                float *by_memory = carried + size + unit;
                vector later = load_some(by_memory, count);
                store_some(by_memory, later + load_some(grad_states + (at * 2 + 1) * size + unit, count), count);
                if (grad_times)
                    for (int i = 0; i < count; i++) by_time += part[i];
            }
            if (grad_times) grad_times[at] = by_time;
        }
        flow(rows, batch, length, size, packed, NULL, through, size);
        for (int row = 0; row < batch; row++)
            for (int unit = 0; unit < size; unit += WIDTH) {
                int count = least(size - unit, WIDTH), fresh = starts && starts[first + row];
                size_t at = (first + row) * 2 * size + size + unit;
                float *by_memory = grad_state + (2 * (size_t)row + 1) * size + unit;
                retreat_lstm(LSTM, load_some(through + (size_t)row * size + unit, count), by_memory,
                             products + (first + row) * 4 * size + unit, before + at, states + at,
                             grad_products + (first + row) * 4 * size + unit, size, count);
                if (fresh) store_some(by_memory, (vector){0}, count);
            }
        flow(lstm_rows, batch, 4 * size, size, lstm_packed, starts ? starts + first : NULL, grad_state, 2 * size);
    }
    free(packed);
    free(lstm_packed);
    free(through);
    free(rows);
    return failed;
}

/* `hidden` and `memories` are those after every step (T, B, H), of the last H columns of a state (B, 2H) the memory. */
int lstm_forward(const float *inputs, const float *weight_ih, const float *weight_hh, const float *bias,
                 const float *state, const uint8_t *starts, float *gates, float *hidden, float *memories, int steps,
                 int batch, int features, int size) {
    layer l = {features, size, 4, TORCH_LSTM, NULL};
    float *zeros = calloc(size, sizeof(float));
    const float **rows = malloc(2 * batch * sizeof(float *)), **before = rows, **seen = rows + batch;
    place *places = malloc(batch * sizeof(place));
    int alone = batch * steps == 1;
    int failed = (!alone && pack(&l, weight_ih, weight_hh, bias)) || !zeros || !rows || !places;
    for (int t = 0; t < steps && !failed; t++) {
        for (int row = 0; row < batch; row++) {
            size_t at = (size_t)t * batch + row;
            int fresh = (starts && starts[at]) || !(t || state);
            const float *first = state ? state + 2 * (size_t)row * size : zeros, *memory = first + size;
            if (t) {
                first = hidden + (at - batch) * size;
                memory = memories + (at - batch) * size;
            }
            before[row] = fresh ? zeros : first;
            seen[row] = inputs + at * features;
            places[row] = (place){fresh ? zeros : memory, gates ? gates + at * 4 * size : NULL, hidden + at * size,
                                  memories + at * size, 1.0f};
        }
        if (alone)
            step_alone(&l, weight_ih, weight_hh, bias, before[0], seen[0], places);
        else
            step(&l, batch, before, seen, places);
    }
    free(l.panels);
    free(zeros);
    free(rows);
    free(places);
    return failed;
}

/* Gradients of the outputs or of the memories that are NULL are zero. `grad_state` (B, 2H) carries them from step to
 * step, `before` is the memory before every step (T, B, H), zero where an episode starts. */
int lstm_backward(const float *grad_hidden, const float *grad_memories, const float *gates, const float *weight_hh,
                  const float *memories, const float *before, const uint8_t *starts, float *grad_gates,
                  float *grad_state, int steps, int batch, int size) {
    float *packed = pack_columns(weight_hh, 4 * size, size);
    const float **rows = malloc(batch * sizeof(float *));
    int failed = !packed || !rows;
    memset(grad_state, 0, 2 * (size_t)batch * size * sizeof(float));
    for (int t = steps - 1; t >= 0 && !failed; t--) {
        const uint8_t *fresh = starts ? starts + (size_t)t * batch : NULL;
        for (int row = 0; row < batch; row++) {
            size_t at = (size_t)t * batch + row;
            rows[row] = grad_gates + at * 4 * size;
            for (int unit = 0; unit < size; unit += WIDTH) {
                int count = least(size - unit, WIDTH);
                size_t from = at * size + unit;
                float *by_output = grad_state + 2 * (size_t)row * size + unit, *by_memory = by_output + size;
                vector grad = load_some(by_output, count);
                if (grad_hidden) grad += load_some(grad_hidden + from, count);
                if (grad_memories)
                    store_some(by_memory, load_some(by_memory, count) + load_some(grad_memories + from, count), count);
                retreat_lstm(TORCH_LSTM, grad, by_memory, gates + at * 4 * size + unit, before + from, memories + from,
                             grad_gates + at * 4 * size + unit, size, count);
                store_some(by_output, (vector){0}, count);
                if (fresh && fresh[row]) store_some(by_memory, (vector){0}, count);
            }
        }
        flow(rows, batch, 4 * size, size, packed, fresh, grad_state, 2 * size);
    }
    free(packed);
    free(rows);
    return failed;
}
