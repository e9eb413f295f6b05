// Packed convolution: see ck_packed.h. A unit is a range of rows times a range of panels:
//
//     for each block of tiles of rows             pointers to the input, prologue
//         for each panel of weights
//             for each block of the sum's terms
//                 for each tile                   packed_tile.h
//                                                 epilogue
//
// so that the part of a panel stays in the first-level cache while the tiles go by. Where all panels of a unit have room in
// the second-level cache (rows_first), panels are the innermost loop instead, and a tile's input stays in the first. Terms
// may be multiplied in pairs, paired_kernels.h, and so may tiles and panels, strassen_kernels.h.
#include "activations.h"
#include "packed_tile.h"
#include "transpose.h"

// y[c] = the prologue of x[c], c < channels.
#define prologue_row CK_NAME(prologue_row)
static void prologue_row(const ck_packed_conv *conv, const float *x, const float *scale, const float *shift, float *y) {
    const int64_t n = conv->shape.c;
    const vf zero = v_splat(0);
    switch (conv->prologue) {
    case CK_PROLOGUE_NONE: v_copy(y, x, n); break;
    case CK_PROLOGUE_IMAGE_SCALE:
        V_EACH(c, n, lanes, v_store_n(y + c, v_load_n(scale + c, lanes) * v_load_n(x + c, lanes), lanes););
        break;
    case CK_PROLOGUE_AFFINE:
        V_EACH(c, n, lanes, {
            const vf v = v_load_n(scale + c, lanes) * v_load_n(x + c, lanes) + v_load_n(shift + c, lanes);
            v_store_n(y + c, v, lanes);
        });
        break;
    case CK_PROLOGUE_AFFINE_RELU:
        V_EACH(c, n, lanes, {
            const vf v = v_load_n(scale + c, lanes) * v_load_n(x + c, lanes) + v_load_n(shift + c, lanes);
            v_store_n(y + c, v_max(zero, v), lanes);
        });
        break;
    case CK_PROLOGUE_LAYER_NORM: {
        // Four sums: the latency of one addition after the other would be what takes the time.
        vf sum[4] = {zero, zero, zero, zero};
        int64_t c = 0;
        for (; c + 4 * CK_VL <= n; c += 4 * CK_VL)
            for (int i = 0; i < 4; i++) sum[i] += v_load(x + c + i * CK_VL);
        for (; c + CK_VL <= n; c += CK_VL) sum[0] += v_load(x + c);
        if (c < n) sum[1] += v_load_part(x + c, n - c);
        const vf mean = v_splat(v_sum((sum[0] + sum[1]) + (sum[2] + sum[3])) / (float)n);
        vf square[4] = {zero, zero, zero, zero};
        for (c = 0; c + 4 * CK_VL <= n; c += 4 * CK_VL)
            for (int i = 0; i < 4; i++) {
                const vf d = v_load(x + c + i * CK_VL) - mean;
                square[i] = d * d + square[i];
            }
        for (; c + CK_VL <= n; c += CK_VL) {
            const vf d = v_load(x + c) - mean;
            square[0] = d * d + square[0];
        }
        // Of the lanes beyond the row nothing may be counted.
        for (; c < n; c++) square[1][0] += (x[c] - mean[0]) * (x[c] - mean[0]);
        const float variance = v_sum((square[0] + square[1]) + (square[2] + square[3])) / (float)n;
        const vf rstd = v_splat(1.0f / __builtin_sqrtf(variance + conv->eps));
        V_EACH(i, n, lanes, {
            vf v = (v_load_n(x + i, lanes) - mean) * rstd;
            if (scale) v = v * v_load_n(scale + i, lanes);
            if (shift) v = v + v_load_n(shift + i, lanes);
            v_store_n(y + i, v, lanes);
        });
        break;
    }
    }
}

// What one call works on, and where its scratch is.
#ifndef CK_PACKED_KERNELS_H
#define CK_PACKED_KERNELS_H

