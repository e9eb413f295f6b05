// The micro-kernel of the packed convolution: a tile of rows times a panel of output channels stays in registers while
// the row's inputs go by. Rows are pointers, one per segment of consecutive floats: a tap's channels, or a whole row of
// the kernel.

#include "tile_sizes.h"

#ifndef CK_PACKED_TILE_H
#define CK_PACKED_TILE_H

// Where sums leave a micro-kernel: y = clamp(sums + residual).
typedef struct {
    float low, high;
    const float *residual;  // the first row's; may be null
    float *y;
    int64_t residual_stride, y_stride;
    const int64_t *y_rows;  // of each of the rows; null: 0, 1, 2, ...; negative: nowhere
} ck_packed_result;

typedef struct {
    int64_t tiles;             // how many tiles one after the other
    const float *const *rows;  // [tiles, segments, rows]; null: one segment, in rows that follow each other
    const float *first;        // such a first row
    int64_t row_stride;        // floats from one to the next
    int64_t offset;            // floats from those pointers to the first input
    int64_t segments, length;
    int64_t panels;            // how many panels each tile is multiplied with, one after the other
    const float *weight;       // [panels, segments, length, width]
    const float *start;        // [width] or, with start_step = width, [tiles, rows, width]: what the sums start from
    int64_t start_step;
    int64_t start_panel;       // floats from one panel's start to the next one's
    float *sums;               // [tiles, rows, panels * width] for the sums; null: they go to `result`
    ck_packed_result result;
    // What comes to the second-level cache meanwhile: weights, next_step floats for each input, and inputs, so many lines of
    // 16 floats for each panel. Both may be 0.
    const float *next, *next_inputs;
    int64_t next_step, next_lines;
} ck_packed_tile;

#endif

// For the rows i and j of each pair whose last 8 columns are one vector; the last of an odd number is alone.
#if CK_VL == 16
#define EACH_HALF(...)                                              \
    if (half) UNROLL for (int i = 0; i < rows; i += 2) {            \
        const int j = i + 1 < rows ? i + 1 : i;                     \
        __VA_ARGS__                                                 \
    }
#else
#define EACH_HALF(...)
#endif

// The sums of a tile and the inputs k of its rows times the weights at w.
#define MULTIPLY(k)                                                                                       \
    do {                                                                                                  \
        vf weights[2];                                                                                    \
        UNROLL for (int v = 0; v < full; v++) weights[v] = v_load(w + v * CK_VL);                         \
        UNROLL for (int i = 0; i < rows; i++) {                                                           \
            const float value = x[i][k];                                                                  \
            UNROLL for (int v = 0; v < full; v++) sum[i][v] = value * weights[v] + sum[i][v];             \
        }                                                                                                 \
        EACH_HALF({                                                                                       \
            const vf both = load_halves(w + full * CK_VL, w + full * CK_VL);                              \
            halves[i / 2] = splat_halves(x[i][k], x[j][k], high_half) * both + halves[i / 2];             \
        });                                                                                               \
    } while (0)

