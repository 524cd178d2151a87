/* Whole sequences of an LTC; kernels/ltc.py has the equations.
 *
 * Arrays are contiguous, time first: inputs (T, B, F), states (T, B, U), starts and dt (T, B). The rows of the batch are
 * in the lanes of a vector, two vectors at a time, so that a synapse is a few numbers which all rows share. A start
 * selects the zero state, so that a NaN stays in its row and its episode.
 */
#include <stdint.h>
#include <stdlib.h>

#include "vectors.h"

enum { MOST_VECTORS = 2 };

typedef struct {
    int source, place;  /* of the parameters among those of all synapses */
    float slope, shift; /* the synapse is open by 1 / (1 + 2^(slope * potential + shift)) */
    float pull, conductance, sigma, mu;
} synapse;

typedef struct {
    const int *first; /* (U + 1,): the synapses that enter each unit */
    synapse *all;
    vector *sums; /* (E, 4): gradients of pull, conductance, slope and shift */
} bank;

typedef struct {
    int steps, batch, features, units, unfolds, synapses;
    const float *inputs, *state, *dt, *capacity, *leak; /* leak (U, 2) */
    const uint8_t *starts;
    bank sensory, recurrent;
    vector *buffers, *gates, *opened; /* opened: gates of the sensory synapses */
} network;

/* The table of a bank: where each unit's synapses begin, their sources, and their places in the bank. */
static void pack(bank *bank, const int *table, int units, const float *parameters, int offset, int count) {
    const int *source = table + units + 1, *place = source + table[units];
    bank->first = table;
    for (int i = 0; i < table[units]; i++) {
        const float *from = parameters + offset + place[i];
        float sigma = from[2 * count], mu = from[3 * count];
        bank->all[i] = (synapse){source[i], offset + place[i], -1.44269504f * sigma, 1.44269504f * sigma * mu,
                                 from[0], from[count], sigma, mu};
    }
}

/* Rows of a matrix, one to a lane: to[column][lane] = from[lane][column]; zeros in further lanes. */
INLINE void load_rows(const float *from, int rows, int columns, vector *to, const int width) {
    float *lanes = (float *)to;
    for (int column = 0; column < columns; column++)
        for (int row = 0; row < width * WIDTH; row++)
            lanes[column * width * WIDTH + row] = row < rows ? from[(size_t)row * columns + column] : 0.0f;
}

INLINE void store_rows(float *to, int rows, int columns, const vector *from, const int width) {
    const float *lanes = (const float *)from;
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++)
            to[(size_t)row * columns + column] = lanes[column * width * WIDTH + row];
}

/* One number for each row; 1 in further lanes. */
INLINE void load_lanes(const float *from, int rows, vector *to, const int width) {
    for (int k = 0; k < width; k++)
        for (int i = 0; i < WIDTH; i++) to[k][i] = k * WIDTH + i < rows ? from[k * WIDTH + i] : 1.0f;
}

INLINE void reset(const uint8_t *starts, int rows, int columns, vector *values, const int width) {
    float *lanes = (float *)values;
    for (int row = 0; row < rows; row++)
        if (starts[row])
            for (int column = 0; column < columns; column++) lanes[column * width * WIDTH + row] = 0.0f;
}

/* Adds the currents that enter a unit to its pull and its conductance; keeps how far the synapses are open. */
INLINE void add_currents(const bank *bank, int unit, const vector *potentials, vector *pull, vector *conductance,
                         vector *gates, const int width) {
    vector a[MOST_VECTORS], b[MOST_VECTORS];
    for (int k = 0; k < width; k++) a[k] = pull[k], b[k] = conductance[k];
    for (int i = bank->first[unit]; i < bank->first[unit + 1]; i++) {
        const synapse *s = bank->all + i;
        for (int k = 0; k < width; k++) {
            vector gate = falling_sigmoid(potentials[s->source * width + k] * s->slope + s->shift);
            a[k] += gate * s->pull;
            b[k] += gate * s->conductance;
            if (gates) *gates++ = gate;
        }
    }
    for (int k = 0; k < width; k++) pull[k] = a[k], conductance[k] = b[k];
}

