// Depthwise convolution for inference. A tile of adjacent output pixels of one row and one vector of channels stays in
// registers; every input vector under it is loaded once per kernel row. With 32 registers (AVX-512) the rows of a unit go
// by inside the loop over the channels, so that the kh input rows that neighbouring output rows share come from the
// first-level cache, and 3 x 3 kernels compute two rows at once. With 16 that would leave no room for the weights; there the
// channels are the inner loop, whose consecutive loads the processor fetches ahead (Zen 3, 56 x 56 x 144, 3 x 3: 297 us by
// the first way, 165 by the second).
#include "activations.h"

#define job CK_NAME(depthwise_job)
typedef struct {
    const ck_depthwise_conv *conv;
    const float *x, *weight, *bias, *residual;  // x and residual of the image
    float *y, *sums;
    int64_t row_begin, row_end, channel_begin, channel_end;
    bool plain;  // no residual, and an activation that takes few registers
    float high;  // of one that clamps to 0 ... high
} job;

// `pixels` adjacent output pixels from ow on, `count` of them inside the row. Bit j of `inside` tells whether the input
// column of tap 0 plus j is inside the image.
#define tile_place CK_NAME(depthwise_tile_place)
typedef struct {
    int64_t ow;
    int count;
    uint32_t inside;
} tile_place;

// Values on their way out that a tile does not finish in registers (112 x 112 x 32 on one thread: hard swish 143 us by this
// way and 91 in registers, SiLU 162 and 138).
#define finish_values CK_NAME(depthwise_finish_values)
static __attribute__((noinline)) void finish_values(const job *j, vf *value, int count, int64_t pixel, int64_t c,
                                                    int64_t lanes) {
    const ck_depthwise_conv *conv = j->conv;
    const ck_combine combine = conv->epilogue.combine;
    const float *residual = combine == CK_COMBINE_NONE ? NULL : j->residual + pixel * conv->strides.residual + c;
    if (combine == CK_COMBINE_ADD_BEFORE)
        for (int p = 0; p < count; p++) value[p] = value[p] + v_load_n(residual + p * conv->strides.residual, lanes);
#define CASE(f)                                                         \
    case f:                                                             \
        for (int p = 0; p < count; p++) value[p] = v_activate(f, value[p]); \
        break;
    switch (conv->epilogue.activation) {
        CASE(CK_RELU)
        CASE(CK_RELU6)
        CASE(CK_HARDSWISH)
        CASE(CK_HARDSIGMOID)
        CASE(CK_SILU)
        CASE(CK_GELU)
        CASE(CK_SIGMOID)
        CASE(CK_TANH)
        CASE(CK_IDENTITY)
    }
#undef CASE
    if (combine == CK_COMBINE_ADD_AFTER)
        for (int p = 0; p < count; p++) value[p] = value[p] + v_load_n(residual + p * conv->strides.residual, lanes);
    float *y = j->y + pixel * conv->strides.y;
    if (combine == CK_COMBINE_INTERLEAVE) {
        for (int p = 0; p < count; p++)
            for (int64_t i = 0; i < lanes; i++) {
                y[p * conv->strides.y + 2 * (c + i)] = residual[p * conv->strides.residual + i];
                y[p * conv->strides.y + 2 * (c + i) + 1] = value[p][i];
            }
        return;
    }
    for (int p = 0; p < count; p++) v_store_n(y + p * conv->strides.y + c, value[p], lanes);
}