// rows and width are constants where this is inlined; width = 2 CK_VL at most.
#define packed_tile CK_NAME(packed_tile)
CK_INLINE void packed_tile(const ck_packed_tile *t, const int rows, const int width) {
    const int full = width / CK_VL;
#if CK_VL == 16
    const bool half = width % CK_VL != 0;
    uint16_t high_half = 0xff00;
    __asm__("" : "+r"(high_half));
#endif
    // Copies, since memory might change with what is stored.
    const float low = t->result.low, high = t->result.high;
    const float *const *pointers = t->rows, *first = t->first, *starts = t->start;
    const int64_t row_stride = t->row_stride;
    const int64_t *y_rows = t->result.y_rows;
    const int64_t y_stride = t->result.y_stride, residual_stride = t->result.residual_stride, start_step = t->start_step;
    const int64_t length = t->length, offset = t->offset, segments = t->segments;
    const float *residual_rows = t->result.residual;
    float *y_tile = t->result.y, *sums = t->sums;
    const float *next = t->next, *next_inputs = t->next_inputs;
    const int64_t next_step = t->next_step, next_lines = t->next_lines;
    // With 16 registers the code for it costs short sums as much as it brings; a single tile waits for its weights.
    const bool fetches = CK_VL == 16 && width == 2 * CK_VL && !sums && !y_rows && next_step <= 16;
    for (int64_t tiles = t->tiles; tiles > 0; tiles--) {
        const float *w = t->weight, *start_of_panel = starts, *residual = residual_rows;
        float *y = y_tile;
        for (int64_t panels = t->panels; panels > 0; panels--) {
            for (int64_t line = 0; line < next_lines; line++, next_inputs += 16) __builtin_prefetch(next_inputs, 0, 2);
            vf sum[TILE_ROWS][2], halves[TILE_ROWS / 2];
            UNROLL for (int i = 0; i < rows; i++)
                UNROLL for (int v = 0; v < full; v++) sum[i][v] = v_load(start_of_panel + i * start_step + v * CK_VL);
            EACH_HALF({
                const float *start = start_of_panel + full * CK_VL;
                halves[i / 2] = load_halves(start + i * start_step, start + j * start_step);
            });
            for (int64_t s = 0; s < segments; s++) {
                const float *x[TILE_ROWS];
                if (pointers) {
                    UNROLL for (int i = 0; i < rows; i++) x[i] = pointers[s * rows + i] + offset;
                } else {
                    UNROLL for (int i = 0; i < rows; i++) x[i] = first + i * row_stride + offset;
                }
                if (fetches && s == segments - 1) {
                    // The residual's rows, or the output's, are far apart: one comes with each term (3136 x 64 x 256 with a residual
                    // from afar: 75 to 100 GFLOP/s; all at once would wait. On two threads of a Zen 4, outputs from afar: 3136 x 64 x
                    // 256 186 to 224, a 7 x 7 stem 204 to 219, 12544 x 16 x 96 130 to 177).
                    const float *fetched = residual ? residual : y;
                    const int64_t fetched_stride = residual ? residual_stride : y_stride;
                    for (int64_t k = 0; k < length; k++, w += width, next += next_step) {
                        if (k < rows) {
                            __builtin_prefetch(fetched + k * fetched_stride);
                            __builtin_prefetch(fetched + k * fetched_stride + CK_VL);
                        }
                        __builtin_prefetch(next, 0, 2);
                        MULTIPLY(k);
                    }
                } else if (next_step > 16) {
                    // Of a single tile's weights two lines come with each term (two threads at once, 4 x 4096 x 2048: 21 to 27
                    // GFLOP/s, 9 x 2048 x 1024 44 to 59).
                    for (int64_t k = 0; k < length; k++, w += width, next += next_step) {
                        __builtin_prefetch(next, 0, 2);
                        __builtin_prefetch(next + 16, 0, 2);
                        MULTIPLY(k);
                    }
                } else if (next_step) {
                    for (int64_t k = 0; k < length; k++, w += width, next += next_step) {
                        __builtin_prefetch(next, 0, 2);
                        MULTIPLY(k);
                    }
                } else {
                    for (int64_t k = 0; k < length; k++, w += width) MULTIPLY(k);
                }
            }
            if (sums) {
                const int64_t step = t->panels * width;
                UNROLL for (int i = 0; i < rows; i++)
                    UNROLL for (int v = 0; v < full; v++) v_store(sums + i * step + v * CK_VL, sum[i][v]);
                EACH_HALF({
                    float *to = sums + full * CK_VL;
                    store_low_half(to + i * step, halves[i / 2]);
                    if (j > i) store_high_half(to + j * step, halves[i / 2]);
                });
                sums += width;
            } else if (!residual && !y_rows) {  // no test in the way of the simplest case
                UNROLL for (int i = 0; i < rows; i++)
                    UNROLL for (int v = 0; v < full; v++)
                        v_store(y + i * y_stride + v * CK_VL, v_clamp(sum[i][v], low, high));
                EACH_HALF({
                    float *to = y + full * CK_VL;
                    const vf both = v_clamp(halves[i / 2], low, high);
                    store_low_half(to + i * y_stride, both);
                    if (j > i) store_high_half(to + j * y_stride, both);
                });
            } else {
                UNROLL for (int i = 0; i < rows; i++) {
                    const int64_t row = y_rows ? y_rows[i] : i;
                    if (row < 0) continue;
                    float *to = y + row * y_stride;
                    if (residual) {
                        const float *r = residual + row * residual_stride;
                        UNROLL for (int v = 0; v < full; v++) sum[i][v] += v_load(r + v * CK_VL);
                    }
                    UNROLL for (int v = 0; v < full; v++) v_store(to + v * CK_VL, v_clamp(sum[i][v], low, high));
                }
                EACH_HALF({
                    const int64_t a = y_rows ? y_rows[i] : i, b = y_rows ? y_rows[j] : j;
                    vf both = halves[i / 2];
                    if (residual) {
                        const float *r = residual + full * CK_VL;
                        both += load_halves(r + ck_most(a, 0) * residual_stride, r + ck_most(b, 0) * residual_stride);
                    }
                    both = v_clamp(both, low, high);
                    if (a >= 0) store_low_half(y + full * CK_VL + a * y_stride, both);
                    if (j > i && b >= 0) store_high_half(y + full * CK_VL + b * y_stride, both);
                });
                if (residual) residual += width;
            }
            y += width;
            start_of_panel += t->start_panel;
        }
        if (pointers)
            pointers += segments * rows;
        else
            first += rows * row_stride;
        starts += rows * start_step;
        if (sums) sums += (rows - 1) * t->panels * width;
        if (y_rows) {
            y_rows += rows;
        } else {
            y_tile += rows * y_stride;
            if (residual_rows) residual_rows += rows * residual_stride;
        }
    }
}

#undef MULTIPLY
#undef EACH_HALF

#define TILE_FUNCTION(rows, width) \
    static void CK_NAME(packed_tile_##rows##_##width)(const ck_packed_tile *t) { packed_tile(t, rows, width); }
#define TILE_NAME(rows, width) CK_NAME(packed_tile_##rows##_##width),
#define TILE_ROW(F, width) {FOR_EACH_ROWS(F, width)},

FOR_EACH_WIDTH(FOR_EACH_ROWS, TILE_FUNCTION)

// [width / grain - 1][rows - 1]
#define packed_tiles CK_NAME(packed_tiles)
static void (*const packed_tiles[4][TILE_ROWS])(const ck_packed_tile *) = {FOR_EACH_WIDTH(TILE_ROW, TILE_NAME)};
