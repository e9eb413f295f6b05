// 3 x 3 grouped convolution: see grouped_3x3_kernels.h.
#include "CKernels.h"
#include "epilogue.h"
#include "integers.h"

enum {
    CK_GROUPED_TAPS = 3,     // in each direction
    CK_GROUPED_PIXELS = 14,  // of a tile, at most
};

#define CK_FAMILY "grouped_3x3_kernels.h"
#include "each_level.h"

static int64_t grouped_lanes(ck_level level) { return level >= CK_LEVEL_AVX512 ? 16 : level == CK_LEVEL_AVX2 ? 8 : 4; }

bool ck_grouped_computes(const ck_conv2d_shape *s) {
    if (s->groups <= 1 || s->c != s->o || s->c % s->groups != 0) return false;
    if (s->kh != CK_GROUPED_TAPS || s->kw != CK_GROUPED_TAPS || s->dilation_h != 1 || s->dilation_w != 1) return false;
    if (s->stride_h != s->stride_w || s->stride_h > 2 || s->pad_top < 0 || s->pad_left < 0) return false;
    const int64_t group = s->c / s->groups;
    return grouped_lanes(ck_level_current()) >= 8 && (group == 4 || group == 8 || group % 16 == 0);
}

// GFLOP/s of one thread of a Zen 5, AVX-512 and AVX2, of this kernel, of Winograd's and of panels:
//     groups of  4   56 x 56 x 128                161  49  27    85  45  28
//                8   28 x 28 x 256                207 155  78    97 128  77
//                    14 x 14 x 208                218 115  79   103 100  79
//                     7 x  7 x 440                208  70  72    98  66  76
//                    28 x 28 x 208, stride 2      148   -  74    89   -  75
//               16   28 x 28 x 128                240 345 182   104 257 119
//                     7 x  7 x 400                251 187 178   111 160 119
//                    28 x 28 x 160, stride 2      218   -  160   99   -  118
//               32    7 x  7 x 1024               260 316 249
//                    14 x 14 x 1024, stride 2     224   -  245
// Two threads and single images, weights from afar: groups of 32 at 7 x 7 x 1024 331 and 300, as Winograd's are four times as many.
// Multiply-adds of half the speed, as on a Zen 4, leave Winograd more of its gain:
//     groups of  8   28 x 28 x 256                103 103  45
//                    14 x 14 x 208                102  79  45, 8 images 98 86 45
//                    56 x 56 x 256, stride 2       74   -  44
//               16    7 x  7 x 400                107  80 110
// Two threads within RegNet-X-400mf, this kernel and panels, us: groups of 16 at 7 x 7 x 400 34 and 33, strided ones to it 39 and 36, to
// 14 x 14 x 160 53 and 55, to 28 x 28 x 64 80 and 84.
bool ck_grouped_suits(const ck_conv2d_shape *s) {
    if (!ck_grouped_computes(s)) return false;
    const int64_t lanes = grouped_lanes(ck_level_current()), image_pixels = s->oh * s->ow, pixels = s->n * image_pixels;
    const bool is_wide = lanes == 16, is_fast = is_wide && ck_cores_current() == CK_CORES_ZEN5, is_strided = s->stride_h == 2;
    switch (s->c / s->groups) {
    case 4: return true;
    case 8: return is_strided || image_pixels <= 200 || is_fast;
    case 16: return is_wide && (is_strided || pixels <= 64);
    case 32: return is_fast && !is_strided && pixels <= 64;
    }
    return false;
}

// The pixels of a tile, with 16 lanes and with fewer. Widths that are no multiple of it compute some for nothing.
static const int64_t ck_grouped_sizes[2][4] = {{4, 7, 10}, {4, 7, 10, 14}};

