/* Whole sequences of a CfC (default, no_gate), of an LRC in closed form, and of torch's GRU.
 *
 * Arrays are contiguous and time first: inputs (T, B, F), gates and their gradients (T, B, blocks * H), states and their
 * gradients (T, B, H), starts and timespans (T, B); weights are (blocks * H, F) and (blocks * H, H). A GRU has four
 * blocks of gates but three of weights, since its candidate keeps the products of inputs and state apart. A step
 * multiplies some rows of the batch by the weights of WIDTH units, all blocks at once, while the totals stay in
 * registers. Rows do not depend on one another, and a start selects the zero state: a NaN stays in its row and its
 * episode.
 */
#include "steps.h"

int gated_forward(const float *inputs, const float *weight_ih, const float *weight_hh, const float *bias,
                  const float *state, const uint8_t *starts, const float *timespans, float *gates, float *states,
                  int steps, int batch, int features, int size, int blocks, int mode) {
    layer l = {features, size, blocks, mode, weight_ih, weight_hh, bias, NULL};
    float *zeros = calloc(size, sizeof(float));
    const float **rows = malloc(2 * batch * sizeof(float *)), **hidden = rows, **seen = rows + batch;
    place *places = malloc(batch * sizeof(place));
    int failed = pack(&l, steps * batch) || !zeros || !rows || !places;
    for (int t = 0; t < steps && !failed; t++) {
        for (int row = 0; row < batch; row++) {
            size_t at = (size_t)t * batch + row;
            const float *before = t ? states + (at - batch) * size : state ? state + (size_t)row * size : zeros;
            hidden[row] = starts && starts[at] ? zeros : before;
            seen[row] = inputs + at * features;
            places[row] = (place){hidden[row], gates ? gates + at * blocks * size : NULL, states + at * size, NULL,
                                  timespans ? timespans[at] : 1.0f};
        }
        step(&l, batch, hidden, seen, places);
    }
    free(l.panels);
    free(zeros);
    free(rows);
    free(places);
    return failed;
}

/* `grad_state` carries the gradient from step to step. */
int gated_backward(const float *grad_states, const float *gates, const float *weight_hh, const float *before,
                   const uint8_t *starts, const float *timespans, float *grad_gates, float *grad_state,
                   float *grad_times, int steps, int batch, int size, int blocks, int mode) {
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
                vector part = retreat(mode, blocks == 4, grad, gates + at * length + unit, before + at * size + unit,
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