typedef struct {
    const ck_packed_conv *conv;
    const ck_operands *operands;
    const ck_packed_extras *extras;  // never null
    int64_t segments, length;        // of a row of the product
    const float *padding;            // what taps beyond the image read
    const float **pointers;          // [tile][segment][row of the tile]
    float *inputs;                   // rows after the prologue, or segments that reach into the padding
    int64_t *y_rows;                 // of the block's rows
    float *sums;                     // [row of the block][width of the panel, or of some panels]
    const float *weights;            // of all panels
    float *bias;                     // of the last panel, or of all if there is none
    float *row_sums, *weight_sums;   // S, and two places for T: see strassen_kernels.h
    float *tiles;                    // rows in tiles of AMX: see amx_kernels.h
    float *paired_rows, *paired_products, *paired_inverses;  // see paired_kernels.h
    int64_t amx_steps;               // of such tiles, for a row's terms
    ck_packed_panel first_panel;     // of the unit
    int64_t group_inputs, group_outputs;
    int64_t column;                  // floats of one output's weights
    int64_t full_panels;             // full panels at the beginning of a group
    int64_t step, parts;             // a block of terms is `step` segments, or one of `parts` parts of a segment
    bool even_rows;                  // of x one behind the other: the micro-kernel finds them by itself
    bool direct;                     // the micro-kernel does the whole epilogue: it clamps to low ... high
    float low, high;
} ck_packed_run;

// The rows of a tile, as far as a block of them.
typedef struct {
    int64_t row, rows;        // the first of the block and their number
    int64_t tile, tiles;      // the first of the block and the number in the unit
    int64_t begin;            // the unit's first row
    // Rows that tiles may have in common, and the tiles that these have: see ck_packed_image_rows.
    int64_t image_rows, image_tiles;
    int64_t height, higher;   // rows of a tile; so many of an image's first tiles have one more
    // What the block behind this one reads and this one does not, and how many lines of 16 floats of it come to the
    // second-level cache with each tile and panel.
    const float *next_inputs;
    int64_t next_lines;
    int64_t weight_sums;  // which place those of the first two panels have: see strassen_kernels.h
} ck_packed_block;

static inline int64_t ck_packed_tile_row(const ck_packed_block *b, int64_t tile) {
    int64_t first = b->begin;
    if (tile >= b->image_tiles) {
        first += tile / b->image_tiles * b->image_rows;
        tile %= b->image_tiles;
    }
    return first + tile * b->height + ck_least(tile, b->higher);
}

// Behind the tiles from `tile` on that have the same height and whose rows follow each other.
static inline int64_t ck_packed_tiles_end(const ck_packed_block *b, int64_t tile, int64_t end) {
    const int64_t first = tile - tile % b->image_tiles, change = first + b->higher;
    return ck_least(tile < change ? change : first + b->image_tiles, end);
}

#endif

// Pointers for 1 x 1 kernels whose rows are those of x, after x_rows and the prologue.
#define point_at_rows CK_NAME(point_at_rows)
static void point_at_rows(const ck_packed_run *run, int64_t row, int64_t rows, const float **pointers, float *inputs) {
    const ck_packed_conv *conv = run->conv;
    const ck_packed_extras *extras = run->extras;
    const int64_t stride = conv->strides.x, channels = conv->shape.c;
    const bool changes = ck_packed_changes_rows(conv);
    if (!extras->x_rows && !changes) {
        for (int64_t i = 0; i < rows; i++) pointers[i] = run->operands->x + (row + i) * stride;
        return;
    }
    for (int64_t i = 0; i < rows; i++) {
        const int64_t r = row + i, from = extras->x_rows ? extras->x_rows[r] : r;
        const float *x = from < 0 ? run->padding : run->operands->x + from * stride;
        if (from >= 0 && changes) {
            const float *scale = extras->scale;
            if (conv->prologue == CK_PROLOGUE_IMAGE_SCALE)
                scale += r / (conv->shape.oh * conv->shape.ow) * channels;
            float *copy = inputs + i * ck_packed_copy_stride(conv);
            prologue_row(conv, x, scale, extras->shift, copy);
            x = copy;
        }
        pointers[i] = x;
    }
}

// A tile's rows, at most: those of AMX's are more.
#define MOST_ROWS (TILE_ROWS > CK_AMX_ROWS ? TILE_ROWS : CK_AMX_ROWS)

// The positions of a tile's rows: of the first image pixel under the kernel, which may be in the padding.
#define tile_pixels CK_NAME(tile_pixels)
CK_INLINE void tile_pixels(const ck_conv2d_shape *s, int64_t row, int64_t rows, int64_t *n, int64_t *h, int64_t *w) {
    int64_t ow = row % s->ow, oh = row / s->ow % s->oh, image = row / s->ow / s->oh;
    for (int64_t i = 0; i < rows; i++) {
        n[i] = image;
        h[i] = oh * s->stride_h - s->pad_top;
        w[i] = ow * s->stride_w - s->pad_left;
        if (++ow < s->ow) continue;
        ow = 0;
        if (++oh < s->oh) continue;
        oh = 0;
        image++;
    }
}