void ck_grouped_prepare(ck_grouped_conv *conv, int64_t threads) {
    const ck_conv2d_shape *s = &conv->shape;
    conv->level = ck_level_current();
    const int64_t lanes = grouped_lanes(conv->level), group = s->c / s->groups;
    const int64_t vectors = (s->c + lanes - 1) / lanes;
    const int64_t *sizes = ck_grouped_sizes[lanes == 16];
    int64_t best = 0;
    for (int64_t size = 0; size < 4 && sizes[size] > 0; size++) {
        const int64_t pixels = sizes[size], tiles = (s->ow + pixels - 1) / pixels, cost = tiles * (pixels + 1);
        if (size > 0 && cost > best) continue;
        best = cost;
        conv->size = size;
        conv->pixels = pixels;
        conv->columns = (tiles * pixels - 1) * s->stride_w + CK_GROUPED_TAPS;
    }
    // Fewer sums than eight would wait for each other.
    conv->vectors = conv->pixels <= (lanes == 16 ? 7 : 4) ? 2 : 1;
    conv->block = ck_most(conv->vectors, group / lanes);
    conv->blocks = (vectors + conv->block - 1) / conv->block;
    // Some units for each thread, and rows of which all channels stay in the second-level cache.
    const int64_t wanted = (8 * threads + s->n * conv->blocks - 1) / (s->n * conv->blocks);
    const int64_t large = s->h * s->w * s->c >> 17;
    conv->row_parts = ck_most(1, ck_least(s->oh / 3, ck_most(wanted, large)));
    conv->lines = conv->block * (lanes == 16 && group == 8 ? 2 : 1);
    conv->units = s->n * conv->row_parts * conv->blocks;
    conv->scratch = CK_GROUPED_TAPS * conv->lines * conv->columns * lanes;
}

int64_t ck_grouped_weights(const ck_grouped_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t lanes = grouped_lanes(conv->level);
    return (s->c + lanes - 1) / lanes * lanes * s->kh * s->kw * (s->c / s->groups);
}

// [C / lanes, KH, input of a group, KW, lanes], with zeros beyond C.
void ck_grouped_pack(const ck_grouped_conv *conv, const float *weight, float *packed) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t lanes = grouped_lanes(conv->level), inputs = s->c / s->groups;
    for (int64_t first = 0; first < s->c; first += lanes)
        for (int64_t kh = 0; kh < s->kh; kh++)
            for (int64_t k = 0; k < inputs; k++)
                for (int64_t kw = 0; kw < s->kw; kw++)
                    for (int64_t i = 0; i < lanes; i++, packed++)
                        *packed = first + i < s->c ? weight[(((first + i) * s->kh + kh) * s->kw + kw) * inputs + k] : 0;
}

void ck_grouped_unpack(const ck_grouped_conv *conv, const float *packed, float *weight) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t lanes = grouped_lanes(conv->level), inputs = s->c / s->groups;
    for (int64_t first = 0; first < s->c; first += lanes)
        for (int64_t kh = 0; kh < s->kh; kh++)
            for (int64_t k = 0; k < inputs; k++)
                for (int64_t kw = 0; kw < s->kw; kw++, packed += lanes)
                    for (int64_t i = 0; i < lanes && first + i < s->c; i++)
                        weight[(((first + i) * s->kh + kh) * s->kw + kw) * inputs + k] = packed[i];
}

void ck_grouped_run(const ck_grouped_conv *conv, const ck_operands *operands, int64_t begin, int64_t end, float *scratch) {
    static void (*const table[])(const ck_grouped_conv *, const ck_operands *, int64_t, int64_t, float *) =
        CK_TABLE(ck_grouped_run);
    table[conv->level](conv, operands, begin, end, scratch);
}

void ck_grouped_weight_gradient(const ck_grouped_conv *conv, const float *x, const float *dy, int64_t begin, int64_t end,
                                float *gradient, float *scratch) {
    static void (*const table[])(const ck_grouped_conv *, const float *, const float *, int64_t, int64_t, float *, float *) =
        CK_TABLE(ck_grouped_weight_gradient);
    table[conv->level](conv, x, dy, begin, end, gradient, scratch);
}
