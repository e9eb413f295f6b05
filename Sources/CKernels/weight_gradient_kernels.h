// Gradient of weights of one instruction-set level. A tile of output channels (rows) times a panel of input channels
// stays in registers while the pixels of a block go by. One core of a Zen 4 whose peak is 118 GFLOP/s: 106 to 110 for
// ResNet-18's 3 x 3 layers (batch 16), 100 to 107 for a Vision Transformer's Linears (400 rows).
//
//     for each block of pixels
//         for each tap                       pointers to the input under it
//             for each panel of inputs
//                 for each tile of outputs   dweight += the block's products
//
// The block's sum is added to the others in memory, so that rounding errors grow with the number of blocks and not of
// pixels. With pairs, paired.h, the pixels are the terms: their outputs' gradients and, for each tap and panel, their inputs are
// copied in triples first, each channel scaled.

// As packed_tile.h: 12 x 2 accumulators of AVX-512's 32 registers, 6 x 2 of AVX2's 16.
#define TILE_ROWS (CK_VL == 16 ? 12 : CK_VL == 8 ? 6 : 4)

#if CK_VL == 16
#include "paired.h"
#endif

#define gradient_operands CK_NAME(gradient_operands)
typedef struct {
    const float *const *x;  // the input pixel under the tap, for each pixel of the block
    int64_t channel;        // the first one of the panel
    const float *dy;        // the tile's first output channel of the first pixel
    int64_t dy_pixel;       // floats from one pixel to the next
    int64_t pixels;
    float *sums;            // of the tile's first output channel and the panel's first input channel
    int64_t sums_row;       // floats from one output channel to the next
    int64_t lanes;          // of the panel's last vector
    bool first;             // whether there are no sums yet
} gradient_operands;

// rows, vectors (1 or 2) and `whole`, whether the last vector is, are constants where this is inlined.
#define gradient_tile CK_NAME(gradient_tile)
CK_INLINE void gradient_tile(const gradient_operands *t, const int rows, const int vectors, const bool whole) {
    vf sum[TILE_ROWS][2];
    const int64_t lanes = whole ? CK_VL : t->lanes, channel = t->channel;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int v = 0; v < vectors; v++) sum[i][v] = v_splat(0);
    const float *dy = t->dy;
    for (int64_t p = 0; p < t->pixels; p++, dy += t->dy_pixel) {
        const float *from = t->x[p] + channel;
        vf x[2];
        UNROLL for (int v = 0; v < vectors; v++)
            x[v] = v_load_n(from + v * CK_VL, v == vectors - 1 ? lanes : CK_VL);
        UNROLL for (int i = 0; i < rows; i++) {
            const float g = dy[i];
            UNROLL for (int v = 0; v < vectors; v++) sum[i][v] = g * x[v] + sum[i][v];
        }
    }
    UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            float *to = t->sums + i * t->sums_row + v * CK_VL;
            const int64_t n = v == vectors - 1 ? lanes : CK_VL;
            v_store_n(to, t->first ? sum[i][v] : v_load_n(to, n) + sum[i][v], n);
        }
    }
}

#if CK_VL == 16
// What is multiplied in pairs: columns of the block's pixels, which lie in triples (t, t + n and t + 2 n of 3 n), scaled, with the
// sums of their pairs and the inverses of their factors.
#define paired_columns CK_NAME(paired_columns)
typedef struct {
    float *values;  // [3 triples, width]
    int64_t width;  // a multiple of 16, of which the last columns may be zeros
    float *pairs, *scale;  // [width]
} paired_columns;

// Columns [offset, offset + columns) of the pixels that `rows` point at.
#define pair_columns CK_NAME(pair_columns)
static void pair_columns(const float *const *rows, int64_t offset, int64_t columns, int64_t pixels, paired_columns to) {
    const int64_t triples = (pixels + 2) / 3;
    for (int64_t c = 0; c < columns; c += CK_VL) {
        const int64_t lanes = columns - c < CK_VL ? columns - c : CK_VL, at = offset + c;
        vf sum[2] = {v_splat(0), v_splat(0)}, pairs = v_splat(0);
        for (int64_t p = 0; p < pixels; p++) sum[p % 2] += v_abs(v_load_n(rows[p] + at, lanes));
        const vf means = (sum[0] + sum[1]) / (float)pixels, powers = paired_powers(means), factor = paired_factors(powers);
        for (int64_t t = 0; t < triples; t++) {
            vf x[3];
            UNROLL for (int i = 0; i < 3; i++) {
                const int64_t p = t + i * triples;
                x[i] = p < pixels ? factor * v_load_n(rows[p] + at, lanes) : v_splat(0);
                v_store(to.values + (3 * t + i) * to.width + c, x[i]);
            }
            // Every second triple is subtracted.
            pairs = t % 2 == 0 ? x[0] * x[1] + pairs : pairs - x[0] * x[1];
        }
        v_store(to.pairs + c, pairs);
        // Of zeros alone the products are exactly 0.
        v_store(to.scale + c, means == 0 ? v_splat(0) : powers);
    }
}

