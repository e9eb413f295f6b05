// Grouped convolution for small groups: a tile of output pixels times one or two vectors of output channels stays in
// registers while the taps and the group's input channels go by. Every pixel has its own pointer per tap, so that tiles
// run on across the ends of rows, and taps in the padding read zeros.

// Registers: 6 pixels x 2 vectors fill AVX2's and SSE's 16 with what else is needed; 8 x 1 is what hides the latency
// of the multiply-adds.
#define PAIR_TILE (CK_VL == 16 ? 8 : 6)

// y[p, 0 ..< outputs of the vectors] of the tile's pixels, in one group. `taps` are tap_count times `pixels` pointers
// to the first channel of all groups, x_offset leads to this group's. pixels and vectors are constants where this is
// inlined; lanes < CK_VL only with one vector.
#define grouped_tile CK_NAME(grouped_tile)
CK_INLINE void grouped_tile(int pixels, int vectors, int64_t lanes, int64_t tap_count, const float *const *taps,
                            int64_t x_offset, int64_t inputs, int64_t outputs, const float *weight, const float *bias,
                            int64_t y_pixels, int64_t y_stride, float *y) {
    vf sum[8][2];
    for (int v = 0; v < vectors; v++) {
        const vf start = bias ? v_load_n(bias + v * CK_VL, lanes) : v_splat(0);
        for (int p = 0; p < pixels; p++) sum[p][v] = start;
    }
    for (int64_t t = 0; t < tap_count; t++, taps += pixels) {
        const float *x[8];
        for (int p = 0; p < pixels; p++) x[p] = taps[p] + x_offset;
        for (int64_t c = 0; c < inputs; c++, weight += outputs) {
            vf w[2];
            for (int v = 0; v < vectors; v++) w[v] = v_load_n(weight + v * CK_VL, lanes);
            for (int p = 0; p < pixels; p++) {
                const vf value = v_splat(x[p][c]);
                for (int v = 0; v < vectors; v++) sum[p][v] = value * w[v] + sum[p][v];
            }
        }
    }
    for (int p = 0; p < pixels && p < y_pixels; p++)
        for (int v = 0; v < vectors; v++) v_store_n(y + p * y_stride + v * CK_VL, sum[p][v], lanes);
}

// Groups of 4 input and 4 output channels, as in ResNeXt's first stage, would leave half of AVX2's lanes empty, and three
// quarters of AVX-512's. So a vector takes CK_VL / 4 adjacent groups, whose inputs are adjacent too: input c of every
// group goes to the four lanes of its group with one shuffle: 45 GFLOP/s instead of 21 with AVX2 on a Zen 3.
#if CK_VL > 4
#define quad CK_NAME(quad)
typedef float quad __attribute__((ext_vector_type(4)));
#define quad_unaligned CK_NAME(quad_unaligned)
typedef float quad_unaligned __attribute__((ext_vector_type(4), aligned(4), may_alias));

// One quad from p and from every `step` floats further on.
#define quads_of_four CK_NAME(quads_of_four)
CK_INLINE vf quads_of_four(const float *p, int64_t step) {
    vf result;
    for (int q = 0; q < CK_VL / 4; q++) {
        const quad four = *(const quad_unaligned *)(p + q * step);
        for (int i = 0; i < 4; i++) result[4 * q + i] = four[i];
    }
    return result;
}

#if CK_VL == 8
#define IN_QUADS(x, c) __builtin_shufflevector(x, x, c, c, c, c, 4 + c, 4 + c, 4 + c, 4 + c)
#else
#define IN_QUADS(x, c)                                                                                      \
    __builtin_shufflevector(x, x, c, c, c, c, 4 + c, 4 + c, 4 + c, 4 + c, 8 + c, 8 + c, 8 + c, 8 + c, 12 + c, \
                            12 + c, 12 + c, 12 + c)
#endif

#define QUADS_STEP(c)                                                                              \
    do {                                                                                           \
        const vf w = quads_of_four(weight + 4 * c, group_step);                                    \
        for (int p = 0; p < 8; p++) sum[p] = IN_QUADS(v_load(taps[p] + x_offset), c) * w + sum[p]; \
    } while (0)

// As grouped_tile, for the CK_VL / 4 groups from channel x_offset on.
#define quads_tile CK_NAME(quads_tile)
CK_INLINE void quads_tile(int64_t tap_count, const float *const *taps, int64_t x_offset, const float *weight,
                          const float *bias, int64_t y_pixels, int64_t y_stride, float *y) {
    const int64_t group_step = tap_count * 16;
    vf sum[8];
    for (int p = 0; p < 8; p++) sum[p] = bias ? v_load(bias) : v_splat(0);
    for (int64_t t = 0; t < tap_count; t++, taps += 8, weight += 16) {
        QUADS_STEP(0);
        QUADS_STEP(1);
        QUADS_STEP(2);
        QUADS_STEP(3);
    }
    for (int p = 0; p < 8 && p < y_pixels; p++) v_store(y + p * y_stride, sum[p]);
}
#undef IN_QUADS
#undef QUADS_STEP
#endif