/* From the gradients of a unit's currents those of its synapses and of their sources. */
INLINE void add_gradients(const bank *bank, int unit, const vector *potentials, const vector *by_pull,
                          const vector *by_conductance, const vector *gates, vector *by_source, const int width) {
    vector a[MOST_VECTORS], b[MOST_VECTORS];
    for (int k = 0; k < width; k++) a[k] = by_pull[k], b[k] = by_conductance[k];
    for (int i = bank->first[unit]; i < bank->first[unit + 1]; i++) {
        const synapse *s = bank->all + i;
        vector *sums = bank->sums + 4 * i;
        vector pulls = sums[0], conductances = sums[1], slopes = sums[2], shifts = sums[3];
        for (int k = 0; k < width; k++) {
            vector gate = *gates++;
            vector opening = (a[k] * s->pull + b[k] * s->conductance) * (gate - gate * gate);
            pulls += a[k] * gate;
            conductances += b[k] * gate;
            slopes += opening * potentials[s->source * width + k];
            shifts += opening;
            by_source[s->source * width + k] += opening * s->sigma;
        }
        sums[0] = pulls, sums[1] = conductances, sums[2] = slopes, sums[3] = shifts;
    }
}

/* What the inputs and the leak add to each unit's pull and conductance in a step (U, 2). */
INLINE void drive(const network *net, const vector *inputs, vector *base, vector *opened, const int width) {
    for (int i = 0; i < net->units; i++, base += 2 * width) {
        for (int k = 0; k < width; k++) base[k] = all(net->leak[2 * i]), base[width + k] = all(net->leak[2 * i + 1]);
        add_currents(&net->sensory, i, inputs, base, base + width, opened, width);
        if (opened) opened += (net->sensory.first[i + 1] - net->sensory.first[i]) * width;
    }
}

/* All steps of some rows, in `width` vectors. `kept`: the potentials before each unfold (T, M, U, lanes), or NULL. */
INLINE void advance(const network *net, int row, int rows, float *states, vector *kept, const int width) {
    int units = net->units, features = net->features;
    vector *inputs = net->buffers, *base = inputs + features * width, *now = base + 2 * units * width;
    vector *next = now + units * width, dt[MOST_VECTORS];
    load_rows(net->state + (size_t)row * units, rows, units, now, width);
    for (int t = 0; t < net->steps; t++) {
        size_t place = (size_t)t * net->batch + row;
        if (net->starts) reset(net->starts + place, rows, units, now, width);
        load_rows(net->inputs + place * features, rows, features, inputs, width);
        load_lanes(net->dt + place, rows, dt, width);
        drive(net, inputs, base, NULL, width);
        for (int m = 0; m < net->unfolds; m++) {
            if (kept) {
                memcpy(kept, now, units * width * sizeof(vector));
                kept += units * width;
            }
            for (int i = 0; i < units; i++) {
                vector pull[MOST_VECTORS], conductance[MOST_VECTORS];
                memcpy(pull, base + 2 * i * width, width * sizeof(vector));
                memcpy(conductance, base + (2 * i + 1) * width, width * sizeof(vector));
                add_currents(&net->recurrent, i, now, pull, conductance, NULL, width);
                for (int k = 0; k < width; k++) {
                    vector v = now[i * width + k];
                    vector rate = (pull[k] - conductance[k] * v) / (net->capacity[i] + dt[k] * conductance[k]);
                    next[i * width + k] = v + dt[k] * rate;
                }
            }
            vector *other = now;
            now = next, next = other;
        }
        store_rows(states + place * units, rows, units, now, width);
    }
}

