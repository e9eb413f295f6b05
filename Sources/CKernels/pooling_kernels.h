// Pooling kernels of one instruction-set level, vectorized over the channels.

// Floats from one pixel to the next.
#define x_pixel CK_NAME(pool_x_pixel)
CK_INLINE int64_t x_pixel(const ck_pool2d_shape *s) { return s->x_stride ? s->x_stride : s->c; }
#define y_pixel CK_NAME(pool_y_pixel)
CK_INLINE int64_t y_pixel(const ck_pool2d_shape *s) { return s->y_stride ? s->y_stride : s->c; }

// One axis of a window, cut to the input: [begin, end), and what it counts for in an average's divisor.
#define span CK_NAME(span)
typedef struct {
    int64_t begin, end, divisor;
} span;

#define pooling_span CK_NAME(pooling_span)
CK_INLINE span pooling_span(int64_t o, int64_t size, int64_t kernel, int64_t stride, int64_t pad,
                            bool count_padding) {
    int64_t begin = o * stride - pad, end = begin + kernel;
    if (end > size + pad) end = size + pad;
    const int64_t padded = end - begin;
    if (begin < 0) begin = 0;
    if (end > size) end = size;
    if (end < begin) end = begin;
    return (span){begin, end, count_padding ? padded : end - begin};
}

#define adaptive_span CK_NAME(adaptive_span)
CK_INLINE span adaptive_span(int64_t o, int64_t size, int64_t out) {
    const int64_t begin = o * size / out, end = ((o + 1) * size + out - 1) / out;
    return (span){begin, end, end - begin};
}

#define store_index CK_NAME(store_index)
CK_INLINE void store_index(int32_t *p, vi x, int64_t lanes) {
    for (int i = 0; i < CK_VL; i++)
        if (i < lanes) p[i] = x[i];
}

// The taps of one output pixel that lie inside the image: `first` is the input under the first of them, `index` its
// h * W + w.
#define window_taps CK_NAME(window_taps)
typedef struct {
    int64_t h, w, step_h, step_w;  // how many, and how many pixels apart
    const float *first;
    int64_t index;
    int64_t pixel;  // floats from one pixel to the next
} window_taps;

// The maxima of `vectors` vectors of channels from c on, the last of which has so many lanes; NaN wins. vectors, and whether
// argmax is wanted, are constants where this is inlined.
#define max_channels CK_NAME(max_channels)
CK_INLINE void max_channels(const window_taps *t, int vectors, bool wanted, int64_t c, int64_t lanes, float *y,
                            int32_t *argmax) {
    vf best[4];
    vi where[4], nan[4];
    for (int k = 0; k < vectors; k++) {
        best[k] = v_load_n(t->first + c + k * CK_VL, k + 1 < vectors ? CK_VL : lanes);
        where[k] = (vi)(int32_t)t->index;
        nan[k] = (vi)0;
    }
    for (int64_t i = 0; i < t->h; i++) {
        const float *x = t->first + i * t->step_h * t->pixel + c;
        int64_t at = t->index + i * t->step_h;
        for (int64_t j = 0; j < t->w; j++, x += t->step_w * t->pixel, at += t->step_w) {
            for (int k = 0; k < vectors; k++) {
                const vf v = v_load_n(x + k * CK_VL, k + 1 < vectors ? CK_VL : lanes);
                if (wanted) {
                    const vi better = (v > best[k]) | (v != v);
                    best[k] = better ? v : best[k];
                    where[k] = better ? (vi)(int32_t)at : where[k];
                } else {
                    // The maximum passes over a NaN of v. A mask that is set is a NaN itself, so that noticing one is a
                    // single "unordered" comparison.
                    best[k] = v_max(v, best[k]);
                    nan[k] = (v != v) | ((vf)nan[k] != (vf)nan[k]);
                }
            }
        }
    }
    for (int k = 0; k < vectors; k++) {
        const int64_t stored = k + 1 < vectors ? CK_VL : lanes;
        v_store_n(y + c + k * CK_VL, wanted ? best[k] : (vf)((vi)best[k] | nan[k]), stored);
        if (wanted) store_index(argmax + c + k * CK_VL, where[k], stored);
    }
}