// Copies the rows that point into x; see ck_packed_copies.
#define copy_rows CK_NAME(copy_rows)
static void copy_rows(const ck_packed_run *run, int64_t rows, const float **pointers, float *inputs) {
    const int64_t stride = ck_packed_copy_stride(run->conv);
    for (int64_t i = 0; i < rows; i++, inputs += stride) {
        if (pointers[i] == run->padding) continue;
        v_copy(inputs, pointers[i], run->conv->shape.c);
        pointers[i] = inputs;
    }
}

// One segment per tap.
#define point_at_taps CK_NAME(point_at_taps)
static void point_at_taps(const ck_packed_run *run, int64_t row, int64_t rows, const float **pointers) {
    const ck_conv2d_shape *s = &run->conv->shape;
    const int64_t stride = run->conv->strides.x;
    int64_t n[MOST_ROWS], h[MOST_ROWS], w[MOST_ROWS];
    int64_t first[MOST_ROWS];
    tile_pixels(s, row, rows, n, h, w);
    for (int64_t i = 0; i < rows; i++) first[i] = ((n[i] * s->h + h[i]) * s->w + w[i]) * stride;
    for (int64_t kh = 0; kh < s->kh; kh++) {
        const int64_t dh = kh * s->dilation_h;
        for (int64_t kw = 0; kw < s->kw; kw++, pointers += rows) {
            const int64_t dw = kw * s->dilation_w, step = (dh * s->w + dw) * stride;
            for (int64_t i = 0; i < rows; i++) {
                const bool inside = (uint64_t)(h[i] + dh) < (uint64_t)s->h && (uint64_t)(w[i] + dw) < (uint64_t)s->w;
                pointers[i] = inside ? run->operands->x + (first[i] + step) : run->padding;
            }
        }
    }
}

// One segment per row of the kernel. One that reaches into the padding is put together in `inputs`.
#define point_at_kernel_rows CK_NAME(point_at_kernel_rows)
static void point_at_kernel_rows(const ck_packed_run *run, int64_t row, int64_t rows, const float **pointers,
                                 float *inputs) {
    const ck_conv2d_shape *s = &run->conv->shape;
    const int64_t c = s->c;
    int64_t n[MOST_ROWS], h[MOST_ROWS], w[MOST_ROWS];
    const float *first = run->operands->x;
    const int64_t image_row = s->w * c, down = s->dilation_h * image_row, last = rows - 1;
    const int64_t ow = row % s->ow;
    if (ow + rows <= s->ow) {
        // Pixels of one row, most often without padding.
        const int64_t oh = row / s->ow % s->oh, top = oh * s->stride_h - s->pad_top, left = ow * s->stride_w - s->pad_left;
        if (top >= 0 && left >= 0 && top + (s->kh - 1) * s->dilation_h < s->h &&
            left + last * s->stride_w + s->kw <= s->w) {
            const float *x = first + (row / s->ow / s->oh * s->h + top) * image_row + left * c;
            for (int64_t kh = 0; kh < s->kh; kh++, pointers += rows, x += down)
                for (int64_t i = 0; i < rows; i++) pointers[i] = x + i * s->stride_w * c;
            return;
        }
    }
    tile_pixels(s, row, rows, n, h, w);
    for (int64_t kh = 0; kh < s->kh; kh++, pointers += rows) {
        for (int64_t i = 0; i < rows; i++) {
            const int64_t ih = h[i] + kh * s->dilation_h;
            if (ih < 0 || ih >= s->h) {
                pointers[i] = run->padding;
                continue;
            }
            const float *x = first + (n[i] * s->h + ih) * image_row;
            if (w[i] >= 0 && w[i] + s->kw <= s->w) {
                pointers[i] = x + w[i] * c;
                continue;
            }
            const int64_t left = w[i] < 0 ? -w[i] : 0, right = s->w - w[i] < s->kw ? s->w - w[i] : s->kw;
            for (int64_t k = 0; k < s->kw * c; k++) inputs[k] = k >= left * c && k < right * c ? x[w[i] * c + k] : run->padding[k];
            pointers[i] = inputs;
            inputs += s->kw * c;
        }
    }
}

