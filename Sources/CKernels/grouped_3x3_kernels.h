// Grouped convolution; see ck_grouped.h. The sums of some adjacent output pixels of a row, times one or two vectors
// of output channels, stay in registers while the kernel's rows and the inputs go by. An input of one pixel comes to all lanes
// of its group once and is multiplied for the three output pixels whose taps it is under (with stride 2, for one or two).
//
// The input rows lie in a ring of three, copied as far as the vectors read them, with zeros for the padding: pixels at constant
// distances, in the first-level cache. Scratch: [row % 3][vector of inputs][column][CK_VL].
//
// The gradient of the weights goes over the same ring: the products of a row of the output's gradient with four inputs under the
// three taps of a row of the kernel are added up in twelve registers.
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

typedef struct {
    const float *x;  // of the ring, the vector of the first of four inputs under the first pixel's first tap
    int64_t x_step;  // floats to those of the next pixel
    const float *dy;
    int64_t dy_stride, pixels, lanes;
    float *sums;  // [4][KW][CK_VL]
} ck_grouped_gradient_row;

// The rows of an image's input under a row of its output: where they are in the ring, which has come to some row.
typedef struct {
    const float *rows[CK_GROUPED_TAPS];  // null in the padding
    int64_t there;                       // the rows before this one are or were in the ring
} ck_grouped_ring;

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

// Whether a vector has several groups, and is full, are constants where this is inlined.
#define gradient_row CK_NAME(grouped_gradient_row)
CK_INLINE void gradient_row(const ck_grouped_gradient_row *t, const bool in_quads, const bool is_full) {
    const float *x = t->x, *dy = t->dy;
    vf sum[4][CK_GROUPED_TAPS];
    UNROLL for (int i = 0; i < 4 * CK_GROUPED_TAPS; i++) sum[i / CK_GROUPED_TAPS][i % CK_GROUPED_TAPS] = v_load(t->sums + i * CK_VL);
    for (int64_t p = 0; p < t->pixels; p++, x += t->x_step, dy += t->dy_stride) {
        const vf gradient = is_full ? v_load(dy) : v_load_n(dy, t->lanes);
        UNROLL for (int kw = 0; kw < CK_GROUPED_TAPS; kw++) {
            const float *from = x + kw * CK_VL;
            if (in_quads) {
                const vf four = v_load(from);
                sum[0][kw] = IN_QUADS(four, 0) * gradient + sum[0][kw];
                sum[1][kw] = IN_QUADS(four, 1) * gradient + sum[1][kw];
                sum[2][kw] = IN_QUADS(four, 2) * gradient + sum[2][kw];
                sum[3][kw] = IN_QUADS(four, 3) * gradient + sum[3][kw];
            } else {
                UNROLL for (int k = 0; k < 4; k++) sum[k][kw] = v_splat(from[k]) * gradient + sum[k][kw];
            }
        }
    }
    UNROLL for (int i = 0; i < 4 * CK_GROUPED_TAPS; i++) v_store(t->sums + i * CK_VL, sum[i / CK_GROUPED_TAPS][i % CK_GROUPED_TAPS]);
}
#undef IN_QUADS

#define GRADIENT_FUNCTION(in_quads, is_full)                                                                \
    static void CK_NAME(grouped_gradient_row_##in_quads##_##is_full)(const ck_grouped_gradient_row *t) {    \
        gradient_row(t, in_quads, is_full);                                                                 \
    }
GRADIENT_FUNCTION(0, 0)
GRADIENT_FUNCTION(0, 1)
GRADIENT_FUNCTION(1, 0)
GRADIENT_FUNCTION(1, 1)
#undef GRADIENT_FUNCTION

// [in_quads][is_full]
#define gradient_rows CK_NAME(grouped_gradient_rows)
static void (*const gradient_rows[2][2])(const ck_grouped_gradient_row *) = {
    {CK_NAME(grouped_gradient_row_0_0), CK_NAME(grouped_gradient_row_0_1)},
    {CK_NAME(grouped_gradient_row_1_0), CK_NAME(grouped_gradient_row_1_1)},
};

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

// Zeros where the ring has the padding on the left and on the right.
#define pad_ring CK_NAME(grouped_pad_ring)
static void pad_ring(const ck_grouped_conv *conv, float *ring) {
    const ck_conv2d_shape *s = &conv->shape;
    for (int64_t i = 0; i < CK_GROUPED_TAPS * conv->lines; i++, ring += conv->columns * CK_VL) {
        for (int64_t p = 0; p < ck_least(conv->columns, s->pad_left); p++) v_store(ring + p * CK_VL, v_splat(0));
        for (int64_t p = ck_least(conv->columns, s->pad_left + s->w); p < conv->columns; p++) v_store(ring + p * CK_VL, v_splat(0));
    }
}

// Brings the rows under output row oh to the ring, of the vectors of channels from c on.
#define advance_ring CK_NAME(grouped_advance_ring)
static void advance_ring(const ck_grouped_conv *conv, const float *image, int64_t oh, int64_t c, int64_t vectors, float *scratch,
                         ck_grouped_ring *ring) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t h0 = oh * s->stride_h - s->pad_top;
    for (int64_t kh = 0; kh < CK_GROUPED_TAPS; kh++) {
        const int64_t h = h0 + kh;
        ring->rows[kh] = NULL;
        if (h < 0 || h >= s->h) continue;
        float *row = scratch + h % CK_GROUPED_TAPS * conv->lines * conv->columns * CK_VL;
        if (h >= ring->there) fill_row(conv, image + h * s->w * conv->strides.x, c, vectors, row);
        ring->rows[kh] = row;
    }
    ring->there = ck_most(ring->there, h0 + CK_GROUPED_TAPS);
}

