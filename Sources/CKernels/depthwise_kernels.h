// Depthwise convolutions. The forward pass and, for stride 1, the input gradient are one routine, since that gradient
// is a convolution of dy with the kernel turned around. Where a whole strip of output pixels in a row has all its taps
// of the width inside the input, each input vector is loaded once for the pixels that share it; the pixels that are
// left, and kernels and strides that have no strip, collect the addresses of their taps first.

// A convolution of in[N, in_h, in_w, C] to out[N, out_h, out_w, C]; tap (kh, kw) has its weights at
// weight + kh * weight_kh + kw * weight_kw.
#define layout CK_NAME(depthwise_layout)
typedef struct {
    int64_t in_h, in_w, out_h, out_w, c, kh, kw;
    int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    int64_t weight_kh, weight_kw;
    const float *in, *weight, *bias;
    float *out;
} layout;

#define tap_list CK_NAME(tap_list)
typedef struct {
    int64_t count;
    const float *in[CK_DEPTHWISE_TAPS], *weight[CK_DEPTHWISE_TAPS];
} tap_list;

// out[c] = start[c] (null: 0) + sum over the taps of in[c] * weight[c]
#define sum_taps CK_NAME(sum_taps)
static void sum_taps(const tap_list *taps, int64_t channels, const float *start, float *out) {
    int64_t c = 0;
    for (; c + 4 * CK_VL <= channels; c += 4 * CK_VL) {
        vf a[4];
        for (int i = 0; i < 4; i++) a[i] = start ? v_load(start + c + i * CK_VL) : v_splat(0);
        for (int64_t t = 0; t < taps->count; t++) {
            const float *in = taps->in[t] + c, *weight = taps->weight[t] + c;
            for (int i = 0; i < 4; i++) a[i] = v_load(in + i * CK_VL) * v_load(weight + i * CK_VL) + a[i];
        }
        for (int i = 0; i < 4; i++) v_store(out + c + i * CK_VL, a[i]);
    }
    for (; c < channels; c += CK_VL) {
        int64_t lanes = channels - c < CK_VL ? channels - c : CK_VL;
        vf a = start ? v_load_n(start + c, lanes) : v_splat(0);
        for (int64_t t = 0; t < taps->count; t++)
            a = v_load_n(taps->in[t] + c, lanes) * v_load_n(taps->weight[t] + c, lanes) + a;
        v_store_n(out + c, a, lanes);
    }
}

// Output pixel (n, oh, ow), by its list of taps.
#define pixel_by_taps CK_NAME(pixel_by_taps)
static void pixel_by_taps(const layout *l, int64_t n, int64_t oh, int64_t ow, float *out) {
    tap_list taps = {0};
    const float *start = l->bias;
    for (int64_t kh = 0; kh < l->kh; kh++) {
        int64_t h = oh * l->stride_h - l->pad_top + kh * l->dilation_h;
        if (h < 0 || h >= l->in_h) continue;
        for (int64_t kw = 0; kw < l->kw; kw++) {
            int64_t w = ow * l->stride_w - l->pad_left + kw * l->dilation_w;
            if (w < 0 || w >= l->in_w) continue;
            if (taps.count == CK_DEPTHWISE_TAPS) {
                sum_taps(&taps, l->c, start, out);
                start = out;
                taps.count = 0;
            }
            taps.in[taps.count] = l->in + ((n * l->in_h + h) * l->in_w + w) * l->c;
            taps.weight[taps.count++] = l->weight + kh * l->weight_kh + kw * l->weight_kw;
        }
    }
    sum_taps(&taps, l->c, start, out);
}