// The pointers to a tile's rows, from `row` on, and what is done to these before they are multiplied; they are the rows from
// `at` on of those that are prepared.
#define point_at_tile CK_NAME(point_at_tile)
static void point_at_tile(const ck_packed_run *run, int64_t row, int64_t rows, int64_t at) {
    const ck_packed_conv *conv = run->conv;
    const float **pointers = run->pointers + at * run->segments;
    float *copy = run->inputs + at * ck_packed_copy_stride(conv);
    if (ck_packed_rows_of_x(conv))
        point_at_rows(run, row, rows, pointers, copy);
    else if (conv->merged)
        point_at_kernel_rows(run, row, rows, pointers, run->inputs + at * run->segments * run->length);
    else
        point_at_taps(run, row, rows, pointers);
    if (ck_packed_copies(conv) && !ck_packed_changes_rows(conv)) copy_rows(run, rows, pointers, copy);
}

// a0 b0 a1 b1 ...
#define v_interleave CK_NAME(v_interleave)
CK_INLINE void v_interleave(vf a, vf b, vf *low, vf *high) {
#if CK_VL == 4
    *low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    *high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#elif CK_VL == 8
    *low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    *high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    *low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#endif
}

// The epilogue of sums[rows, width], of which `cols` columns from o on exist, for an f and combine that are constants
// where this is inlined.
#define finish_rows CK_NAME(finish_rows)
CK_INLINE void finish_rows(ck_activation f, ck_combine combine, const ck_packed_run *run, const float *sums,
                           int64_t width, int64_t row, int64_t rows, const int64_t *y_rows, int64_t o, int64_t cols) {
    const ck_strides *strides = &run->conv->strides;
    for (int64_t i = 0; i < rows; i++, sums += width) {
        const int64_t r = y_rows ? y_rows[i] : row + i;
        if (r < 0) continue;
        float *y = run->operands->y + r * strides->y + o;
        const float *residual = combine == CK_COMBINE_NONE ? NULL : run->operands->residual + r * strides->residual + o;
        V_EACH(c, cols, lanes, {
            vf v = v_load_n(sums + c, lanes);
            vf other = v_splat(0);
            if (combine != CK_COMBINE_NONE) other = v_load_n(residual + c, lanes);
            if (combine == CK_COMBINE_ADD_BEFORE) v = v + other;
            v = v_activate(f, v);
            if (combine == CK_COMBINE_ADD_AFTER) v = v + other;
            if (combine == CK_COMBINE_INTERLEAVE) {
                vf low;
                vf high;
                v_interleave(other, v, &low, &high);
                float *to = y + o + 2 * c;
                v_store_n(to, low, 2 * lanes < CK_VL ? 2 * lanes : CK_VL);
                if (2 * lanes > CK_VL) v_store_n(to + CK_VL, high, 2 * lanes - CK_VL);
            } else {
                v_store_n(y + c, v, lanes);
            }
        });
    }
}

#define FINISH(f)                                                                                             \
    case f:                                                                                                   \
        switch (run->conv->epilogue.combine) {                                                                \
        case CK_COMBINE_NONE: finish_rows(f, CK_COMBINE_NONE, FINISH_ARGUMENTS); break;                       \
        case CK_COMBINE_ADD_BEFORE: finish_rows(f, CK_COMBINE_ADD_BEFORE, FINISH_ARGUMENTS); break;           \
        case CK_COMBINE_ADD_AFTER: finish_rows(f, CK_COMBINE_ADD_AFTER, FINISH_ARGUMENTS); break;             \
        case CK_COMBINE_INTERLEAVE: finish_rows(f, CK_COMBINE_INTERLEAVE, FINISH_ARGUMENTS); break;           \
        }                                                                                                     \
        break
#define FINISH_ARGUMENTS run, sums, width, row, rows, y_rows, o, cols
#define finish CK_NAME(finish)
static void finish(const ck_packed_run *run, const float *sums, int64_t width, int64_t row, int64_t rows,
                   const int64_t *y_rows, int64_t o, int64_t cols) {
    switch (run->conv->epilogue.activation) {
    FINISH(CK_RELU);
    FINISH(CK_RELU6);
    FINISH(CK_HARDSWISH);
    FINISH(CK_HARDSIGMOID);
    FINISH(CK_SILU);
    FINISH(CK_GELU);
    FINISH(CK_SIGMOID);
    FINISH(CK_TANH);
    FINISH(CK_IDENTITY);
    }
}