#define paired_gradient CK_NAME(paired_gradient)
typedef struct {
    paired_columns x, dy;
    int64_t row;      // of dy's columns, the tile's first
    int64_t triples;
    float *sums;      // as gradient_operands'
    int64_t sums_row, lanes;
    bool first;
} paired_gradient;

// rows and vectors are constants where this is inlined.
#define paired_gradient_tile CK_NAME(paired_gradient_tile)
CK_INLINE void paired_gradient_tile(const paired_gradient *t, const int rows, const int vectors) {
    const int64_t step = t->dy.width, next_step = 0;
    const float *next = NULL, *w = t->x.values, *dy = t->dy.values + t->row;
    vf sum[TILE_ROWS][2];
    UNROLL for (int v = 0; v < vectors; v++)
        UNROLL for (int i = 0; i < rows; i++)
            sum[i][v] = -v_load(t->x.pairs + v * CK_VL) - v_splat(t->dy.pairs[t->row + i]);
    int64_t left = t->triples;
#define INPUT(i, third) dy[(third)*step + (i)]
    for (; left >= 2; left -= 2) {
        PAIRED_TRIPLE(PAIRED_ADD, INPUT);
        dy += 3 * step;
        PAIRED_TRIPLE(PAIRED_SUBTRACT, INPUT);
        dy += 3 * step;
    }
    if (left > 0) PAIRED_TRIPLE(PAIRED_ADD, INPUT);
#undef INPUT
    UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            float *to = t->sums + i * t->sums_row + v * CK_VL;
            const int64_t n = v == vectors - 1 ? t->lanes : CK_VL;
            const vf all = sum[i][v] * v_load(t->x.scale + v * CK_VL) * v_splat(t->dy.scale[t->row + i]);
            v_store_n(to, t->first ? all : v_load_n(to, n) + all, n);
        }
    }
}