#define max_pixel CK_NAME(max_pixel)
CK_INLINE void max_pixel(const window_taps *t, bool wanted, int64_t channels, float *y, int32_t *argmax) {
    int64_t c = 0;
    for (; c + 4 * CK_VL <= channels; c += 4 * CK_VL) max_channels(t, 4, wanted, c, CK_VL, y, argmax);
    // Not one by one: each would wait for what it has just compared (112 x 112 x 24, 3 x 3, stride 2, one thread: 94 to 57 us).
    const int64_t rest = channels - c;
    if (rest > 3 * CK_VL)
        max_channels(t, 4, wanted, c, rest - 3 * CK_VL, y, argmax);
    else if (rest > 2 * CK_VL)
        max_channels(t, 3, wanted, c, rest - 2 * CK_VL, y, argmax);
    else if (rest > CK_VL)
        max_channels(t, 2, wanted, c, rest - CK_VL, y, argmax);
    else if (rest > 0)
        max_channels(t, 1, wanted, c, rest, y, argmax);
}

#define divide_up CK_NAME(divide_up)
CK_INLINE int64_t divide_up(int64_t a, int64_t b) { return a <= 0 ? 0 : (a + b - 1) / b; }

static void CK_NAME(ck_max_pool_forward_f32)(const ck_pool2d_shape *s, int64_t row_begin, int64_t row_end,
                                             const float *x, float *y, int32_t *argmax) {
    for (int64_t row = row_begin; row < row_end; row++) {
        const int64_t n = row / s->oh, h0 = row % s->oh * s->stride_h - s->pad_h;
        const int64_t kh = divide_up(-h0, s->dilation_h);
        int64_t kh_end = divide_up(s->h - h0, s->dilation_h);
        if (kh_end > s->kh) kh_end = s->kh;
        for (int64_t ow = 0; ow < s->ow; ow++) {
            const int64_t w0 = ow * s->stride_w - s->pad_w;
            const int64_t kw = divide_up(-w0, s->dilation_w);
            int64_t kw_end = divide_up(s->w - w0, s->dilation_w);
            if (kw_end > s->kw) kw_end = s->kw;
            float *out = y + (row * s->ow + ow) * y_pixel(s);
            int32_t *index = argmax ? argmax + (row * s->ow + ow) * s->c : NULL;
            if (kh >= kh_end || kw >= kw_end) {  // nothing but padding
                for (int64_t c = 0; c < s->c; c++) out[c] = -INFINITY;
                for (int64_t c = 0; index && c < s->c; c++) index[c] = 0;
                continue;
            }
            const int64_t at = (h0 + kh * s->dilation_h) * s->w + w0 + kw * s->dilation_w;
            const window_taps taps = {kh_end - kh, kw_end - kw, s->dilation_h * s->w, s->dilation_w,
                                      x + (n * s->h * s->w + at) * x_pixel(s), at, x_pixel(s)};
            if (index)
                max_pixel(&taps, true, s->c, out, index);
            else
                max_pixel(&taps, false, s->c, out, index);
        }
    }
}

// The means of `vectors` vectors of channels; x is the window's first pixel.
#define mean_channels CK_NAME(mean_channels)
CK_INLINE void mean_channels(const float *x, int64_t row, int64_t pixel, span h, span w, int vectors, int64_t lanes,
                             float divisor, float *y) {
    vf sum[4];
    for (int k = 0; k < vectors; k++) sum[k] = v_splat(0);
    for (int64_t i = h.begin; i < h.end; i++, x += row) {
        const float *p = x;
        for (int64_t j = w.begin; j < w.end; j++, p += pixel)
            for (int k = 0; k < vectors; k++) sum[k] = sum[k] + v_load_n(p + k * CK_VL, lanes);
    }
    for (int k = 0; k < vectors; k++) v_store_n(y + k * CK_VL, sum[k] / divisor, lanes);
}

// y[c] = the sum over the window, divided. x is the image.
#define mean_window CK_NAME(mean_window)
CK_INLINE void mean_window(const float *x, int64_t width, int64_t pixel, int64_t channels, span h, span w, float *y) {
    const float divisor = (float)(h.divisor * w.divisor);
    const int64_t pixels = (h.end - h.begin) * (w.end - w.begin);
    if (pixels == 0) {
        V_EACH(c, channels, lanes, v_store_n(y + c, v_splat(0), lanes););
        return;
    }
    if (pixels <= 16) {
        const float *first = x + (h.begin * width + w.begin) * pixel;
        int64_t c = 0;
        for (; c + 4 * CK_VL <= channels; c += 4 * CK_VL)
            mean_channels(first + c, width * pixel, pixel, h, w, 4, CK_VL, divisor, y + c);
        for (; c + CK_VL <= channels; c += CK_VL)
            mean_channels(first + c, width * pixel, pixel, h, w, 1, CK_VL, divisor, y + c);
        if (c < channels) mean_channels(first + c, width * pixel, pixel, h, w, 1, channels - c, divisor, y + c);
        return;
    }
    // A large window: along the memory, four pixels at a time, with the sums in y.
    V_EACH(c, channels, lanes, v_store_n(y + c, v_splat(0), lanes););
    for (int64_t i = h.begin; i < h.end; i++) {
        const float *p = x + (i * width + w.begin) * pixel;
        int64_t j = w.begin;
        for (; j + 4 <= w.end; j += 4, p += 4 * pixel) {
            V_EACH(c, channels, lanes, {
                const vf a = v_load_n(p + c, lanes) + v_load_n(p + pixel + c, lanes);
                const vf b = v_load_n(p + 2 * pixel + c, lanes) + v_load_n(p + 3 * pixel + c, lanes);
                v_store_n(y + c, v_load_n(y + c, lanes) + (a + b), lanes);
            });
        }
        for (; j < w.end; j++, p += pixel)
            V_EACH(c, channels, lanes, v_store_n(y + c, v_load_n(y + c, lanes) + v_load_n(p + c, lanes), lanes););
    }
    V_EACH(c, channels, lanes, v_store_n(y + c, v_load_n(y + c, lanes) / divisor, lanes););
}