// A panel's bias, or zeros.
#define packed_bias CK_NAME(packed_bias)
static const float *packed_bias(const ck_packed_run *run, ck_packed_panel panel) {
    if (!run->operands->bias) return run->bias;
    if (panel.cols == panel.width) return run->operands->bias + panel.o;
    v_copy(run->bias, run->operands->bias + panel.o, panel.cols);
    return run->bias;
}

// Where sums go of the rows from `row` on, which the block has, and of output channels from o on.
#define packed_result CK_NAME(packed_result)
CK_INLINE ck_packed_result packed_result(const ck_packed_run *run, const ck_packed_block *block, int64_t row, int64_t o) {
    const ck_strides *strides = &run->conv->strides;
    const float *residual = run->conv->epilogue.combine == CK_COMBINE_NONE ? NULL : run->operands->residual;
    const int64_t first = run->extras->y_rows ? 0 : row;
    return (ck_packed_result){
        .low = run->low,
        .high = run->high,
        .residual = residual ? residual + first * strides->residual + o : NULL,
        .y = run->operands->y + first * strides->y + o,
        .residual_stride = strides->residual,
        .y_stride = strides->y,
        .y_rows = run->extras->y_rows ? run->y_rows + row - block->row : NULL,
    };
}

#if CK_VL == 16
#include "paired_kernels.h"
#include "strassen_kernels.h"
#endif

#undef CK_AMX
#if CK_VL == 16 && !defined(CK_EMULATE_AVX512)
#define CK_AMX 1
#include "amx_kernels.h"
#else
#define CK_AMX 0
#endif

// Where what the rows before `row` read of x ends, when it is read row by row of the image.
#define inputs_end CK_NAME(inputs_end)
static const float *inputs_end(const ck_packed_run *run, int64_t row) {
    const ck_conv2d_shape *s = &run->conv->shape;
    const int64_t stride = run->conv->strides.x, oh = (row - 1) / s->ow % s->oh, image = (row - 1) / s->ow / s->oh;
    if (ck_packed_rows_of_x(run->conv)) return run->operands->x + row * stride;
    const int64_t h = oh * s->stride_h - s->pad_top + (s->kh - 1) * s->dilation_h + 1;
    return run->operands->x + (image * s->h + ck_most(0, ck_least(h, s->h))) * s->w * stride;
}

// Lets the inputs of the block behind this one come meanwhile where panels are the innermost loop, which reads inputs
// fastest; and those of the first block of a unit, if it reads them for one group after the other, a few lines at a time.
#define prefetch_inputs CK_NAME(prefetch_inputs)
static void prefetch_inputs(const ck_packed_run *run, ck_packed_block *block, int64_t tile_end, int64_t panels,
                            bool is_first) {
    const ck_packed_conv *conv = run->conv;
    block->next_lines = 0;
    block->next_inputs = run->operands->x;
    if (run->extras->x_rows || conv->strides.x != conv->shape.c) return;
    const float *end = inputs_end(run, block->row + block->rows);
    if (is_first && conv->shape.groups > 1) {
        const float *begin = block->row > 0 ? inputs_end(run, block->row) : run->operands->x;
        if (end - begin <= 64 * 1024)
            for (; begin < end; begin += 16) __builtin_prefetch(begin, 0, 2);
    }
    const int64_t next_end = ck_least(block->tiles, tile_end + conv->tile_block);
    if (!conv->rows_first || next_end == tile_end) return;
    const int64_t floats = inputs_end(run, ck_packed_tile_row(block, next_end)) - end;
    const int64_t steps = (tile_end - block->tile) * panels;
    block->next_inputs = end;
    block->next_lines = (floats / 16 + steps - 1) / steps;
}

