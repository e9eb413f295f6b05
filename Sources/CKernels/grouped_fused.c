// Grouped convolution for inference: see grouped_fused_kernels.h.
#include "CKernels.h"

#define CK_FAMILY "grouped_fused_kernels.h"
#include "each_level.h"

static int64_t grouped_lanes(ck_level level) { return level >= CK_LEVEL_AVX512 ? 16 : 8; }

bool ck_grouped_suits(const ck_conv2d_shape *s) {
    if (s->groups <= 1 || s->c != s->o || ck_level_current() == CK_LEVEL_PORTABLE) return false;
    return s->c == 4 * s->groups;
}

void ck_grouped_prepare(ck_grouped_conv *conv, int64_t threads) {
    (void)threads;
    conv->level = ck_level_current();
    conv->units = conv->shape.n * conv->shape.oh;
}

int64_t ck_grouped_weights(const ck_grouped_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t lanes = grouped_lanes(conv->level);
    return (s->c + lanes - 1) / lanes * lanes * s->kh * s->kw * 4;
}

// [C / lanes, KH, KW, input of a group, lanes], with zeros beyond C.
void ck_grouped_pack(const ck_grouped_conv *conv, const float *weight, float *packed) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t lanes = grouped_lanes(conv->level), taps = s->kh * s->kw;
    for (int64_t first = 0; first < s->c; first += lanes)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t k = 0; k < 4; k++)
                for (int64_t i = 0; i < lanes; i++)
                    *packed++ = first + i < s->c ? weight[((first + i) * taps + t) * 4 + k] : 0;
}

void ck_grouped_run(const ck_grouped_conv *conv, const ck_operands *operands, int64_t begin, int64_t end) {
    static void (*const table[])(const ck_grouped_conv *, const ck_operands *, int64_t, int64_t) =
        CK_TABLE(ck_grouped_run);
    table[conv->level](conv, operands, begin, end);
}