// The epilogue of one tile; pixels and edges are constants where this is inlined.
#define finish CK_NAME(depthwise_finish)
CK_INLINE void finish(const job *j, int pixels, bool edges, int count, int64_t pixel, int64_t c, int64_t lanes,
                      vf *sum) {
    if (j->plain) {
        const int64_t stride = j->conv->strides.y;
        float *y = j->y + pixel * stride + c;
        const ck_activation f = j->conv->epilogue.activation;
        if (f == CK_SILU)
            UNROLL for (int p = 0; p < pixels; p++) sum[p] = v_activate(CK_SILU, sum[p]);
        else if (f == CK_HARDSWISH)
            UNROLL for (int p = 0; p < pixels; p++) sum[p] = v_activate(CK_HARDSWISH, sum[p]);
        else if (f != CK_IDENTITY)
            UNROLL for (int p = 0; p < pixels; p++) sum[p] = v_clamp(sum[p], 0, j->high);
        UNROLL for (int p = 0; p < pixels; p++, y += stride)
            if (!edges || p < count) v_store_n(y, sum[p], lanes);
    } else {
        vf value[8];
        UNROLL for (int p = 0; p < pixels; p++) value[p] = sum[p];
        finish_values(j, value, edges ? count : pixels, pixel, c, lanes);
        UNROLL for (int p = 0; p < pixels; p++) sum[p] = value[p];
    }
    if (j->sums) {
        vf total = v_load_n(j->sums + c, lanes);
        UNROLL for (int p = 0; p < pixels; p++)
            if (!edges || p < count) total = total + sum[p];
        v_store_n(j->sums + c, total, lanes);
    }
}

// All rows and channels of the job under one place. k, stride, pixels and edges are constants where this is inlined;
// without edges, everything along the width is inside.
#define strip CK_NAME(depthwise_strip)
CK_INLINE void strip(const job *j, int k, int stride, int pixels, bool edges, const tile_place *place) {
    const ck_depthwise_conv *conv = j->conv;
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t x_pixel = conv->strides.x, x_row = s->w * x_pixel;
    const uint32_t inside = place->inside;
    const int64_t most = CK_VL == 16 ? CK_VL : j->channel_end - j->channel_begin;  // channels in the inner loop
    for (int64_t first = j->channel_begin; first < j->channel_end; first += most) {
        const int64_t channels = j->channel_end - first < most ? j->channel_end - first : most;
        for (int64_t oh = j->row_begin; oh < j->row_end; oh++) {
            const int64_t h0 = oh * stride - s->pad_top;
            const int64_t kh_begin = h0 < 0 ? -h0 : 0;
            const int64_t kh_end = h0 + k > s->h ? s->h - h0 : k;
            const float *corner = j->x + (h0 + kh_begin) * x_row + (place->ow * stride - s->pad_left) * x_pixel + first;
            const float *weight = j->weight + (first * k + kh_begin * CK_VL) * k;
            V_EACH(c, channels, lanes, {
                const vf start = j->bias ? v_load_n(j->bias + first + c, lanes) : v_splat(0);
                const float *x = corner + c;
                const float *tap = weight + c * k * k;
                vf sum[8];
                UNROLL for (int p = 0; p < pixels; p++) sum[p] = start;
                for (int64_t kh = kh_begin; kh < kh_end; kh++, x += x_row, tap += k * CK_VL) {
                    vf w[7];
                    UNROLL for (int i = 0; i < k; i++) w[i] = v_load(tap + i * CK_VL);
                    UNROLL for (int i = 0; i < (pixels - 1) * stride + k; i++) {
                        if (edges && !(inside >> i & 1)) continue;
                        const vf v = v_load_n(x + i * x_pixel, lanes);
                        UNROLL for (int p = 0; p < pixels; p++)
                            if (i >= p * stride && i < p * stride + k) sum[p] = v * w[i - p * stride] + sum[p];
                    }
                }
                finish(j, pixels, edges, place->count, oh * s->ow + place->ow, first + c, lanes, sum);
            });
        }
    }
}

