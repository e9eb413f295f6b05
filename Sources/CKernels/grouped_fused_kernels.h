// Grouped convolution for inference; see ck_grouped.h. A tile is some adjacent output pixels of one row times one vector of
// channels, of CK_VL / 4 groups. Input c of every group comes to the group's lanes by a shuffle, so that no lane is idle:
// 48 GFLOP/s on a Zen 4, whose shuffles and multiply-adds share a port, where panels of 8 channels reach 18.
#include "activations.h"

#if CK_VL > 4

#if CK_VL == 8
#define IN_QUADS(x, c) __builtin_shufflevector(x, x, c, c, c, c, 4 + c, 4 + c, 4 + c, 4 + c)
#else
#define IN_QUADS(x, c)                                                                                      \
    __builtin_shufflevector(x, x, c, c, c, c, 4 + c, 4 + c, 4 + c, 4 + c, 8 + c, 8 + c, 8 + c, 8 + c, 12 + c, \
                            12 + c, 12 + c, 12 + c)
#endif

#define GROUPED_TILE 8

// The epilogue of a tile.
#define grouped_finish CK_NAME(grouped_finish)
static void grouped_finish(const ck_grouped_conv *conv, const ck_operands *o, int64_t pixel, int64_t pixels, int64_t c,
                           int64_t lanes, vf *sum) {
    const ck_combine combine = conv->epilogue.combine;
    const float *residual = combine == CK_COMBINE_NONE ? NULL : o->residual + pixel * conv->strides.residual + c;
    float *y = o->y + pixel * conv->strides.y + c;
    for (int64_t p = 0; p < pixels; p++) {
        vf v = sum[p];
        if (combine == CK_COMBINE_ADD_BEFORE) v = v + v_load_n(residual + p * conv->strides.residual, lanes);
        v = conv->epilogue.activation == CK_RELU ? v_max(v_splat(0), v) : v_activate(conv->epilogue.activation, v);
        if (combine == CK_COMBINE_ADD_AFTER) v = v + v_load_n(residual + p * conv->strides.residual, lanes);
        v_store_n(y + p * conv->strides.y, v, lanes);
    }
}

// All vectors of channels for the pixels of one tile; whether all taps are inside the image's rows is a constant where this is
// inlined.
#define grouped_strip CK_NAME(grouped_strip)
CK_INLINE void grouped_strip(const ck_grouped_conv *conv, const ck_operands *o, bool inside, int64_t n,
                             int64_t oh, int64_t ow, int64_t pixels) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t x_pixel = conv->strides.x, taps = s->kh * s->kw;
    const int64_t h0 = oh * s->stride_h - s->pad_top, w0 = ow * s->stride_w - s->pad_left;
    const float *image = o->x + n * s->h * s->w * x_pixel;
    const float *weight = o->weight;
    const int64_t step = s->stride_w * x_pixel;
    V_EACH(c, s->c, lanes, {
        vf sum[GROUPED_TILE];
        const vf start = o->bias ? v_load_n(o->bias + c, lanes) : v_splat(0);
        UNROLL for (int p = 0; p < GROUPED_TILE; p++) sum[p] = start;
        const float *w = weight + c / CK_VL * taps * 4 * CK_VL;
        for (int64_t kh = 0; kh < s->kh; kh++) {
            const int64_t h = h0 + kh * s->dilation_h;
            if (h < 0 || h >= s->h) {
                w += s->kw * 4 * CK_VL;
                continue;
            }
            for (int64_t kw = 0; kw < s->kw; kw++, w += 4 * CK_VL) {
                const int64_t first = w0 + kw * s->dilation_w;
                const float *x = image + (h * s->w + first) * x_pixel + c;
                const vf w0123[4] = {v_load(w), v_load(w + CK_VL), v_load(w + 2 * CK_VL), v_load(w + 3 * CK_VL)};
                // One input vector at a time: with 16 registers there is no room for more.
                UNROLL for (int p = 0; p < GROUPED_TILE; p++) {
                    const int64_t at = first + p * s->stride_w;
                    if (!inside && !(p < pixels && at >= 0 && at < s->w)) continue;
                    const vf value = v_load_n(x + p * step, lanes);
                    sum[p] = IN_QUADS(value, 0) * w0123[0] + sum[p];
                    sum[p] = IN_QUADS(value, 1) * w0123[1] + sum[p];
                    sum[p] = IN_QUADS(value, 2) * w0123[2] + sum[p];
                    sum[p] = IN_QUADS(value, 3) * w0123[3] + sum[p];
                }
            }
        }
        vf sums[GROUPED_TILE];
        UNROLL for (int p = 0; p < GROUPED_TILE; p++) sums[p] = sum[p];
        grouped_finish(conv, o, (n * s->oh + oh) * s->ow + ow, pixels, c, lanes, sums);
    });
}

#define grouped_row CK_NAME(grouped_row)
static void grouped_row(const ck_grouped_conv *conv, const ck_operands *o, int64_t row) {
    const ck_conv2d_shape *s = &conv->shape;
    for (int64_t ow = 0; ow < s->ow; ow += GROUPED_TILE) {
        const int64_t left = s->ow - ow, pixels = left < GROUPED_TILE ? left : GROUPED_TILE;
        const int64_t w0 = ow * s->stride_w - s->pad_left;
        const int64_t end = w0 + (GROUPED_TILE - 1) * s->stride_w + (s->kw - 1) * s->dilation_w;
        if (w0 >= 0 && end < s->w && pixels == GROUPED_TILE)
            grouped_strip(conv, o, true, row / s->oh, row % s->oh, ow, pixels);
        else
            grouped_strip(conv, o, false, row / s->oh, row % s->oh, ow, pixels);
    }
}
#undef GROUPED_TILE

static void CK_NAME(ck_grouped_run)(const ck_grouped_conv *conv, const ck_operands *o, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) grouped_row(conv, o, row);
}
#undef IN_QUADS

#else

// ck_grouped_suits says no: vectors of four lanes have nothing to gain.
static void CK_NAME(ck_grouped_run)(const ck_grouped_conv *conv, const ck_operands *o, int64_t begin, int64_t end) {
    (void)conv, (void)o, (void)begin, (void)end;
}

#endif