// `pixels` adjacent output pixels whose taps of the width are all inside. `in` is the input under pixel 0's tap
// (kh_begin, 0). kw, stride and pixels are constants where this is inlined, so that the accumulators and one kernel
// row's weights stay in registers.
#define strip CK_NAME(strip)
CK_INLINE void strip(const layout *l, int kw, int stride, int pixels, int64_t kh_begin, int64_t kh_end,
                     const float *in, float *out) {
    const int64_t channels = l->c, row = l->dilation_h * l->in_w * channels;
    for (int64_t block = 0; block < channels; block += CK_VL) {
        // The last block overlaps the one before: the same sums once more, instead of partial vectors.
        const int64_t c = block + CK_VL <= channels ? block : channels - CK_VL;
        vf sum[8];
        const vf start = l->bias ? v_load(l->bias + c) : v_splat(0);
        for (int p = 0; p < pixels; p++) sum[p] = start;
        const float *x = in + c, *weight = l->weight + kh_begin * l->weight_kh + c;
        for (int64_t kh = kh_begin; kh < kh_end; kh++, x += row, weight += l->weight_kh) {
            vf w[7];
            for (int k = 0; k < kw; k++) w[k] = v_load(weight + k * l->weight_kw);
#pragma clang loop unroll(full)
            for (int j = 0; j < (pixels - 1) * stride + kw; j++) {
                const vf v = v_load(x + j * channels);
#pragma clang loop unroll(full)
                for (int p = 0; p < pixels; p++)
                    if (j >= p * stride && j < p * stride + kw) sum[p] = v * w[j - p * stride] + sum[p];
            }
        }
        for (int p = 0; p < pixels; p++) v_store(out + p * channels + c, sum[p]);
    }
}

// Output pixels [ow_begin, ow_end) of one row, at least 4, as strips; the last one overlaps the one before.
#define strips CK_NAME(strips)
CK_INLINE void strips(const layout *l, int kw, int stride, int64_t ow_begin, int64_t ow_end, int64_t kh_begin,
                      int64_t kh_end, const float *in, float *out) {
    int64_t ow = ow_begin;
    for (; ow + 8 <= ow_end; ow += 8)
        strip(l, kw, stride, 8, kh_begin, kh_end, in + ow * stride * l->c, out + ow * l->c);
    for (; ow < ow_end; ow += 4) {
        if (ow + 4 > ow_end) ow = ow_end - 4;
        strip(l, kw, stride, 4, kh_begin, kh_end, in + ow * stride * l->c, out + ow * l->c);
    }
}

#define STRIPS(KW, STRIDE)                                                                        \
    static void CK_NAME(strips_##KW##_##STRIDE)(const layout *l, int64_t ow_begin, int64_t ow_end, \
                                                int64_t kh_begin, int64_t kh_end, const float *in, \
                                                float *out) {                                      \
        strips(l, KW, STRIDE, ow_begin, ow_end, kh_begin, kh_end, in, out);                        \
    }
STRIPS(3, 1)
STRIPS(3, 2)
STRIPS(5, 1)
STRIPS(5, 2)
STRIPS(7, 1)
#undef STRIPS

#define strips_function CK_NAME(strips_function)
typedef void strips_function(const layout *, int64_t, int64_t, int64_t, int64_t, const float *, float *);

#define find_strips CK_NAME(find_strips)
static strips_function *find_strips(const layout *l) {
    if (l->dilation_w != 1 || l->c < CK_VL) return NULL;
    if (l->stride_w == 1)
        return l->kw == 3   ? CK_NAME(strips_3_1)
               : l->kw == 5 ? CK_NAME(strips_5_1)
               : l->kw == 7 ? CK_NAME(strips_7_1)
                            : NULL;
    if (l->stride_w == 2) return l->kw == 3 ? CK_NAME(strips_3_2) : l->kw == 5 ? CK_NAME(strips_5_2) : NULL;
    return NULL;
}

#define divide_up CK_NAME(divide_up)
CK_INLINE int64_t divide_up(int64_t a, int64_t b) { return a <= 0 ? 0 : (a + b - 1) / b; }

#define depthwise CK_NAME(depthwise)
static void depthwise(const layout *l, int64_t row_begin, int64_t row_end) {
    strips_function *run = find_strips(l);
    // The output pixels whose taps all lie inside the width.
    int64_t inner_begin = divide_up(l->pad_left, l->stride_w);
    int64_t inner_end = divide_up(l->in_w + l->pad_left - (l->kw - 1) * l->dilation_w, l->stride_w);
    if (inner_end > l->out_w) inner_end = l->out_w;
    if (!run || inner_end - inner_begin < 4) inner_begin = inner_end = 0;
    for (int64_t row = row_begin; row < row_end; row++) {
        const int64_t n = row / l->out_h, oh = row % l->out_h;
        float *out = l->out + row * l->out_w * l->c;
        if (inner_begin < inner_end) {
            // The taps (kh_begin ..< kh_end, *) lie inside the height.
            const int64_t h0 = oh * l->stride_h - l->pad_top;
            int64_t kh_begin = divide_up(-h0, l->dilation_h);
            int64_t kh_end = divide_up(l->in_h - h0, l->dilation_h);
            if (kh_end > l->kh) kh_end = l->kh;
            if (kh_begin > kh_end) kh_begin = kh_end;
            const int64_t h = kh_begin < kh_end ? h0 + kh_begin * l->dilation_h : 0;
            const float *in = l->in + ((n * l->in_h + h) * l->in_w - l->pad_left) * l->c;
            run(l, inner_begin, inner_end, kh_begin, kh_end, in, out);
        }
        for (int64_t ow = 0; ow < inner_begin; ow++) pixel_by_taps(l, n, oh, ow, out + ow * l->c);
        for (int64_t ow = inner_end; ow < l->out_w; ow++) pixel_by_taps(l, n, oh, ow, out + ow * l->c);
    }
}