// dx[h, w, c] += dy[c] / divisor over the window. dx is the image.
#define spread_window CK_NAME(spread_window)
CK_INLINE void spread_window(const float *dy, int64_t width, int64_t channels, span h, span w, float *dx) {
    const float share = 1.0f / (float)(h.divisor * w.divisor);
    for (int64_t i = h.begin; i < h.end; i++) {
        for (int64_t j = w.begin; j < w.end; j++) {
            float *to = dx + (i * width + j) * channels;
            V_EACH(c, channels, lanes, {
                v_store_n(to + c, v_load_n(dy + c, lanes) * share + v_load_n(to + c, lanes), lanes);
            });
        }
    }
}

// The two kinds of average: adaptive is a constant where these are inlined.
#define axis_span CK_NAME(axis_span)
CK_INLINE span axis_span(const ck_pool2d_shape *s, bool adaptive, bool vertical, int64_t o) {
    if (adaptive) return vertical ? adaptive_span(o, s->h, s->oh) : adaptive_span(o, s->w, s->ow);
    return vertical ? pooling_span(o, s->h, s->kh, s->stride_h, s->pad_h, s->count_include_pad)
                    : pooling_span(o, s->w, s->kw, s->stride_w, s->pad_w, s->count_include_pad);
}

#define average_forward CK_NAME(average_forward)
CK_INLINE void average_forward(const ck_pool2d_shape *s, bool adaptive, int64_t row_begin, int64_t row_end,
                               const float *x, float *y) {
    for (int64_t row = row_begin; row < row_end; row++) {
        const span h = axis_span(s, adaptive, true, row % s->oh);
        for (int64_t ow = 0; ow < s->ow; ow++)
            mean_window(x + row / s->oh * s->h * s->w * x_pixel(s), s->w, x_pixel(s), s->c, h,
                        axis_span(s, adaptive, false, ow), y + (row * s->ow + ow) * y_pixel(s));
    }
}

#define average_backward CK_NAME(average_backward)
CK_INLINE void average_backward(const ck_pool2d_shape *s, bool adaptive, int64_t n_begin, int64_t n_end,
                                const float *dy, float *dx) {
    for (int64_t row = n_begin * s->oh; row < n_end * s->oh; row++) {
        const span h = axis_span(s, adaptive, true, row % s->oh);
        for (int64_t ow = 0; ow < s->ow; ow++)
            spread_window(dy + (row * s->ow + ow) * s->c, s->w, s->c, h, axis_span(s, adaptive, false, ow),
                          dx + row / s->oh * s->h * s->w * s->c);
    }
}

static void CK_NAME(ck_avg_pool_forward_f32)(const ck_pool2d_shape *s, int64_t row_begin, int64_t row_end,
                                             const float *x, float *y) {
    average_forward(s, false, row_begin, row_end, x, y);
}

static void CK_NAME(ck_avg_pool_backward_f32)(const ck_pool2d_shape *s, int64_t n_begin, int64_t n_end,
                                              const float *dy, float *dx) {
    average_backward(s, false, n_begin, n_end, dy, dx);
}

static void CK_NAME(ck_adaptive_avg_pool_forward_f32)(const ck_pool2d_shape *s, int64_t row_begin, int64_t row_end,
                                                      const float *x, float *y) {
    average_forward(s, true, row_begin, row_end, x, y);
}

static void CK_NAME(ck_adaptive_avg_pool_backward_f32)(const ck_pool2d_shape *s, int64_t n_begin, int64_t n_end,
                                                       const float *dy, float *dx) {
    average_backward(s, true, n_begin, n_end, dy, dx);
}