/* The way back through all steps of some rows; `by_units` (U, 3) sums the gradients of the leak and the capacity. */
INLINE void retreat(const network *net, int row, int rows, const float *grad_states, const vector *kept,
                    float *grad_inputs, float *grad_state, float *grad_dt, vector *by_units, const int width) {
    int units = net->units, features = net->features;
    vector *inputs = net->buffers, *by_inputs = inputs + features * width, *base = by_inputs + features * width;
    vector *by_base = base + 2 * units * width, *grad = by_base + 2 * units * width, *before = grad + units * width;
    vector dt[MOST_VECTORS], by_dt[MOST_VECTORS];
    kept += (size_t)net->steps * net->unfolds * units * width;
    memset(grad, 0, units * width * sizeof(vector));
    for (int t = net->steps - 1; t >= 0; t--) {
        size_t place = (size_t)t * net->batch + row;
        load_rows(grad_states + place * units, rows, units, before, width);
        for (int i = 0; i < units * width; i++) grad[i] += before[i];
        load_rows(net->inputs + place * features, rows, features, inputs, width);
        load_lanes(net->dt + place, rows, dt, width);
        drive(net, inputs, base, net->opened, width);
        memset(by_base, 0, 2 * units * width * sizeof(vector));
        memset(by_inputs, 0, features * width * sizeof(vector));
        memset(by_dt, 0, sizeof(by_dt));
        for (int m = net->unfolds - 1; m >= 0; m--) {
            kept -= units * width;
            memset(before, 0, units * width * sizeof(vector));
            for (int i = 0; i < units; i++) {
                vector pull[MOST_VECTORS], conductance[MOST_VECTORS];
                memcpy(pull, base + 2 * i * width, width * sizeof(vector));
                memcpy(conductance, base + (2 * i + 1) * width, width * sizeof(vector));
                add_currents(&net->recurrent, i, kept, pull, conductance, net->gates, width);
                for (int k = 0; k < width; k++) {
                    vector v = kept[i * width + k], scale = net->capacity[i] + dt[k] * conductance[k];
                    vector rate = (pull[k] - conductance[k] * v) / scale, share = grad[i * width + k] / scale;
                    pull[k] = share * dt[k]; /* from here on the gradients of both */
                    conductance[k] = -pull[k] * (v + dt[k] * rate);
                    before[i * width + k] += share * net->capacity[i];
                    by_dt[k] += share * rate * net->capacity[i];
                    by_units[3 * i + 2] -= pull[k] * rate;
                    by_base[2 * i * width + k] += pull[k];
                    by_base[(2 * i + 1) * width + k] += conductance[k];
                }
                add_gradients(&net->recurrent, i, kept, pull, conductance, net->gates, before, width);
            }
            vector *other = grad;
            grad = before, before = other;
        }
        const vector *opened = net->opened;
        for (int i = 0; i < units; i++) {
            vector *pull = by_base + 2 * i * width, *conductance = pull + width;
            for (int k = 0; k < width; k++) by_units[3 * i] += pull[k], by_units[3 * i + 1] += conductance[k];
            add_gradients(&net->sensory, i, inputs, pull, conductance, opened, by_inputs, width);
            opened += (net->sensory.first[i + 1] - net->sensory.first[i]) * width;
        }
        store_rows(grad_inputs + place * features, rows, features, by_inputs, width);
        for (int k = 0; k < width; k++) store_some(grad_dt + place + k * WIDTH, by_dt[k], rows - k * WIDTH);
        if (net->starts) reset(net->starts + place, rows, units, grad, width);
    }
    store_rows(grad_state + (size_t)row * units, rows, units, grad, width);
}

