// Depthwise convolution for inference: see depthwise_fused_kernels.h.
#include <math.h>

#include "CKernels.h"

enum {
    CK_TILE = 7,        // output pixels of a tile: 7, 14, 28, 56 and 112 are multiples
    CK_ROW_BLOCK = 8,   // output rows of a unit, at most
};

static bool ck_depthwise_has_tiles(const ck_conv2d_shape *s) {
    return s->kh == s->kw && (s->kw == 3 || s->kw == 5 || s->kw == 7) && s->stride_h == s->stride_w &&
           s->stride_w <= 2 && s->dilation_h == 1 && s->dilation_w == 1;
}

#define CK_FAMILY "depthwise_fused_kernels.h"
#include "each_level.h"

static int64_t lanes_of(ck_level level) { return level >= CK_LEVEL_AVX512 ? 16 : level == CK_LEVEL_AVX2 ? 8 : 4; }

void ck_depthwise_prepare(ck_depthwise_conv *conv, int64_t threads) {
    const ck_conv2d_shape *s = &conv->shape;
    conv->level = ck_level_current();
    conv->scratch = 0;
    if (conv->strides.x == 0) conv->strides.x = s->c;
    if (conv->strides.residual == 0) conv->strides.residual = s->c;
    if (conv->strides.y == 0) conv->strides.y = conv->epilogue.combine == CK_COMBINE_INTERLEAVE ? 2 * s->c : s->c;
    const int64_t vectors = (s->c + lanes_of(conv->level) - 1) / lanes_of(conv->level);
    conv->row_blocks = (s->oh + CK_ROW_BLOCK - 1) / CK_ROW_BLOCK;
    conv->channel_blocks = 1;
    if (threads > 1 && conv->row_blocks * s->n % threads != 0) {
        // As many units as threads, or a multiple: by rows where there are enough, or else by channels, as what comes before
        // such low maps is divided too, so that each thread finds most of its input in its own cache (two threads, 7 x 7 x
        // 3840, 3 x 3: by rows 110 us, by channels 83).
        const int64_t rounded = (conv->row_blocks + threads - 1) / threads * threads;
        const bool low_by_channels = ck_cores_current() != CK_CORES_INTEL;  // see ck_packed_conv_prepare
        if ((conv->row_blocks > 1 || !low_by_channels) && 2 * rounded <= s->oh)
            conv->row_blocks = rounded;
        else
            conv->channel_blocks = vectors < threads ? vectors : threads;
    }
    conv->units = s->n * conv->row_blocks * conv->channel_blocks;
}

int64_t ck_depthwise_weights(const ck_depthwise_conv *conv) {
    const int64_t lanes = lanes_of(conv->level);
    return (conv->shape.c + lanes - 1) / lanes * lanes * conv->shape.kh * conv->shape.kw;
}

// [C / lanes, KH, KW, lanes], with zeros beyond C.
void ck_depthwise_pack(const ck_depthwise_conv *conv, const float *weight, float *packed) {
    const int64_t lanes = lanes_of(conv->level), taps = conv->shape.kh * conv->shape.kw;
    for (int64_t first = 0; first < conv->shape.c; first += lanes)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t i = 0; i < lanes; i++)
                *packed++ = first + i < conv->shape.c ? weight[(first + i) * taps + t] : 0;
}

void ck_depthwise_run(const ck_depthwise_conv *conv, const ck_operands *operands, float *sums, int64_t begin,
                      int64_t end, float *scratch) {
    static void (*const table[])(const ck_depthwise_conv *, const ck_operands *, float *, int64_t, int64_t, float *) =
        CK_TABLE(ck_depthwise_run);
    table[conv->level](conv, operands, sums, begin, end, scratch);
}