static void CK_NAME(ck_depthwise_forward_f32)(const ck_conv2d_shape *s, int64_t row_begin, int64_t row_end,
                                              const float *x, const float *weight, const float *bias, float *y) {
    layout l = {s->h, s->w, s->oh, s->ow, s->c, s->kh, s->kw, s->stride_h, s->stride_w, s->pad_top, s->pad_left,
                s->dilation_h, s->dilation_w, s->kw * s->c, s->c, x, weight, bias, y};
    depthwise(&l, row_begin, row_end);
}

// The input gradient with a stride: each input pixel collects the taps that reach it.
#define backward_row_strided CK_NAME(backward_row_strided)
static void backward_row_strided(const ck_conv2d_shape *s, int64_t n, int64_t h, const float *dy, const float *weight,
                                 float *dx) {
    for (int64_t w = 0; w < s->w; w++, dx += s->c) {
        tap_list taps = {0};
        const float *start = NULL;
        for (int64_t kh = 0; kh < s->kh; kh++) {
            int64_t up = h + s->pad_top - kh * s->dilation_h;
            if (up < 0 || up % s->stride_h != 0 || up / s->stride_h >= s->oh) continue;
            const float *row = dy + (n * s->oh + up / s->stride_h) * s->ow * s->c;
            for (int64_t kw = 0; kw < s->kw; kw++) {
                int64_t left = w + s->pad_left - kw * s->dilation_w;
                if (left < 0 || left % s->stride_w != 0 || left / s->stride_w >= s->ow) continue;
                if (taps.count == CK_DEPTHWISE_TAPS) {
                    sum_taps(&taps, s->c, start, dx);
                    start = dx;
                    taps.count = 0;
                }
                taps.in[taps.count] = row + left / s->stride_w * s->c;
                taps.weight[taps.count++] = weight + (kh * s->kw + kw) * s->c;
            }
        }
        sum_taps(&taps, s->c, start, dx);
    }
}

static void CK_NAME(ck_depthwise_backward_input_f32)(const ck_conv2d_shape *s, int64_t row_begin, int64_t row_end,
                                                     const float *dy, const float *weight, float *dx) {
    if (s->stride_h == 1 && s->stride_w == 1) {
        const int64_t last = (s->kh * s->kw - 1) * s->c;
        layout l = {s->oh, s->ow, s->h, s->w, s->c, s->kh, s->kw, 1, 1,
                    s->dilation_h * (s->kh - 1) - s->pad_top, s->dilation_w * (s->kw - 1) - s->pad_left,
                    s->dilation_h, s->dilation_w, -s->kw * s->c, -s->c, dy, weight + last, NULL, dx};
        depthwise(&l, row_begin, row_end);
        return;
    }
    for (int64_t row = row_begin; row < row_end; row++)
        backward_row_strided(s, row / s->h, row % s->h, dy, weight, dx + row * s->w * s->c);
}

// dweight of one kernel row (kw taps, constant where this is inlined) += over 4 adjacent output pixels whose taps of
// the width are all inside.
#define weight_strip CK_NAME(weight_strip)
CK_INLINE void weight_strip(int kw, int stride, int64_t channels, const float *x, const float *dy, float *dweight) {
    V_EACH(c, channels, lanes, {
        vf g[4], sum[7];
        for (int p = 0; p < 4; p++) g[p] = v_load_n(dy + p * channels + c, lanes);
        for (int k = 0; k < kw; k++) sum[k] = v_load_n(dweight + k * channels + c, lanes);
        UNROLL for (int j = 0; j < 3 * stride + kw; j++) {
            const vf v = v_load_n(x + j * channels + c, lanes);
            UNROLL for (int p = 0; p < 4; p++)
                if (j >= p * stride && j < p * stride + kw) sum[j - p * stride] = v * g[p] + sum[j - p * stride];
        }
        for (int k = 0; k < kw; k++) v_store_n(dweight + k * channels + c, sum[k], lanes);
    });
}

