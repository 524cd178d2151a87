/* Whole sequences of torch's LSTM. Arrays are as in gated.c. */
#include "steps.h"

/* `hidden` and `memories` are those after every step (T, B, H), of the last H columns of a state (B, 2H) the memory. */
int lstm_forward(const float *inputs, const float *weight_ih, const float *weight_hh, const float *bias,
                 const float *state, const uint8_t *starts, float *gates, float *hidden, float *memories, int steps,
                 int batch, int features, int size) {
    layer l = {features, size, 4, TORCH_LSTM, weight_ih, weight_hh, bias, NULL};
    float *zeros = calloc(size, sizeof(float));
    const float **rows = malloc(2 * batch * sizeof(float *)), **before = rows, **seen = rows + batch;
    place *places = malloc(batch * sizeof(place));
    int failed = pack(&l, steps * batch) || !zeros || !rows || !places;
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
