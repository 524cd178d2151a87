/* Whole sequences of mixed memory, an LSTM cell before a CfC. Arrays are as in gated.c. */
#include "steps.h"

/* States are (T, B, 2H), the CfC's and then the LSTM's memory; `written` is what the CfC starts from (T, B, H).
 * `products` and `gates` may be NULL, if there is no way back. */
int mixed_memory_forward(const float *inputs, const float *lstm_ih, const float *lstm_hh, const float *lstm_bias,
                         const float *weight_ih, const float *weight_hh, const float *bias, const float *state,
                         const uint8_t *starts, const float *timespans, float *products, float *gates, float *written,
                         float *states, int steps, int batch, int features, int size, int blocks, int mode) {
    layer lstm = {features, size, 4, LSTM, lstm_ih, lstm_hh, lstm_bias, NULL};
    layer cfc = {features, size, blocks, mode, weight_ih, weight_hh, bias, NULL};
    float *zeros = calloc(2 * size, sizeof(float));
    const float **rows = malloc(3 * batch * sizeof(float *)), **hidden = rows, **seen = rows + batch;
    const float **start = rows + 2 * batch;
    place *places = malloc(2 * batch * sizeof(place)), *cfc_places = places + batch;
    int failed = pack(&lstm, steps * batch) | pack(&cfc, steps * batch);
    failed = failed || !zeros || !rows || !places;
    for (int t = 0; t < steps && !failed; t++) {
        for (int row = 0; row < batch; row++) {
            size_t at = (size_t)t * batch + row;
            const float *before = t ? states + (at - batch) * 2 * size : state ? state + (size_t)row * 2 * size : zeros;
            float *after = states + at * 2 * size, *between = written + at * size;
            hidden[row] = starts && starts[at] ? zeros : before;
            seen[row] = inputs + at * features;
            start[row] = between;
            places[row] = (place){hidden[row] + size, products ? products + at * 4 * size : NULL, between, after + size,
                                  1.0f};
            cfc_places[row] = (place){NULL, gates ? gates + at * blocks * size : NULL, after, NULL,
                                      timespans ? timespans[at] : 1.0f};
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