// All groups and output channels of one tile of pixels.
#define grouped_pixels CK_NAME(grouped_pixels)
CK_INLINE void grouped_pixels(const ck_conv2d_shape *s, int pixels, const float *const *taps, const float *weight,
                              const float *bias, int64_t y_pixels, float *y) {
    const int64_t tap_count = s->kh * s->kw, cg = s->c / s->groups, og = s->o / s->groups;
    int64_t g = 0;
#if CK_VL > 4
    for (; pixels == 8 && cg == 4 && og == 4 && g + CK_VL / 4 <= s->groups; g += CK_VL / 4, y += CK_VL)
        quads_tile(tap_count, taps, g * 4, weight + g * tap_count * 16, bias ? bias + g * 4 : NULL, y_pixels, s->o, y);
    weight += g * tap_count * cg * og;
#endif
    for (; g < s->groups; g++, weight += tap_count * cg * og, y += og) {
        const float *b = bias ? bias + g * og : NULL;
        if (og < CK_VL) {
            grouped_tile(pixels, 1, og, tap_count, taps, g * cg, cg, og, weight, b, y_pixels, s->o, y);
            continue;
        }
        int64_t o = 0;
        for (; o + 2 * CK_VL <= og; o += 2 * CK_VL)
            grouped_tile(pixels, 2, CK_VL, tap_count, taps, g * cg, cg, og, weight + o, b ? b + o : NULL, y_pixels,
                         s->o, y + o);
        for (; o < og; o += CK_VL) {
            // The last vector overlaps the one before: the same sums once more.
            if (o + CK_VL > og) o = og - CK_VL;
            grouped_tile(pixels, 1, CK_VL, tap_count, taps, g * cg, cg, og, weight + o, b ? b + o : NULL, y_pixels,
                         s->o, y + o);
        }
    }
}

#define grouped_pixels_single CK_NAME(grouped_pixels_single)
static void grouped_pixels_single(const ck_conv2d_shape *s, const float *const *taps, const float *weight,
                                  const float *bias, int64_t y_pixels, float *y) {
    grouped_pixels(s, 8, taps, weight, bias, y_pixels, y);
}

#define grouped_pixels_pair CK_NAME(grouped_pixels_pair)
static void grouped_pixels_pair(const ck_conv2d_shape *s, const float *const *taps, const float *weight,
                                const float *bias, int64_t y_pixels, float *y) {
    grouped_pixels(s, PAIR_TILE, taps, weight, bias, y_pixels, y);
}

// The input pixel under tap (kh, kw) of the output pixel whose first tap is at (h0, w0), or zeros in the padding.
#define tap_pixel CK_NAME(tap_pixel)
CK_INLINE const float *tap_pixel(const ck_conv2d_shape *s, int64_t n, int64_t h0, int64_t w0, int64_t kh, int64_t kw,
                                 const float *x) {
    const int64_t h = h0 + kh * s->dilation_h, w = w0 + kw * s->dilation_w;
    if (h < 0 || h >= s->h || w < 0 || w >= s->w) return ck_zeros;
    return x + ((n * s->h + h) * s->w + w) * s->c;
}

// Kernels with more taps or channels than the tables hold: pixel by pixel, in y.
#define grouped_large CK_NAME(grouped_large)
static void grouped_large(const ck_conv2d_shape *s, int64_t row_begin, int64_t row_end, const float *x,
                          const float *weight, const float *bias, float *y) {
    const int64_t cg = s->c / s->groups, og = s->o / s->groups, taps = s->kh * s->kw;
    for (int64_t r = row_begin * s->ow; r < row_end * s->ow; r++) {
        const int64_t n = r / s->ow / s->oh, h0 = r / s->ow % s->oh * s->stride_h - s->pad_top;
        const int64_t w0 = r % s->ow * s->stride_w - s->pad_left;
        float *out = y + r * s->o;
        for (int64_t o = 0; o < s->o; o++) out[o] = bias ? bias[o] : 0;
        for (int64_t t = 0; t < taps; t++) {
            const float *in = tap_pixel(s, n, h0, w0, t / s->kw, t % s->kw, x);
            if (in == ck_zeros) continue;
            for (int64_t g = 0; g < s->groups; g++) {
                for (int64_t c = 0; c < cg; c++) {
                    const vf value = v_splat(in[g * cg + c]);
                    const float *w = weight + ((g * taps + t) * cg + c) * og;
                    float *sum = out + g * og;
                    V_EACH(o, og, lanes, {
                        v_store_n(sum + o, value * v_load_n(w + o, lanes) + v_load_n(sum + o, lanes), lanes);
                    });
                }
            }
        }
    }
}

static void CK_NAME(ck_grouped_forward_f32)(const ck_conv2d_shape *s, int64_t row_begin, int64_t row_end,
                                            const float *x, const float *weight, const float *bias, float *y) {
    if (s->kh * s->kw > CK_GROUPED_TAPS || s->c > CK_GROUPED_CHANNELS) {
        grouped_large(s, row_begin, row_end, x, weight, bias, y);
        return;
    }
    const bool pair = s->o / s->groups >= 2 * CK_VL;
    const int64_t tile = pair ? PAIR_TILE : 8;
    const float *taps[CK_GROUPED_TAPS * 8];
    int64_t ow = 0, row = row_begin;
    for (int64_t r = row_begin * s->ow; r < row_end * s->ow; r += tile) {
        const int64_t left = row_end * s->ow - r;
        for (int64_t p = 0; p < tile; p++) {
            const int64_t n = row / s->oh, h0 = row % s->oh * s->stride_h - s->pad_top;
            const int64_t w0 = ow * s->stride_w - s->pad_left;
            for (int64_t kh = 0; kh < s->kh; kh++)
                for (int64_t kw = 0; kw < s->kw; kw++)
                    taps[(kh * s->kw + kw) * tile + p] = p < left ? tap_pixel(s, n, h0, w0, kh, kw, x) : ck_zeros;
            if (++ow == s->ow) {
                ow = 0;
                row++;
            }
        }
        if (pair)
            grouped_pixels_pair(s, taps, weight, bias, left, y + r * s->o);
        else
            grouped_pixels_single(s, taps, weight, bias, left, y + r * s->o);
    }
}

#undef PAIR_TILE
