#include "panels.h"

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

void multiply_rows(int count, int columns, const float *const *rows, long length, const float *panel, totals sums) {
#define CASE(R, C) \
    case 8 * C + R - 1: multiply(R, C, rows, length, panel, sums); break;
#define CASES(R) CASE(R, 1) CASE(R, 2) CASE(R, 3) CASE(R, 4)
    switch (8 * columns + count - 1) {
        CASES(1) CASES(2) CASES(4) CASE(8, 1) CASE(8, 2) CASE(8, 3)
    }
}

float *allocate(size_t count) { return aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64); }

static float *pack_rows(const float *weight, int length, int blocks, const layer *l, int first, float *to) {
    for (int b = 0; b < blocks; b++)
        for (int i = 0; i < WIDTH; i++) {
            const float *from = weight + ((size_t)b * l->size + first + i) * length;
            for (int k = 0; k < length; k++)
                to[((size_t)k * blocks + b) * WIDTH + i] = first + i < l->size ? from[k] : 0.0f;
        }
    return to + (size_t)length * blocks * WIDTH;
}

int pack(layer *l, int rows) {
    if (rows < FEWEST_ROWS) return 0;
    int panels = (l->size + WIDTH - 1) / WIDTH, blocks = weight_blocks(l->blocks, l->mode);
    l->panels = allocate(panels * panel_size(l));
    if (!l->panels) return 1;
    for (int p = 0; p < panels; p++) {
        float *to = l->panels + p * panel_size(l);
        to = pack_rows(l->bias, 1, l->blocks, l, p * WIDTH, to);
        to = pack_rows(l->weight_hh, l->size, blocks, l, p * WIDTH, to);
        pack_rows(l->weight_ih, l->features, blocks, l, p * WIDTH, to);
    }
    return 0;
}

float *pack_columns(const float *weight, int length, int size) {
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

void flow(const float *const *rows, int batch, int length, int size, const float *panel, const uint8_t *starts,
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