// All panels [panel_begin, panel_end) for a block of tiles.
#define packed_block CK_NAME(packed_block)
static void packed_block(const ck_packed_run *run, ck_packed_block *block, int64_t tile_end, int64_t panel_begin,
                         int64_t panel_end) {
    const ck_packed_conv *conv = run->conv;
    const ck_operands *operands = run->operands;
    const int64_t segments = run->segments, length = run->length, step = run->step, parts = run->parts;
    // Panels inside the micro-kernel, where nothing comes between them.
    const bool many = conv->rows_first && step >= segments && parts == 1 && conv->shape.groups == 1;
    const int64_t most = run->direct ? conv->panels : CK_PACKED_SUMS;
    ck_packed_panel panel = run->first_panel;
    int64_t panels;
#if CK_VL == 16
    if (conv->strassen) panel_begin = strassen_block(run, block, tile_end, panel_begin, panel_end, &panel);
#endif
    for (int64_t p = panel_begin; p < panel_end; p += panels) {
        panels = many ? ck_most(1, ck_least(most, ck_least(run->full_panels, panel_end) - p)) : 1;
        const int64_t o = panel.o, cols = panel.cols, width = panel.width;
        const float *weight = run->weights + panel.weights;
        const float *bias = packed_bias(run, panel);
        for (int64_t k = 0; k < segments; k += step) {
            const int64_t count = segments - k < step ? segments - k : step;
            for (int64_t part = 0; part < parts; part++) {
                const int64_t c0 = parts == 1 ? 0 : length * part / parts;
                const int64_t c1 = parts == 1 ? length : length * (part + 1) / parts;
                const bool first = k == 0 && part == 0, last = k + step >= segments && part == parts - 1;
                // Where several tiles go by a panel, what is multiplied next comes to the second-level cache meanwhile.
                const int64_t terms = (count - 1) * length + c1 - c0, tiles = tile_end - block->tile;
                const int64_t ahead = conv->rows_first ? 0 : (width + tiles - 1) / tiles;
                const float *behind = weight + (k * length + c0 + terms) * width;
                if (last && p + panels == panel_end && tile_end < block->tiles)
                    behind = run->weights + run->first_panel.weights;
                // All tiles of one height at once, if their pointers lie one after the other.
                for (int64_t t = block->tile, next; t < tile_end; t = next) {
                    next = count < segments ? t + 1 : ck_packed_tiles_end(block, t, tile_end);
                    const int64_t row = ck_packed_tile_row(block, t), rows = ck_packed_tile_row(block, t + 1) - row;
                    const int64_t at = row - block->row;
                    float *sums = run->sums + at * panels * width;
                    const bool store = last && run->direct && cols == width;
                    const ck_packed_tile tile = {
                        .tiles = next - t,
                        .rows = run->even_rows ? NULL : run->pointers + at * segments + k * rows,
                        .first = operands->x + row * conv->strides.x,
                        .row_stride = conv->strides.x,
                        .offset = panel.group * run->group_inputs + c0,
                        .segments = count,
                        .length = c1 - c0,
                        .panels = panels,
                        .weight = weight + (k * length + c0) * width,
                        .start = first ? bias : sums,
                        .start_step = first ? 0 : width,
                        .start_panel = operands->bias ? width : 0,
                        .sums = store ? NULL : sums,
                        .result = packed_result(run, block, row, o),
                        .next = behind + (t - block->tile) * terms * ahead,
                        .next_step = ahead,
                        .next_inputs =
                            block->next_inputs + ((p - panel_begin) * tiles + t - block->tile) * block->next_lines * 16,
                        .next_lines = block->next_lines,
                    };
                    packed_tiles[width / conv->grain - 1][rows - 1](&tile);
                    const int64_t all = panels > 1 ? panels * width : cols;
                    if (last && !store)
                        finish(run, sums, panels * width, row, (next - t) * rows, tile.result.y_rows, o, all);
                }
            }
        }
        for (int64_t i = 0; i < panels; i++) panel = ck_packed_panel_next(conv, run->group_outputs, run->column, panel);
    }
}

// The weights of all panels, each input's times its scale.
#define scale_weights CK_NAME(scale_weights)
static void scale_weights(const ck_packed_run *run, float *scaled) {
    const ck_packed_conv *conv = run->conv;
    const float *weight = run->operands->weight, *scale = run->extras->scale;
    ck_packed_panel panel = ck_packed_panel_at(conv, 0);
    for (int64_t p = 0; p < conv->panels; p++) {
        for (int64_t k = 0; k < run->column; k++)
            for (int64_t c = 0; c < panel.width; c++, weight++) *scaled++ = *weight * scale[k];
        panel = ck_packed_panel_next(conv, run->group_outputs, run->column, panel);
    }
}

