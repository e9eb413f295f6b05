// Grouped convolution for inference; see ck_grouped.h. The sums of some adjacent output pixels of a row, times one or two vectors
// of output channels, stay in registers while the kernel's rows and the inputs go by. An input of one pixel comes to all lanes
// of its group once and is multiplied for the three output pixels whose taps it is under (with stride 2, for one or two).
//
// The input rows lie in a ring of three, copied as far as the vectors read them, with zeros for the padding: pixels at constant
// distances, in the first-level cache. Scratch: [row % 3][vector of inputs][column][CK_VL].
#include "activations.h"

#ifndef CK_GROUPED_KERNELS_H
#define CK_GROUPED_KERNELS_H

typedef struct {
    const float *rows[CK_GROUPED_TAPS];  // of the ring, at the tile's first column; null in the padding
    int64_t line;                        // floats of a vector of inputs in a row of the ring
    int64_t x_vector;                    // from what a vector of outputs reads to what the next one does
    int64_t chunks;                      // vectors of inputs, as they lie in the ring, that a vector of outputs reads
    const float *weight;                 // [vector][KH][input of a group][KW][CK_VL]
    int64_t weight_vector;
    float low, high;
    float *y;                            // for clamped sums; null: to `sums`, [vector][pixel][CK_VL]
    int64_t y_stride;
    float *sums;
} ck_grouped_tile;

#endif

// Input k of each quad in all four lanes of the quad, by a shuffle that leaves the multiply-adds' ports alone.
#if CK_VL == 4
#define IN_QUADS(x, k) __builtin_shufflevector(x, x, k, k, k, k)
#elif CK_VL == 8
#define IN_QUADS(x, k) __builtin_shufflevector(x, x, k, k, k, k, 4 + k, 4 + k, 4 + k, 4 + k)
#else
#define IN_QUADS(x, k)                                                                                      \
    __builtin_shufflevector(x, x, k, k, k, k, 4 + k, 4 + k, 4 + k, 4 + k, 8 + k, 8 + k, 8 + k, 8 + k, 12 + k, \
                            12 + k, 12 + k, 12 + k)
#endif

