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
    int64_t panels;            // how many panels one after the other, each with its own weights
    int64_t start_panel;       // floats from one panel's start to the next one's
    float *sums;               // [rows, panels * width] for the sums; null: y = clamp(sums + residual)
    float low, high;
    const float *residual;     // may be null
    float *y;
    int64_t residual_stride, y_stride;
    const int64_t *y_rows;     // null: 0, 1, 2, ...; negative: nowhere
} ck_packed_tile;

#endif

// As v_clamp, whose NaNs stay.
#define clamp_half CK_NAME(clamp_half)
CK_INLINE vh clamp_half(vh x, float low, float high) {
    const vh bottom = (vh)(low), top = (vh)(high);
    x = bottom > x ? bottom : x;
    return top < x ? top : x;
}

// rows and width are constants where this is inlined; width = 2 CK_VL at most.
#define packed_tile CK_NAME(packed_tile)
CK_INLINE void packed_tile(const ck_packed_tile *t, const int rows, const int width) {
    const int full = width / CK_VL;
    const bool half = width % CK_VL != 0;
    // Copies, since memory might change with what is stored.
    const float low = t->low, high = t->high;
    const float *residual = t->residual, *w = t->weight, *starts = t->start;
    const int64_t *y_rows = t->y_rows;
    const int64_t y_stride = t->y_stride, residual_stride = t->residual_stride, start_step = t->start_step;
    const int64_t length = t->length, offset = t->offset;
    float *y = t->y, *sums = t->sums;
    for (int64_t panels = t->panels; panels > 0; panels--) {
        vf sum[TILE_ROWS][2];
        vh rest[TILE_ROWS];
        UNROLL for (int i = 0; i < rows; i++) {
            const float *start = starts + i * start_step;
            UNROLL for (int v = 0; v < full; v++) sum[i][v] = v_load(start + v * CK_VL);
            if (half) rest[i] = *(const vh_unaligned *)(start + full * CK_VL);
        }
        const float *const *pointers = t->rows;
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
        if (sums) {
            float *to = sums;
            const int64_t step = t->panels * width;
            UNROLL for (int i = 0; i < rows; i++, to += step) {
                UNROLL for (int v = 0; v < full; v++) v_store(to + v * CK_VL, sum[i][v]);
                if (half) *(vh_unaligned *)(to + full * CK_VL) = rest[i];
            }
            sums += width;
        } else if (!residual && !y_rows) {  // no test in the way of the simplest case
            float *to = y;
            UNROLL for (int i = 0; i < rows; i++, to += y_stride) {
                UNROLL for (int v = 0; v < full; v++) v_store(to + v * CK_VL, v_clamp(sum[i][v], low, high));
                if (half) *(vh_unaligned *)(to + full * CK_VL) = clamp_half(rest[i], low, high);
            }
        } else {
            UNROLL for (int i = 0; i < rows; i++) {
                const int64_t row = y_rows ? y_rows[i] : i;
                if (row < 0) continue;
                float *to = y + row * y_stride;
                if (residual) {
                    const float *r = residual + row * residual_stride;
                    UNROLL for (int v = 0; v < full; v++) sum[i][v] += v_load(r + v * CK_VL);
                    if (half) rest[i] += *(const vh_unaligned *)(r + full * CK_VL);
                }
                UNROLL for (int v = 0; v < full; v++) v_store(to + v * CK_VL, v_clamp(sum[i][v], low, high));
                if (half) *(vh_unaligned *)(to + full * CK_VL) = clamp_half(rest[i], low, high);
            }
            if (residual) residual += width;
        }
        y += width;
        starts += t->start_panel;
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