/* Takes memory for a network and packs its synapses; NULL if there is none. The caller frees it. */
static void *open_network(network *net, const float *parameters, const int *sensory, const int *recurrent, int training) {
    size_t sizes[] = {sensory[net->units], recurrent[net->units]}, count = sizes[0] + sizes[1];
    size_t buffers = (2 * net->features + 6 * net->units) * MOST_VECTORS;
    size_t vectors = buffers + (training ? (MOST_VECTORS + 4) * count : 0);
    void *memory = aligned_alloc(64, (vectors * sizeof(vector) + count * sizeof(synapse) + 64) / 64 * 64);
    if (!memory) return NULL;
    net->buffers = memory;
    net->opened = net->buffers + buffers;
    net->gates = net->opened + sizes[0] * MOST_VECTORS;
    net->sensory.sums = net->gates + sizes[1] * MOST_VECTORS;
    net->recurrent.sums = net->sensory.sums + 4 * sizes[0];
    net->sensory.all = (synapse *)(net->buffers + vectors);
    net->recurrent.all = net->sensory.all + sizes[0];
    pack(&net->recurrent, recurrent, net->units, parameters, 0, net->synapses);
    pack(&net->sensory, sensory, net->units, parameters, sizes[1], net->synapses);
    if (training) memset(net->sensory.sums, 0, 4 * count * sizeof(vector));
    return memory;
}

int ltc_forward(const float *inputs, const float *state, const uint8_t *starts, const float *dt, const float *capacity,
                const float *leak, const float *parameters, const int *sensory, const int *recurrent, float *states,
                float *kept, int steps, int batch, int features, int units, int unfolds, int synapses) {
    network net = {steps, batch, features, units, unfolds, synapses, inputs, state, dt, capacity, leak, starts};
    void *memory = open_network(&net, parameters, sensory, recurrent, 0);
    if (!memory) return 1;
    for (int row = 0; row < batch;) {
        int rows = batch - row < MOST_VECTORS * WIDTH ? batch - row : MOST_VECTORS * WIDTH;
        vector *to = kept ? (vector *)kept + (size_t)steps * unfolds * units * (row / WIDTH) : NULL;
        if (rows > WIDTH)
            advance(&net, row, rows, states, to, 2);
        else
            advance(&net, row, rows, states, to, 1);
        row += rows;
    }
    free(memory);
    return 0;
}

static void collect(const bank *bank, int units, float *grad_parameters, int count) {
    for (int i = 0; i < bank->first[units]; i++) {
        const synapse *s = bank->all + i;
        float *to = grad_parameters + s->place, shift = sum(bank->sums[4 * i + 3]);
        to[0] = sum(bank->sums[4 * i]);
        to[count] = sum(bank->sums[4 * i + 1]);
        to[2 * count] = sum(bank->sums[4 * i + 2]) - s->mu * shift;
        to[3 * count] = -s->sigma * shift;
    }
}

/* `grad_units` (U, 3): of the leak and the capacity. */
int ltc_backward(const float *inputs, const float *state, const uint8_t *starts, const float *dt, const float *capacity,
                 const float *leak, const float *parameters, const int *sensory, const int *recurrent,
                 const float *grad_states, const float *kept, float *grad_inputs, float *grad_state, float *grad_dt,
                 float *grad_units, float *grad_parameters, int steps, int batch, int features, int units, int unfolds,
                 int synapses) {
    network net = {steps, batch, features, units, unfolds, synapses, inputs, state, dt, capacity, leak, starts};
    void *memory = open_network(&net, parameters, sensory, recurrent, 1);
    vector *by_units = aligned_alloc(64, (3 * units * sizeof(vector) + 63) / 64 * 64);
    int failed = !memory || !by_units;
    if (!failed) memset(by_units, 0, 3 * units * sizeof(vector));
    for (int row = 0; row < batch && !failed;) {
        int rows = batch - row < MOST_VECTORS * WIDTH ? batch - row : MOST_VECTORS * WIDTH;
        const vector *from = (const vector *)kept + (size_t)steps * unfolds * units * (row / WIDTH);
        if (rows > WIDTH)
            retreat(&net, row, rows, grad_states, from, grad_inputs, grad_state, grad_dt, by_units, 2);
        else
            retreat(&net, row, rows, grad_states, from, grad_inputs, grad_state, grad_dt, by_units, 1);
        row += rows;
    }
    if (!failed) {
        for (int i = 0; i < 3 * units; i++) grad_units[i] = sum(by_units[i]);
        collect(&net.sensory, units, grad_parameters, synapses);
        collect(&net.recurrent, units, grad_parameters, synapses);
    }
    free(memory);
    free(by_units);
    return failed;
}