// The vectors of inputs, as they lie in the ring, that a vector of outputs reads, and floats from what one reads to what the next does.
#define ring_chunks CK_NAME(grouped_ring_chunks)
CK_INLINE int64_t ring_chunks(const ck_grouped_conv *conv) {
    const int64_t group = conv->shape.c / conv->shape.groups;
    return group < CK_VL ? group / 4 : group / CK_VL;
}
#define ring_vector CK_NAME(grouped_ring_vector)
CK_INLINE int64_t ring_vector(const ck_grouped_conv *conv) {
    return conv->shape.c > CK_VL * conv->shape.groups ? 0 : ring_chunks(conv) * conv->columns * CK_VL;
}

#define grouped_unit CK_NAME(grouped_unit)
static void grouped_unit(const ck_grouped_conv *conv, const ck_operands *o, int64_t unit, float *scratch) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t group = s->c / s->groups, block = unit % conv->blocks, part = unit / conv->blocks % conv->row_parts;
    const int64_t n = unit / conv->blocks / conv->row_parts, stride = s->stride_h;
    const int64_t all = (s->c + CK_VL - 1) / CK_VL, first = block * conv->block, line = conv->columns * CK_VL;
    const int64_t vectors = ck_least(conv->block, all - first);
    const bool in_quads = group < CK_VL;
    const float *image = o->x + n * s->h * s->w * conv->strides.x;
    ck_grouped_tile tile = {.line = line, .y_stride = conv->strides.y};
    tile.chunks = ring_chunks(conv);
    tile.x_vector = ring_vector(conv);
    tile.weight_vector = CK_GROUPED_TAPS * CK_GROUPED_TAPS * group * CK_VL;
    const bool clamps =
        ck_epilogue_clamps(&conv->epilogue, &tile.low, &tile.high) && conv->epilogue.combine == CK_COMBINE_NONE;
    _Alignas(64) float sums[2 * CK_GROUPED_PIXELS * CK_VL];
    tile.sums = sums;
    pad_ring(conv, scratch);
    ck_grouped_ring ring = {.there = 0};
    const int64_t begin = s->oh * part / conv->row_parts, end = s->oh * (part + 1) / conv->row_parts;
    // The next block's weights come to the second-level cache, with each row some of them.
    const float *next = o->weight + (first + vectors) * tile.weight_vector;
    const int64_t next_lines = ck_least(conv->block, all - first - vectors) * tile.weight_vector / 16;
    for (int64_t oh = begin; oh < end; oh++) {
        for (int64_t i = next_lines * (oh - begin) / (end - begin); i < next_lines * (oh + 1 - begin) / (end - begin); i++)
            __builtin_prefetch(next + i * 16, 0, 2);
        advance_ring(conv, image, oh, first * CK_VL, vectors, scratch, &ring);
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
                    tile.rows[kh] = ring.rows[kh] ? ring.rows[kh] + v * tile.x_vector + ow * stride * CK_VL : NULL;
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

// Rows that belong to one image, for one block of channels.
#define gradient_block CK_NAME(grouped_gradient_block)
static void gradient_block(const ck_grouped_conv *conv, const float *x, const float *dy, int64_t row_begin, int64_t row_end,
                           int64_t block, float *gradient, float *scratch) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t group = s->c / s->groups, all = (s->c + CK_VL - 1) / CK_VL, first = block * conv->block;
    const int64_t vectors = ck_least(conv->block, all - first), line = conv->columns * CK_VL;
    const int64_t weight_vector = CK_GROUPED_TAPS * CK_GROUPED_TAPS * group * CK_VL;
    const bool in_quads = group < CK_VL;
    const float *image = x + row_begin / s->oh * s->h * s->w * conv->strides.x;
    ck_grouped_gradient_row row = {.x_step = s->stride_w * CK_VL, .dy_stride = conv->strides.y, .pixels = s->ow};
    ck_grouped_ring ring = {.there = 0};
    for (int64_t r = row_begin; r < row_end; r++) {
        advance_ring(conv, image, r % s->oh, first * CK_VL, vectors, scratch, &ring);
        for (int64_t v = 0; v < vectors; v++) {
            const int64_t c = (first + v) * CK_VL;
            row.lanes = ck_least(CK_VL, s->c - c);
            row.dy = dy + r * s->ow * conv->strides.y + c;
            for (int64_t kh = 0; kh < CK_GROUPED_TAPS; kh++) {
                if (!ring.rows[kh]) continue;
                row.sums = gradient + (first + v) * weight_vector + kh * group * CK_GROUPED_TAPS * CK_VL;
                for (int64_t k = 0; k < group; k += 4, row.sums += 4 * CK_GROUPED_TAPS * CK_VL) {
                    row.x = ring.rows[kh] + v * ring_vector(conv) + (in_quads ? k / 4 * line : k / CK_VL * line + k % CK_VL);
                    gradient_rows[in_quads][row.lanes == CK_VL](&row);
                }
            }
        }
    }
}

static void CK_NAME(ck_grouped_weight_gradient)(const ck_grouped_conv *conv, const float *x, const float *dy, int64_t begin,
                                                int64_t end, float *gradient, float *scratch) {
    const ck_conv2d_shape *s = &conv->shape;
    // So many rows that those of all channels stay in the second-level cache; the first ones of each come to the ring anew.
    const int64_t most = ck_most(4, (1 << 17) / ck_most(1, s->c * (s->stride_h * s->w + s->ow)));
    pad_ring(conv, scratch);
    for (int64_t row = begin, next; row < end; row = next) {
        next = ck_least(ck_least(end, row + most), (row / s->oh + 1) * s->oh);
        for (int64_t block = 0; block < conv->blocks; block++)
            gradient_block(conv, x, dy, row, next, block, gradient, scratch);
    }
}