#if CK_VL == 16
// `rows` output rows from oh on, for 3 x 3 kernels, whose weights stay in registers.
#define rows_3x3 CK_NAME(depthwise_rows_3x3)
CK_INLINE void rows_3x3(const job *j, int stride, int pixels, int rows, bool edges, const tile_place *place,
                        int64_t oh, const float *column, const vf *w, vf start, int64_t c, int64_t lanes) {
    const ck_depthwise_conv *conv = j->conv;
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t x_pixel = conv->strides.x, x_row = s->w * x_pixel;
    const int64_t h0 = oh * stride - s->pad_top;
    const uint32_t inside = place->inside;
    const float *x = column + h0 * x_row;
    vf sum[2][8];
    for (int p = 0; p < pixels; p++) sum[0][p] = sum[1][p] = start;
    UNROLL for (int i = 0; i < (rows - 1) * stride + 3; i++, x += x_row) {
        if (h0 + i < 0 || h0 + i >= s->h) continue;
        UNROLL for (int k = 0; k < (pixels - 1) * stride + 3; k++) {
            if (edges && !(inside >> k & 1)) continue;
            const vf v = v_load_n(x + k * x_pixel, lanes);
            UNROLL for (int r = 0; r < rows; r++)
                UNROLL for (int p = 0; p < pixels; p++)
                    if (i >= r * stride && i < r * stride + 3 && k >= p * stride && k < p * stride + 3)
                        sum[r][p] = v * w[(i - r * stride) * 3 + k - p * stride] + sum[r][p];
        }
    }
    finish(j, pixels, edges, place->count, oh * s->ow + place->ow, c, lanes, sum[0]);
    if (rows > 1) finish(j, pixels, edges, place->count, (oh + 1) * s->ow + place->ow, c, lanes, sum[1]);
}

#define strip_3x3 CK_NAME(depthwise_strip_3x3)
CK_INLINE void strip_3x3(const job *j, int stride, int pixels, bool edges, const tile_place *place) {
    const int64_t channels = j->channel_end - j->channel_begin;
    V_EACH(from, channels, lanes, {
        const int64_t c = j->channel_begin + from;
        vf w[9];
        for (int i = 0; i < 9; i++) w[i] = v_load(j->weight + c * 9 + i * CK_VL);
        const vf start = j->bias ? v_load_n(j->bias + c, lanes) : v_splat(0);
        const float *column = j->x + (place->ow * stride - j->conv->shape.pad_left) * j->conv->strides.x + c;
        int64_t oh = j->row_begin;
        for (; oh + 2 <= j->row_end; oh += 2)
            rows_3x3(j, stride, pixels, 2, edges, place, oh, column, w, start, c, lanes);
        if (oh < j->row_end) rows_3x3(j, stride, pixels, 1, edges, place, oh, column, w, start, c, lanes);
    });
}
#endif

#define strip_function CK_NAME(depthwise_strip_function)
typedef void strip_function(const job *, const tile_place *);

#define STRIP_3X3(STRIDE)                                                                         \
    static void CK_NAME(depthwise_inner_3_##STRIDE)(const job *j, const tile_place *place) {      \
        strip_3x3(j, STRIDE, CK_TILE, false, place);                                              \
    }                                                                                             \
    static void CK_NAME(depthwise_edge_3_##STRIDE)(const job *j, const tile_place *place) {       \
        strip_3x3(j, STRIDE, CK_TILE, true, place);                                               \
    }
#define STRIP(K, STRIDE)                                                                          \
    static void CK_NAME(depthwise_inner_##K##_##STRIDE)(const job *j, const tile_place *place) {  \
        strip(j, K, STRIDE, CK_TILE, false, place);                                               \
    }                                                                                             \
    static void CK_NAME(depthwise_edge_##K##_##STRIDE)(const job *j, const tile_place *place) {   \
        strip(j, K, STRIDE, CK_TILE, true, place);                                                \
    }
#if CK_VL == 16
STRIP_3X3(1)
STRIP_3X3(2)
#else  // too few registers
STRIP(3, 1)
STRIP(3, 2)
#endif
STRIP(5, 1)
STRIP(5, 2)
STRIP(7, 1)
STRIP(7, 2)
#undef STRIP
#undef STRIP_3X3

