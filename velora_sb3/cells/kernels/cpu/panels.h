/* Products of rows of the batch by weights that are packed for them. */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#include "vectors.h"

enum { DEFAULT, NO_GATE, LRC, GRU, LSTM, TORCH_LSTM }; /* LSTM: the first half of mixed memory */
enum { MOST_COLUMNS = 4, MOST_ROWS = 8 };
enum { FEWEST_ROWS = 4 }; /* that are worth packing for: measured with 64 and 128 units */

#if defined(__AVX512F__)
#define ROWS(columns) ((columns) == 4 ? 4 : 8)
#else
#define ROWS(columns) ((columns) == 4 ? 2 : 4)
#endif

typedef vector totals[MOST_ROWS][MOST_COLUMNS];

typedef struct {
    int features, size, blocks, mode;
    const float *weight_ih, *weight_hh, *bias;
    float *panels; /* for WIDTH units each: [bias, state, inputs][block][unit], zero beyond the last unit */
} layer;

INLINE int least(int one, int other) { return one < other ? one : other; }

INLINE int weight_blocks(int blocks, int mode) { return mode == GRU ? 3 : blocks; }

INLINE size_t panel_size(const layer *l) {
    return (l->blocks + (size_t)(l->size + l->features) * weight_blocks(l->blocks, l->mode)) * WIDTH;
}

/* As many of the remaining rows as fit into registers. */
INLINE int rows_at_once(int remaining, int columns) {
    int count = ROWS(columns);
    while (count > remaining) count /= 2;
    return count;
}

#pragma GCC visibility push(hidden)

/* sums[r][c] += sum over k of rows[r][k] * panel[k][c], in vectors. */
void multiply_rows(int count, int columns, const float *const *rows, long length, const float *panel, totals sums);

float *allocate(size_t count);

/* Fills `panels`, unless there are so few rows to multiply that it would take longer than to multiply them; returns
 * whether memory ran out. */
int pack(layer *l, int rows);

/* Panels for the way back, of up to MOST_COLUMNS vectors: panel[k][column] = weight[k][column]. */
float *pack_columns(const float *weight, int length, int size);

/* Adds the products of the rows by the weights to what is carried, and forgets it where an episode starts. */
void flow(const float *const *rows, int batch, int length, int size, const float *panel, const uint8_t *starts,
          float *carried, int stride);

#pragma GCC visibility pop