#define GRADIENT_TILE(rows)                                                                                                 \
    static void CK_NAME(paired_gradient_1_##rows)(const paired_gradient *t) { paired_gradient_tile(t, rows, 1); }           \
    static void CK_NAME(paired_gradient_2_##rows)(const paired_gradient *t) { paired_gradient_tile(t, rows, 2); }
#define EACH_TILE(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12)
EACH_TILE(GRADIENT_TILE)
#undef GRADIENT_TILE
#define VECTOR_1(rows) CK_NAME(paired_gradient_1_##rows),
#define VECTOR_2(rows) CK_NAME(paired_gradient_2_##rows),
// [vectors - 1][rows - 1]
#define paired_gradients CK_NAME(paired_gradients)
static void (*const paired_gradients[2][TILE_ROWS])(const paired_gradient *) = {{EACH_TILE(VECTOR_1)}, {EACH_TILE(VECTOR_2)}};
#undef VECTOR_1
#undef VECTOR_2
#undef EACH_TILE
#endif

#define GRADIENT_TILE(rows)                                                                                            \
    static void CK_NAME(gradient_tile_1_##rows)(const gradient_operands *t) { gradient_tile(t, rows, 1, true); }       \
    static void CK_NAME(gradient_tile_2_##rows)(const gradient_operands *t) { gradient_tile(t, rows, 2, true); }       \
    static void CK_NAME(gradient_tile_part_1_##rows)(const gradient_operands *t) { gradient_tile(t, rows, 1, false); } \
    static void CK_NAME(gradient_tile_part_2_##rows)(const gradient_operands *t) { gradient_tile(t, rows, 2, false); }
#if CK_VL == 16
#define EACH_TILE(F) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12)
#elif CK_VL == 8
#define EACH_TILE(F) F(1) F(2) F(3) F(4) F(5) F(6)
#else
#define EACH_TILE(F) F(1) F(2) F(3) F(4)
#endif
EACH_TILE(GRADIENT_TILE)
#undef GRADIENT_TILE

// [whole][vectors - 1][rows - 1]
#define gradient_tiles CK_NAME(gradient_tiles)
#define WHOLE_1(rows) CK_NAME(gradient_tile_1_##rows),
#define WHOLE_2(rows) CK_NAME(gradient_tile_2_##rows),
#define PART_1(rows) CK_NAME(gradient_tile_part_1_##rows),
#define PART_2(rows) CK_NAME(gradient_tile_part_2_##rows),
static void (*const gradient_tiles[2][2][TILE_ROWS])(const gradient_operands *) = {
    {{EACH_TILE(PART_1)}, {EACH_TILE(PART_2)}},
    {{EACH_TILE(WHOLE_1)}, {EACH_TILE(WHOLE_2)}},
};
#undef WHOLE_1
#undef WHOLE_2
#undef PART_1
#undef PART_2
#undef EACH_TILE

// Pointers to the first channel of the group in the input pixels under a tap, for output pixels [begin, end).
#define point_at_pixels CK_NAME(point_at_pixels)
static void point_at_pixels(const ck_conv2d_shape *s, const float *x, const float *zeros, int64_t tap, int64_t begin,
                            int64_t end, const float **pointers) {
    const int64_t down = tap / s->kw * s->dilation_h - s->pad_top, right = tap % s->kw * s->dilation_w - s->pad_left;
    int64_t ow = begin % s->ow, oh = begin / s->ow % s->oh, image = begin / s->ow / s->oh;
    for (int64_t p = begin; p < end;) {
        // The rest of an image's row.
        const int64_t h = oh * s->stride_h + down, run = end - p < s->ow - ow ? end - p : s->ow - ow;
        const bool inside = h >= 0 && h < s->h;
        const float *row = x + (image * s->h + (inside ? h : 0)) * s->w * s->c;
        int64_t w = ow * s->stride_w + right;
        for (int64_t i = 0; i < run; i++, w += s->stride_w)
            *pointers++ = inside && (uint64_t)w < (uint64_t)s->w ? row + w * s->c : zeros;
        p += run;
        ow = 0;
        if (++oh < s->oh) continue;
        oh = 0;
        image++;
    }
}

static void CK_NAME(ck_weight_gradient_run)(const ck_weight_gradient *task, const float *x, const float *dy,
                                            int64_t begin, int64_t end, float *dweight, float *scratch) {
    const ck_conv2d_shape *s = &task->shape;
    const int64_t channels = s->c / s->groups, outputs = s->o / s->groups, taps = s->kh * s->kw;
    const int64_t tiles = (outputs + TILE_ROWS - 1) / TILE_ROWS, pixels = s->n * s->oh * s->ow;
    const int64_t in_pointer = (int64_t)(sizeof(float *) / sizeof(float));
    const float **pointers = (const float **)scratch;
    float *zeros = scratch + task->block * in_pointer;
    for (int64_t c = 0; c < channels; c++) zeros[c] = 0;
#if CK_VL == 16
    paired_columns paired_x = {.width = 0}, paired_dy = paired_x;
    const float **dy_rows = NULL;
    if (task->paired) {
        // Behind what direct products take.
        float *free = zeros + ck_up(channels, 16);
        const int64_t most = ck_weight_gradient_columns(task), pixels_up = (task->block + 2) / 3 * 3;
        paired_dy = (paired_columns){free + 2 * most, most, free, free + most};
        free = paired_dy.values + pixels_up * most;
        paired_x = (paired_columns){free + 4 * CK_VL, 2 * CK_VL, free, free + 2 * CK_VL};
        dy_rows = (const float **)(paired_x.values + pixels_up * 2 * CK_VL);
    }
#endif
    for (int64_t first = 0; first < pixels; first += task->block) {
        const int64_t last = pixels - first < task->block ? pixels : first + task->block;
        int64_t pointed = -1, split = -1;
        for (int64_t u = begin; u < end; u++) {
            const int64_t panel = u % task->panels, at = u / task->panels, tap = at % taps;
            const int64_t part = at / taps % task->parts, group = at / taps / task->parts;
            if (at != pointed) {
                point_at_pixels(s, x + group * channels, zeros, tap, first, last, pointers);
                pointed = at;
            }
            const int64_t c = panel * 2 * CK_VL, width = channels - c < 2 * CK_VL ? channels - c : 2 * CK_VL;
            const int64_t vectors = (width + CK_VL - 1) / CK_VL;
            const int64_t tile_begin = tiles * part / task->parts, tile_end = tiles * (part + 1) / task->parts;
#if CK_VL == 16
            const int64_t part_begin = outputs * tile_begin / tiles, part_end = outputs * tile_end / tiles;
            if (task->paired && split != at / taps) {
                for (int64_t p = 0; p < last - first; p++) dy_rows[p] = dy + (first + p) * s->o;
                pair_columns(dy_rows, group * outputs + part_begin, part_end - part_begin, last - first, paired_dy);
                split = at / taps;
            }
            paired_x.width = vectors * CK_VL;
            if (task->paired) pair_columns(pointers, c, width, last - first, paired_x);
#endif
            for (int64_t tile = tile_begin; tile < tile_end; tile++) {
                // Tiles of about the same height.
                const int64_t in_group = outputs * tile / tiles, rows = outputs * (tile + 1) / tiles - in_group;
                const int64_t o = group * outputs + in_group;
                const gradient_operands operands = {
                    .x = pointers,
                    .channel = c,
                    .dy = dy + first * s->o + o,
                    .dy_pixel = s->o,
                    .pixels = last - first,
                    .sums = dweight + (o * taps + tap) * channels + c,
                    .sums_row = taps * channels,
                    .lanes = width - (vectors - 1) * CK_VL,
                    .first = first == 0 && !task->adds,
                };
#if CK_VL == 16
                if (task->paired) {
                    const paired_gradient paired = {
                        .x = paired_x,
                        .dy = paired_dy,
                        .row = in_group - part_begin,
                        .triples = (last - first + 2) / 3,
                        .sums = operands.sums,
                        .sums_row = operands.sums_row,
                        .lanes = operands.lanes,
                        .first = operands.first,
                    };
                    paired_gradients[vectors - 1][rows - 1](&paired);
                    continue;
                }
#endif
                gradient_tiles[width % CK_VL == 0][vectors - 1][rows - 1](&operands);
            }
        }
    }
}

#undef TILE_ROWS