// Any kernel, stride and dilation, pixel by pixel.
#define any_kernel CK_NAME(depthwise_any_kernel)
static void any_kernel(const job *j) {
    const ck_depthwise_conv *conv = j->conv;
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t channels = j->channel_end - j->channel_begin;
    for (int64_t oh = j->row_begin; oh < j->row_end; oh++) {
        for (int64_t ow = 0; ow < s->ow; ow++) {
            V_EACH(from, channels, lanes, {
                const int64_t c = j->channel_begin + from;
                vf sum = j->bias ? v_load_n(j->bias + c, lanes) : v_splat(0);
                for (int64_t kh = 0; kh < s->kh; kh++) {
                    const int64_t h = oh * s->stride_h - s->pad_top + kh * s->dilation_h;
                    if (h < 0 || h >= s->h) continue;
                    const float *tap = j->weight + c * s->kh * s->kw + kh * s->kw * CK_VL;
                    for (int64_t kw = 0; kw < s->kw; kw++) {
                        const int64_t w = ow * s->stride_w - s->pad_left + kw * s->dilation_w;
                        if (w < 0 || w >= s->w) continue;
                        sum = v_load_n(j->x + (h * s->w + w) * conv->strides.x + c, lanes) * v_load(tap + kw * CK_VL) + sum;
                    }
                }
                finish(j, 1, false, 1, oh * s->ow + ow, c, lanes, &sum);
            });
        }
    }
}

#define run_job CK_NAME(depthwise_run_job)
static void run_job(const job *j) {
    const ck_conv2d_shape *s = &j->conv->shape;
    if (!ck_depthwise_has_tiles(s)) {
        any_kernel(j);
        return;
    }
    static strip_function *const table[3][2][2] = {
        {{CK_NAME(depthwise_inner_3_1), CK_NAME(depthwise_edge_3_1)}, {CK_NAME(depthwise_inner_3_2), CK_NAME(depthwise_edge_3_2)}},
        {{CK_NAME(depthwise_inner_5_1), CK_NAME(depthwise_edge_5_1)}, {CK_NAME(depthwise_inner_5_2), CK_NAME(depthwise_edge_5_2)}},
        {{CK_NAME(depthwise_inner_7_1), CK_NAME(depthwise_edge_7_1)}, {CK_NAME(depthwise_inner_7_2), CK_NAME(depthwise_edge_7_2)}},
    };
    strip_function *const *run = table[s->kw / 2 - 1][s->stride_w - 1];
    for (int64_t ow = 0; ow < s->ow; ow += CK_TILE) {
        const int64_t left = s->ow - ow, count = left < CK_TILE ? left : CK_TILE;
        const int64_t columns = (count - 1) * s->stride_w + s->kw, w0 = ow * s->stride_w - s->pad_left;
        tile_place place = {ow, (int)count, 0};
        for (int64_t i = 0; i < columns; i++)
            if (w0 + i >= 0 && w0 + i < s->w) place.inside |= 1u << i;
        const bool edges = count < CK_TILE || w0 < 0 || w0 + columns > s->w;
        run[edges](j, &place);
    }
}

static void CK_NAME(ck_depthwise_run)(const ck_depthwise_conv *conv, const ck_operands *o, float *sums, int64_t begin,
                                      int64_t end, float *scratch) {
    (void)scratch;
    const ck_conv2d_shape *s = &conv->shape;
    const ck_activation f = conv->epilogue.activation;
    job j = {.conv = conv, .weight = o->weight, .bias = o->bias};
    j.high = f == CK_RELU6 ? 6 : INFINITY;
    j.plain = conv->epilogue.combine == CK_COMBINE_NONE &&
              (f == CK_IDENTITY || f == CK_RELU || f == CK_RELU6 || f == CK_HARDSWISH || f == CK_SILU);
    const int64_t vectors = (s->c + CK_VL - 1) / CK_VL;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t block = unit % conv->channel_blocks, rows = unit / conv->channel_blocks % conv->row_blocks;
        const int64_t n = unit / conv->channel_blocks / conv->row_blocks;
        j.row_begin = s->oh * rows / conv->row_blocks;
        j.row_end = s->oh * (rows + 1) / conv->row_blocks;
        j.channel_begin = vectors * block / conv->channel_blocks * CK_VL;
        j.channel_end = vectors * (block + 1) / conv->channel_blocks * CK_VL;
        if (j.channel_end > s->c) j.channel_end = s->c;
        j.x = o->x + n * s->h * s->w * conv->strides.x;
        j.y = o->y + n * s->oh * s->ow * conv->strides.y;
        j.residual = o->residual ? o->residual + n * s->oh * s->ow * conv->strides.residual : NULL;
        j.sums = sums ? sums + n * s->c : NULL;
        run_job(&j);
    }
}