// The pointers to a block's rows, and what is done to these before they are multiplied.
#define prepare_rows CK_NAME(prepare_rows)
static void prepare_rows(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end) {
    for (int64_t t = block->tile; t < tile_end && !run->even_rows && !run->conv->paired_pixels; t++) {
        const int64_t row = ck_packed_tile_row(block, t);
        point_at_tile(run, row, ck_packed_tile_row(block, t + 1) - row, row - block->row);
    }
#if CK_VL == 16
    if (run->conv->paired_pixels)
        pair_pixels(run, block, tile_end);
    else if (run->conv->paired)
        pair_rows(run, block, tile_end);
#endif
    if (run->extras->y_rows)
        for (int64_t i = 0; i < block->rows; i++) run->y_rows[i] = run->extras->y_rows[block->row + i];
}

static void CK_NAME(ck_packed_conv_run)(const ck_packed_conv *conv, const ck_operands *operands,
                                        const ck_packed_extras *extras, int64_t begin, int64_t end, float *scratch) {
    static const ck_packed_extras none;
    const ck_conv2d_shape *s = &conv->shape;
    ck_packed_run run = {.conv = conv, .operands = operands, .extras = extras ? extras : &none};
    ck_packed_kept nothing = {0}, *kept = run.extras->kept ? run.extras->kept : &nothing;
    ck_packed_scratch parts;
    ck_packed_scratch_parts(conv, &parts);
    run.segments = parts.segments;
    run.length = parts.length;
    run.group_inputs = s->c / s->groups;
    run.group_outputs = s->o / s->groups;
    run.column = ck_packed_column(conv);
    run.amx_steps = ck_amx_steps(conv);
    run.full_panels = ck_packed_full_panels(conv, run.group_outputs);
    run.step = run.length >= conv->k_block ? 1 : conv->k_block / run.length;
    run.parts = ck_packed_parts(conv, conv->amx ? run.amx_steps * CK_AMX_TERMS : run.length);
    run.even_rows = ck_packed_has_even_rows(conv) && !run.extras->x_rows && !conv->strassen && !conv->amx &&
                    !conv->paired;
    run.direct = ck_epilogue_clamps(&conv->epilogue, &run.low, &run.high);
    for (int64_t i = 0; i < parts.pointers; i++) scratch[i] = run.extras->padding ? run.extras->padding[i % s->c] : 0;
    run.padding = scratch;
    run.pointers = (const float **)(scratch + parts.pointers);
    run.y_rows = (int64_t *)(scratch + parts.y_rows);
    run.inputs = scratch + parts.inputs;
    run.sums = scratch + parts.sums;
    run.bias = scratch + parts.bias;
    run.row_sums = scratch + parts.row_sums;
    run.weight_sums = scratch + parts.weight_sums;
    run.tiles = scratch + parts.tiles;
    run.paired_rows = scratch + parts.paired_rows;
    run.paired_products = scratch + parts.paired_products;
    run.paired_inverses = scratch + parts.paired_inverses;
    for (int64_t i = 0; i < conv->panel; i++) run.bias[i] = 0;
    run.weights = operands->weight;
    if (conv->scales_weights) {
        if (!kept->weights) scale_weights(&run, scratch + parts.weights);
        kept->weights = true;
        run.weights = scratch + parts.weights;
    }
    const int64_t together = ck_packed_together(conv), rows = s->n * s->oh * s->ow / together;
    for (int64_t u = begin; u < end; u++) {
        const int64_t slice = u % conv->slices, part = u / conv->slices;
        const int64_t row_part = part / conv->panel_parts, panel_part = part % conv->panel_parts;
        int64_t panel_begin = ck_packed_panel_part(conv, panel_part);
        int64_t panel_end = ck_packed_panel_part(conv, panel_part + 1);
        ck_packed_block block = {.begin = rows * row_part / conv->row_parts * together};
        const int64_t in_unit = rows * (row_part + 1) / conv->row_parts * together - block.begin;
        block.image_rows = ck_packed_image_rows(conv, in_unit);
        block.image_tiles = ck_packed_image_tiles(conv, block.image_rows);
        block.height = block.image_rows / block.image_tiles;
        block.higher = block.image_rows % block.image_tiles;
        block.tiles = in_unit > 0 ? in_unit / block.image_rows * block.image_tiles : 0;
        const int64_t blocks = (block.tiles + conv->tile_block - 1) / conv->tile_block;
        int64_t first = 0, behind = block.tiles;
        if (blocks > 1) {
            first = blocks * slice / conv->slices * conv->tile_block;
            behind = ck_least(block.tiles, blocks * (slice + 1) / conv->slices * conv->tile_block);
        } else {
            const int64_t panels = panel_end - panel_begin;
            panel_end = panel_begin + panels * (slice + 1) / conv->slices;
            panel_begin += panels * slice / conv->slices;
        }
        run.first_panel = ck_packed_panel_at(conv, panel_begin);
        const bool is_prepared = kept->rows == row_part + 1;
        kept->rows = blocks == 1 ? row_part + 1 : 0;
        block.tile = first;
#if CK_AMX
        if (conv->amx) {
            amx_slice(&run, &block, behind, panel_begin, panel_end, is_prepared);
            continue;
        }
#endif
        for (; block.tile < behind; block.tile += conv->tile_block) {
            const int64_t tile_end = ck_least(behind, block.tile + conv->tile_block);
            block.row = ck_packed_tile_row(&block, block.tile);
            block.rows = ck_packed_tile_row(&block, tile_end) - block.row;
            prefetch_inputs(&run, &block, tile_end, panel_end - panel_begin, block.tile == first);
            if (!is_prepared) prepare_rows(&run, &block, tile_end);
#if CK_VL == 16
            if (conv->paired) {
                paired_block(&run, &block, tile_end, panel_begin, panel_end);
                continue;
            }
#endif
            packed_block(&run, &block, tile_end, panel_begin, panel_end);
        }
    }
}