// Adds what one input channel makes: VALUE is its value, from the vector at `from`, in the lanes of all outputs that read it.
#define MULTIPLY(VALUE)                                                                                              \
    do {                                                                                                             \
        UNROLL for (int v = 0; v < vectors; v++) {                                                                   \
            vf weights[CK_GROUPED_TAPS];                                                                             \
            UNROLL for (int kw = 0; kw < CK_GROUPED_TAPS; kw++)                                                      \
                weights[kw] = v_load(w + v * weight_vector + kw * CK_VL);                                            \
            UNROLL for (int q = 0; q < (pixels - 1) * stride + CK_GROUPED_TAPS; q++) {                               \
                const float *from = x + v * x_vector + q * CK_VL;                                                    \
                const vf value = VALUE;                                                                              \
                UNROLL for (int kw = 0; kw < CK_GROUPED_TAPS; kw++) {                                                \
                    const int p = (q - kw) / stride;                                                                 \
                    if (q >= kw && (q - kw) % stride == 0 && p < pixels) sum[v][p] = value * weights[kw] + sum[v][p]; \
                }                                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
        w += CK_GROUPED_TAPS * CK_VL;                                                                                \
    } while (0)

// pixels, vectors, stride and whether a vector has several groups are constants where this is inlined.
#define grouped_tile CK_NAME(grouped_tile)
CK_INLINE void grouped_tile(const ck_grouped_tile *t, const int pixels, const int vectors, const int stride,
                            const bool in_quads, const vf *start) {
    const int64_t x_vector = t->x_vector, weight_vector = t->weight_vector, chunks = t->chunks, line = t->line;
    const float low = t->low, high = t->high;
    vf sum[2][CK_GROUPED_PIXELS];
    UNROLL for (int v = 0; v < vectors; v++) UNROLL for (int p = 0; p < pixels; p++) sum[v][p] = start[v];
    for (int kh = 0; kh < CK_GROUPED_TAPS; kh++) {
        if (!t->rows[kh]) continue;
        const float *x = t->rows[kh], *w = t->weight + kh * chunks * (in_quads ? 4 : CK_VL) * CK_GROUPED_TAPS * CK_VL;
        for (int64_t chunk = 0; chunk < chunks; chunk++, x += line) {
            if (in_quads) {
                MULTIPLY(IN_QUADS(v_load(from), 0));
                MULTIPLY(IN_QUADS(v_load(from), 1));
                MULTIPLY(IN_QUADS(v_load(from), 2));
                MULTIPLY(IN_QUADS(v_load(from), 3));
            } else {
                _Pragma("clang loop unroll(disable)")
                for (int64_t k = 0; k < CK_VL; k++) MULTIPLY(v_splat(from[k]));
            }
        }
    }
    if (t->y) {
        UNROLL for (int v = 0; v < vectors; v++) UNROLL for (int p = 0; p < pixels; p++)
            v_store(t->y + p * t->y_stride + v * CK_VL, v_clamp(sum[v][p], low, high));
    } else {
        UNROLL for (int v = 0; v < vectors; v++) UNROLL for (int p = 0; p < pixels; p++)
            v_store(t->sums + (v * pixels + p) * CK_VL, sum[v][p]);
    }
}
#undef MULTIPLY
#undef IN_QUADS

#define GROUPED_FUNCTION(pixels, vectors, stride, in_quads)                                               \
    static void CK_NAME(grouped_tile_##pixels##_##vectors##_##stride##_##in_quads)(const ck_grouped_tile *t, \
                                                                                   const vf *start) {     \
        grouped_tile(t, pixels, vectors, stride, in_quads, start);                                        \
    }
#define GROUPED_FUNCTIONS(pixels, vectors)                                                \
    GROUPED_FUNCTION(pixels, vectors, 1, 0) GROUPED_FUNCTION(pixels, vectors, 1, 1)       \
    GROUPED_FUNCTION(pixels, vectors, 2, 0) GROUPED_FUNCTION(pixels, vectors, 2, 1)
#define GROUPED_NAME(pixels, vectors, stride, in_quads) CK_NAME(grouped_tile_##pixels##_##vectors##_##stride##_##in_quads)
#define GROUPED_NAMES(pixels, vectors)                                                    \
    {{GROUPED_NAME(pixels, vectors, 1, 0), GROUPED_NAME(pixels, vectors, 1, 1)},          \
     {GROUPED_NAME(pixels, vectors, 2, 0), GROUPED_NAME(pixels, vectors, 2, 1)}}

// [vectors - 1][place among ck_grouped_sizes][stride - 1][in_quads]
#define grouped_tiles CK_NAME(grouped_tiles)
#if CK_VL == 16
GROUPED_FUNCTIONS(4, 1)
GROUPED_FUNCTIONS(4, 2)
GROUPED_FUNCTIONS(7, 1)
GROUPED_FUNCTIONS(7, 2)
GROUPED_FUNCTIONS(10, 1)
GROUPED_FUNCTIONS(14, 1)
static void (*const grouped_tiles[2][4][2][2])(const ck_grouped_tile *, const vf *) = {
    {GROUPED_NAMES(4, 1), GROUPED_NAMES(7, 1), GROUPED_NAMES(10, 1), GROUPED_NAMES(14, 1)},
    {GROUPED_NAMES(4, 2), GROUPED_NAMES(7, 2)},
};
#else
GROUPED_FUNCTIONS(4, 1)
GROUPED_FUNCTIONS(4, 2)
GROUPED_FUNCTIONS(7, 1)
GROUPED_FUNCTIONS(10, 1)
static void (*const grouped_tiles[2][4][2][2])(const ck_grouped_tile *, const vf *) = {
    {GROUPED_NAMES(4, 1), GROUPED_NAMES(7, 1), GROUPED_NAMES(10, 1)},
    {GROUPED_NAMES(4, 2)},
};
#endif
#undef GROUPED_FUNCTION
#undef GROUPED_FUNCTIONS
#undef GROUPED_NAME
#undef GROUPED_NAMES

// The epilogue of some pixels and one vector of channels.
#define grouped_finish CK_NAME(grouped_finish)
static void grouped_finish(const ck_grouped_conv *conv, const ck_operands *o, int64_t pixel, int64_t pixels, int64_t c,
                           int64_t lanes, const float *sums) {
    const ck_combine combine = conv->epilogue.combine;
    const float *residual = combine == CK_COMBINE_NONE ? NULL : o->residual + pixel * conv->strides.residual + c;
    float *y = o->y + pixel * conv->strides.y + c;
    for (int64_t p = 0; p < pixels; p++) {
        vf v = v_load(sums + p * CK_VL);
        if (combine == CK_COMBINE_ADD_BEFORE) v = v + v_load_n(residual + p * conv->strides.residual, lanes);
        v = v_activate(conv->epilogue.activation, v);
        if (combine == CK_COMBINE_ADD_AFTER) v = v + v_load_n(residual + p * conv->strides.residual, lanes);
        v_store_n(y + p * conv->strides.y, v, lanes);
    }
}

// A vector of input channels of a row of the image, at x, into the ring. What groups in a vector read lies in as many vectors as
// they have quads: the first of each group in all quads of the group, then the second ones. (Rows come from afar as fast as without
// prefetching the next one.)
#define fill_line CK_NAME(fill_line)
CK_INLINE void fill_line(const ck_grouped_conv *conv, const float *x, int64_t lanes, bool has_pairs, float *to) {
    const int64_t pixels = ck_least(conv->shape.w, conv->columns - conv->shape.pad_left), stride = conv->strides.x;
    to += conv->shape.pad_left * CK_VL;
    for (int64_t p = 0; p < pixels; p++, x += stride, to += CK_VL) {
        const vf value = v_load_n(x, lanes);
#if CK_VL == 16
        if (has_pairs) {
            v_store(to, __builtin_shufflevector(value, value, 0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11));
            v_store(to + conv->columns * CK_VL,
                    __builtin_shufflevector(value, value, 4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15));
            continue;
        }
#endif
        v_store(to, value);
    }
}

// The vectors of input channels from c on.
#define fill_row CK_NAME(fill_row)
static void fill_row(const ck_grouped_conv *conv, const float *x, int64_t c, int64_t vectors, float *ring) {
    const int64_t channels = conv->shape.c;
    const bool has_pairs = CK_VL == 16 && channels == 8 * conv->shape.groups;
    const int64_t line = conv->columns * CK_VL * (has_pairs ? 2 : 1);
    for (int64_t v = 0; v < vectors; v++, c += CK_VL, ring += line) {
        if (c + CK_VL > channels)
            fill_line(conv, x + c, channels - c, has_pairs, ring);
        else if (has_pairs)
            fill_line(conv, x + c, CK_VL, true, ring);
        else
            fill_line(conv, x + c, CK_VL, false, ring);
    }
}

#define grouped_unit CK_NAME(grouped_unit)
static void grouped_unit(const ck_grouped_conv *conv, const ck_operands *o, int64_t unit, float *scratch) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t group = s->c / s->groups, block = unit % conv->blocks, part = unit / conv->blocks % conv->row_parts;
    const int64_t n = unit / conv->blocks / conv->row_parts, stride = s->stride_h;
    const int64_t all = (s->c + CK_VL - 1) / CK_VL, first = block * conv->block, line = conv->columns * CK_VL;
    const int64_t vectors = ck_least(conv->block, all - first), lines = conv->lines, image_row = s->w * conv->strides.x;
    const bool in_quads = group < CK_VL;
    const float *image = o->x + n * s->h * image_row;
    ck_grouped_tile tile = {.line = line, .y_stride = conv->strides.y};
    tile.chunks = in_quads ? group / 4 : group / CK_VL;
    tile.x_vector = group > CK_VL ? 0 : tile.chunks * line;
    tile.weight_vector = CK_GROUPED_TAPS * CK_GROUPED_TAPS * group * CK_VL;
    const bool clamps =
        ck_epilogue_clamps(&conv->epilogue, &tile.low, &tile.high) && conv->epilogue.combine == CK_COMBINE_NONE;
    _Alignas(64) float sums[2 * CK_GROUPED_PIXELS * CK_VL];
    tile.sums = sums;
    for (int64_t i = 0; i < CK_GROUPED_TAPS * lines; i++) {
        for (int64_t p = 0; p < ck_least(conv->columns, s->pad_left); p++) v_store(scratch + i * line + p * CK_VL, v_splat(0));
        for (int64_t p = ck_least(conv->columns, s->pad_left + s->w); p < conv->columns; p++)
            v_store(scratch + i * line + p * CK_VL, v_splat(0));
    }
    int64_t there = 0;  // the rows before this one are or were in the ring
    const int64_t begin = s->oh * part / conv->row_parts, end = s->oh * (part + 1) / conv->row_parts;
    // The next block's weights come to the second-level cache, with each row some of them.
    const float *next = o->weight + (first + vectors) * tile.weight_vector;
    const int64_t next_lines = ck_least(conv->block, all - first - vectors) * tile.weight_vector / 16;
    for (int64_t oh = begin; oh < end; oh++) {
        for (int64_t i = next_lines * (oh - begin) / (end - begin); i < next_lines * (oh + 1 - begin) / (end - begin); i++)
            __builtin_prefetch(next + i * 16, 0, 2);
        const int64_t h0 = oh * stride - s->pad_top;
        const float *rows[CK_GROUPED_TAPS];
        for (int64_t kh = 0; kh < CK_GROUPED_TAPS; kh++) {
            const int64_t h = h0 + kh;
            rows[kh] = NULL;
            if (h < 0 || h >= s->h) continue;
            float *ring = scratch + h % CK_GROUPED_TAPS * lines * line;
            if (h >= there) fill_row(conv, image + h * image_row, first * CK_VL, vectors, ring);
            rows[kh] = ring;
        }
        there = ck_most(there, h0 + CK_GROUPED_TAPS);
        for (int64_t v = 0, count; v < vectors; v += count) {
            count = ck_least(conv->vectors, vectors - v);
            const int64_t c = (first + v) * CK_VL;
            const bool is_whole = c + count * CK_VL <= s->c;
            vf start[2];
            for (int64_t i = 0; i < count; i++)
                start[i] = o->bias ? v_load_n(o->bias + c + i * CK_VL, ck_least(CK_VL, s->c - c - i * CK_VL)) : v_splat(0);
            tile.weight = o->weight + (first + v) * tile.weight_vector;
            for (int64_t ow = 0; ow < s->ow; ow += conv->pixels) {
                for (int kh = 0; kh < CK_GROUPED_TAPS; kh++)
                    tile.rows[kh] = rows[kh] ? rows[kh] + v * tile.x_vector + ow * stride * CK_VL : NULL;
                const int64_t pixel = (n * s->oh + oh) * s->ow + ow, pixels = ck_least(conv->pixels, s->ow - ow);
                const bool stores = clamps && is_whole && pixels == conv->pixels;
                tile.y = stores ? o->y + pixel * conv->strides.y + c : NULL;
                grouped_tiles[count - 1][conv->size][stride - 1][in_quads](&tile, start);
                for (int64_t i = 0; i < count && !stores; i++)
                    grouped_finish(conv, o, pixel, pixels, c + i * CK_VL, ck_least(CK_VL, s->c - c - i * CK_VL),
                                   sums + i * conv->pixels * CK_VL);
            }
        }
    }
}

static void CK_NAME(ck_grouped_run)(const ck_grouped_conv *conv, const ck_operands *o, int64_t begin, int64_t end,
                                    float *scratch) {
    for (int64_t unit = begin; unit < end; unit++) grouped_unit(conv, o, unit, scratch);
}