#define WEIGHT_STRIP(KW, STRIDE)                                                                              \
    static void CK_NAME(weight_strip_##KW##_##STRIDE)(int64_t channels, const float *x, const float *dy,      \
                                                      float *dweight) {                                       \
        weight_strip(KW, STRIDE, channels, x, dy, dweight);                                                   \
    }
WEIGHT_STRIP(3, 1)
WEIGHT_STRIP(3, 2)
WEIGHT_STRIP(5, 1)
WEIGHT_STRIP(5, 2)
WEIGHT_STRIP(7, 1)
#undef WEIGHT_STRIP

#define weight_strip_function CK_NAME(weight_strip_function)
typedef void weight_strip_function(int64_t, const float *, const float *, float *);

#define find_weight_strip CK_NAME(find_weight_strip)
static weight_strip_function *find_weight_strip(const ck_conv2d_shape *s) {
    if (s->dilation_w != 1) return NULL;
    if (s->stride_w == 1)
        return s->kw == 3   ? CK_NAME(weight_strip_3_1)
               : s->kw == 5 ? CK_NAME(weight_strip_5_1)
               : s->kw == 7 ? CK_NAME(weight_strip_7_1)
                            : NULL;
    if (s->stride_w == 2)
        return s->kw == 3 ? CK_NAME(weight_strip_3_2) : s->kw == 5 ? CK_NAME(weight_strip_5_2) : NULL;
    return NULL;
}

// dweight of the taps (kh, *) += over one output pixel.
#define weight_pixel CK_NAME(weight_pixel)
static void weight_pixel(const ck_conv2d_shape *s, int64_t ow, const float *x_row, const float *dy, float *dweight) {
    for (int64_t kw = 0; kw < s->kw; kw++, dweight += s->c) {
        int64_t w = ow * s->stride_w - s->pad_left + kw * s->dilation_w;
        if (w < 0 || w >= s->w) continue;
        const float *x = x_row + w * s->c;
        V_EACH(c, s->c, lanes, {
            vf sum = v_load_n(x + c, lanes) * v_load_n(dy + c, lanes) + v_load_n(dweight + c, lanes);
            v_store_n(dweight + c, sum, lanes);
        });
    }
}

static void CK_NAME(ck_depthwise_backward_weight_f32)(const ck_conv2d_shape *s, int64_t row_begin, int64_t row_end,
                                                      const float *x, const float *dy, float *dweight) {
    weight_strip_function *run = find_weight_strip(s);
    int64_t inner_begin = divide_up(s->pad_left, s->stride_w);
    int64_t inner_end = divide_up(s->w + s->pad_left - (s->kw - 1) * s->dilation_w, s->stride_w);
    if (inner_end > s->ow) inner_end = s->ow;
    if (!run || inner_end - inner_begin < 4) inner_begin = inner_end = 0;
    for (int64_t row = row_begin; row < row_end; row++) {
        const int64_t n = row / s->oh, oh = row % s->oh;
        const float *g = dy + row * s->ow * s->c;
        for (int64_t kh = 0; kh < s->kh; kh++) {
            const int64_t h = oh * s->stride_h - s->pad_top + kh * s->dilation_h;
            if (h < 0 || h >= s->h) continue;
            const float *x_row = x + (n * s->h + h) * s->w * s->c;
            float *to = dweight + kh * s->kw * s->c;
            int64_t ow = 0;
            for (; ow < inner_begin; ow++) weight_pixel(s, ow, x_row, g + ow * s->c, to);
            for (; ow + 4 <= inner_end; ow += 4)
                run(s->c, x_row + (ow * s->stride_w - s->pad_left) * s->c, g + ow * s->c, to);
            for (; ow < s->ow; ow++) weight_pixel(s, ow, x_row, g + ow * s->c, to);
        }
    }
}