static void CK_NAME(ck_packed_conv_pack_panels)(const ck_packed_conv *conv, const float *weight, float *packed,
                                                int64_t begin, int64_t end) {
    const int64_t terms = ck_packed_terms(conv);
#if CK_AMX
    if (conv->amx) return amx_pack(conv, weight, NULL, packed, begin, end);
#endif
    for (int64_t p = begin; p < end; p++) {
        const ck_packed_panel panel = ck_packed_panel_at(conv, p);
        float *to = packed + panel.weights;
        const float *from = weight + panel.o * terms;
#if CK_VL == 16
        if (conv->paired) {
            paired_pack(conv, from, panel.cols, to, panel.width);
            continue;
        }
#endif
        transpose_matrix(from, terms, panel.cols, terms, to, panel.width, false);
        if (panel.cols == panel.width) continue;
        for (int64_t k = 0; k < terms; k++)
            for (int64_t c = panel.cols; c < panel.width; c++) to[k * panel.width + c] = 0;
    }
}

static void CK_NAME(ck_packed_conv_unpack_panels)(const ck_packed_conv *conv, const float *packed, float *weight,
                                                  int64_t begin, int64_t end) {
    const int64_t terms = ck_packed_terms(conv);
#if CK_AMX
    if (conv->amx) return amx_unpack(conv, packed, weight, begin, end);
#endif
    for (int64_t p = begin; p < end; p++) {
        const ck_packed_panel panel = ck_packed_panel_at(conv, p);
        const float *from = packed + panel.weights;
        float *to = weight + panel.o * terms;
#if CK_VL == 16
        if (conv->paired) {
            paired_unpack(conv, from, panel.width, panel.cols, to);
            continue;
        }
#endif
        transpose_matrix(from, panel.width, terms, panel.cols, to, terms, false);
    }
}

static void CK_NAME(ck_packed_conv_pack_view)(const ck_packed_conv *conv, const ck_weight_view *view, float *packed,
                                              int64_t begin, int64_t end) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t inputs = s->c / s->groups;
#if CK_AMX
    if (conv->amx) return amx_pack(conv, NULL, view, packed, begin, end);
#endif
    // Along the memory of the weights: all panels of one input under one tap, which are neighbours there.
    for (int64_t tap = 0; tap < s->kh * s->kw; tap++) {
        for (int64_t i = 0; i < inputs; i++) {
            const float *from = view->first + tap / s->kw * view->kh + tap % s->kw * view->kw + i * view->input;
            for (int64_t p = begin; p < end; p++) {
                const ck_packed_panel panel = ck_packed_panel_at(conv, p);
                float *to = packed + panel.weights + ck_packed_position(conv, tap * inputs + i) * panel.width;
                v_copy(to, from + panel.group * view->group + panel.first, panel.cols);
                for (int64_t c = panel.cols; c < panel.width; c++) to[c] = 0;
            }
        }
    }
#if CK_VL == 16
    for (int64_t p = begin; p < end && conv->paired; p++) {
        const ck_packed_panel panel = ck_packed_panel_at(conv, p);
        paired_complete(conv, packed + panel.weights, panel.width);
    }
#endif
}
