// The micro-kernel of the packed convolution: a tile of rows times a panel of output channels stays in registers while
// the row's inputs go by. Rows are pointers, one per segment of consecutive floats: a tap's channels, or a whole row of
// the kernel.

#include "tile_sizes.h"

#ifndef CK_PACKED_TILE_H
#define CK_PACKED_TILE_H

typedef struct {
    const float *const *rows;  // [segments, rows]
    int64_t offset;            // floats from those pointers to the first input
    int64_t segments, length;
    const float *weight;       // [segments, length, width]
    const float *start;        // [width] or, with start_step = width, [rows, width]: what the sums start from
    int64_t start_step;
    float *sums;               // [rows, width] for the sums; null: y = clamp(sums + residual)
    float low, high;
    const float *residual;     // may be null
    float *y;
    int64_t residual_stride, y_stride;
    const int64_t *y_rows;     // null: 0, 1, 2, ...; negative: nowhere
    const char *ahead;         // what will be read next, to be fetched at ahead_step bytes per input
    int64_t ahead_step;
} ck_packed_tile;

#endif

// rows and width are constants where this is inlined; width = 2 CK_VL at most.
#define packed_tile CK_NAME(packed_tile)
CK_INLINE void packed_tile(const ck_packed_tile *t, const int rows, const int width) {
    const int full = width / CK_VL;
    const bool half = width % CK_VL != 0;
    vf sum[TILE_ROWS][2];
    vh rest[TILE_ROWS];
    UNROLL for (int i = 0; i < rows; i++) {
        const float *start = t->start + i * t->start_step;
        UNROLL for (int v = 0; v < full; v++) sum[i][v] = v_load(start + v * CK_VL);
        if (half) rest[i] = *(const vh_unaligned *)(start + full * CK_VL);
    }
    const float *w = t->weight;
    const float *const *pointers = t->rows;
    const int64_t length = t->length, offset = t->offset;
    for (int64_t s = t->segments; s > 0; s--, pointers += rows) {
        const float *x[TILE_ROWS];
        UNROLL for (int i = 0; i < rows; i++) x[i] = pointers[i] + offset;
        for (int64_t k = 0; k < length; k++, w += width) {
            vf weights[2];
            vh weights_rest;
            UNROLL for (int v = 0; v < full; v++) weights[v] = v_load(w + v * CK_VL);
            if (half) weights_rest = *(const vh_unaligned *)(w + full * CK_VL);
            UNROLL for (int i = 0; i < rows; i++) {
                const float value = x[i][k];
                UNROLL for (int v = 0; v < full; v++) sum[i][v] = value * weights[v] + sum[i][v];
                if (half) rest[i] = value * weights_rest + rest[i];
            }
        }
    }
    if (t->sums) {
        UNROLL for (int i = 0; i < rows; i++) {
            UNROLL for (int v = 0; v < full; v++) v_store(t->sums + i * width + v * CK_VL, sum[i][v]);
            if (half) *(vh_unaligned *)(t->sums + i * width + full * CK_VL) = rest[i];
        }
        return;
    }
    const float low = t->low, high = t->high;
    UNROLL for (int i = 0; i < rows; i++) {
        const int64_t row = t->y_rows ? t->y_rows[i] : i;
        if (row < 0) continue;
        float *y = t->y + row * t->y_stride;
        if (t->residual) {
            const float *r = t->residual + row * t->residual_stride;
            UNROLL for (int v = 0; v < full; v++) sum[i][v] += v_load(r + v * CK_VL);
            if (half) rest[i] += *(const vh_unaligned *)(r + full * CK_VL);
        }
        UNROLL for (int v = 0; v < full; v++) v_store(y + v * CK_VL, v_clamp(sum[i][v], low, high));
        if (half) {
            // As v_clamp, whose NaNs stay.
            const vh bottom = (vh)(low), top = (vh)(high);
            vh value = bottom > rest[i] ? bottom : rest[i];
            value = top < value ? top : value;
            *(vh_unaligned *)(y + full * CK_VL) = value;
        }
    }
}

#define TILE_FUNCTION(rows, width) \
    static void CK_NAME(packed_tile_##rows##_##width)(const ck_packed_tile *t) { packed_tile(t, rows, width); }
#define TILE_NAME(rows, width) CK_NAME(packed_tile_##rows##_##width),
#define TILE_ROW(F, width) {FOR_EACH_ROWS(F, width)},

FOR_EACH_WIDTH(FOR_EACH_ROWS, TILE_FUNCTION)

// [width / grain - 1][rows - 1]
#define packed_tiles CK_NAME(packed_tiles)
static void (*const packed_tiles[4][TILE_ROWS])(const ck_packed_tile *) = {FOR_EACH_WIDTH(TILE_ROW, TILE_NAME)};
