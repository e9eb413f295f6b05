// First versions, to be replaced family by family.
#include "CKernels.h"

#include <math.h>
#include <string.h>

#define EACH(n) for (int64_t i = 0; i < (n); i++)

double ck_sum_f32(const float *x, int64_t n) {
    double s = 0;
    EACH(n) s += x[i];
    return s;
}
double ck_dot_f32(const float *x, const float *y, int64_t n) {
    double s = 0;
    EACH(n) s += (double)x[i] * y[i];
    return s;
}
float ck_max_f32(const float *x, int64_t n) {
    float best = -INFINITY;
    EACH(n) if (x[i] > best || isnan(x[i])) best = x[i];
    return best;
}
void ck_sum_columns_f32(const float *x, int64_t rows, int64_t cols, double *y) {
    ck_sum_columns_f32_ref(x, rows, cols, y);
}
void ck_dot_columns_f32(const float *a, const float *b, int64_t rows, int64_t cols, double *y) {
    ck_dot_columns_f32_ref(a, b, rows, cols, y);
}
void ck_sum_rows_f32(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++) y[r] = (float)ck_sum_f32(x + r * cols, cols);
}
void ck_norm_rows_f32(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++) y[r] = (float)sqrt(ck_dot_f32(x + r * cols, x + r * cols, cols));
}
void ck_softmax_forward_f32(const float *x, int64_t rows, int64_t cols, float *y) {
    ck_softmax_forward_f32_ref(x, rows, cols, y);
}
void ck_softmax_backward_f32(const float *y, const float *dy, int64_t rows, int64_t cols, float *dx) {
    for (int64_t r = 0; r < rows; r++, y += cols, dy += cols, dx += cols) {
        float dot = (float)ck_dot_f32(y, dy, cols);
        EACH(cols) dx[i] = y[i] * (dy[i] - dot);
    }
}
void ck_log_softmax_forward_f32(const float *x, int64_t rows, int64_t cols, float *y) {
    ck_log_softmax_forward_f32_ref(x, rows, cols, y);
}
void ck_log_softmax_backward_f32(const float *y, const float *dy, int64_t rows, int64_t cols, float *dx) {
    for (int64_t r = 0; r < rows; r++, y += cols, dy += cols, dx += cols) {
        float sum = (float)ck_sum_f32(dy, cols);
        EACH(cols) dx[i] = dy[i] - expf(y[i]) * sum;
    }
}

void ck_channel_affine_f32(const float *x, const float *scale, const float *shift, int64_t rows, int64_t channels,
                           int relu, float *y) {
    ck_channel_affine_f32_ref(x, scale, shift, rows, channels, relu, y);
}
void ck_centered_squares_f32(const float *x, const float *mean, int64_t rows, int64_t channels, double *squares) {
    ck_centered_squares_f32_ref(x, mean, rows, channels, squares);
}
void ck_batch_norm_backward_sums_f32(const float *x, const float *mean, const float *dy, int64_t rows,
                                     int64_t channels, double *sums, double *dots) {
    ck_batch_norm_backward_sums_f32_ref(x, mean, dy, rows, channels, sums, dots);
}
void ck_batch_norm_backward_f32(const float *x, const float *dy, const float *a, const float *b, const float *d,
                                int64_t rows, int64_t channels, float *dx) {
    for (int64_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels)
        EACH(channels) dx[i] = a[i] * dy[i] + b[i] * x[i] + d[i];
}
void ck_layer_norm_forward_f32(const float *x, const float *weight, const float *bias, float eps, int64_t rows,
                               int64_t channels, float *y, float *mean, float *rstd) {
    ck_layer_norm_forward_f32_ref(x, weight, bias, eps, rows, channels, y, mean, rstd);
}
void ck_layer_norm_backward_f32(const float *x, const float *weight, const float *mean, const float *rstd,
                                const float *dy, int64_t rows, int64_t channels, float *dx, double *dweight,
                                double *dbias) {
    ck_layer_norm_backward_f32_ref(x, weight, mean, rstd, dy, rows, channels, dx, dweight, dbias);
}

int64_t ck_pool_output_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                            int ceil_mode) {
    int64_t room = size + 2 * pad - dilation * (kernel - 1) - 1;
    if (room < 0 && !ceil_mode) return 0;
    int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (ceil_mode && (out - 1) * stride >= size + pad) out--;
    return out < 0 ? 0 : out;
}
#define EACH_ROW(s, first, last)                                 \
    for (int64_t row = (first); row < (last); row++)             \
        for (int64_t ow = 0; ow < s.ow; ow++)                    \
            for (int64_t c = 0; c < s.c; c++)
void ck_max_pool_forward_f32(const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x,
                             float *y, int32_t *argmax) {
    const ck_pool2d_shape s = *shape;
    EACH_ROW(s, row_begin, row_end) {
        int64_t n = row / s.oh, oh = row % s.oh, index = -1;
        float best = -INFINITY;
        for (int64_t k = 0; k < s.kh * s.kw; k++) {
            int64_t h = oh * s.stride_h - s.pad_h + k / s.kw * s.dilation_h;
            int64_t w = ow * s.stride_w - s.pad_w + k % s.kw * s.dilation_w;
            if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
            float value = x[((n * s.h + h) * s.w + w) * s.c + c];
            if (index < 0 || value > best || isnan(value)) best = value, index = h * s.w + w;
        }
        y[(row * s.ow + ow) * s.c + c] = best;
        if (argmax) argmax[(row * s.ow + ow) * s.c + c] = (int32_t)(index < 0 ? 0 : index);
    }
}
void ck_max_pool_backward_f32(const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const int32_t *argmax,
                              const float *dy, float *dx) {
    const ck_pool2d_shape s = *shape;
    EACH_ROW(s, n_begin * s.oh, n_end * s.oh) {
        int64_t i = (row * s.ow + ow) * s.c + c;
        dx[(row / s.oh * s.h * s.w + argmax[i]) * s.c + c] += dy[i];
    }
}
// The window of one axis: [begin, end) inside the input, and the divisor's share.
static void window(int64_t o, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t *begin, int64_t *end,
                   int64_t *padded) {
    int64_t b = o * stride - pad, e = b + kernel;
    if (e > size + pad) e = size + pad;
    *padded = e - b;
    *begin = b < 0 ? 0 : b;
    *end = e > size ? size : e;
}
void ck_avg_pool_forward_f32(const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x,
                             float *y) {
    const ck_pool2d_shape s = *shape;
    EACH_ROW(s, row_begin, row_end) {
        int64_t h0, h1, w0, w1, ph, pw;
        window(row % s.oh, s.h, s.kh, s.stride_h, s.pad_h, &h0, &h1, &ph);
        window(ow, s.w, s.kw, s.stride_w, s.pad_w, &w0, &w1, &pw);
        double sum = 0;
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) sum += x[((row / s.oh * s.h + h) * s.w + w) * s.c + c];
        int64_t divisor = s.count_include_pad ? ph * pw : (h1 - h0) * (w1 - w0);
        y[(row * s.ow + ow) * s.c + c] = h1 > h0 && w1 > w0 ? (float)(sum / (double)divisor) : 0;
    }
}
void ck_avg_pool_backward_f32(const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const float *dy,
                              float *dx) {
    const ck_pool2d_shape s = *shape;
    EACH_ROW(s, n_begin * s.oh, n_end * s.oh) {
        int64_t h0, h1, w0, w1, ph, pw;
        window(row % s.oh, s.h, s.kh, s.stride_h, s.pad_h, &h0, &h1, &ph);
        window(ow, s.w, s.kw, s.stride_w, s.pad_w, &w0, &w1, &pw);
        float share = dy[(row * s.ow + ow) * s.c + c] /
                      (float)(s.count_include_pad ? ph * pw : (h1 - h0) * (w1 - w0));
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) dx[((row / s.oh * s.h + h) * s.w + w) * s.c + c] += share;
    }
}
void ck_adaptive_avg_pool_forward_f32(const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end,
                                      const float *x, float *y) {
    const ck_pool2d_shape s = *shape;
    EACH_ROW(s, row_begin, row_end) {
        int64_t oh = row % s.oh;
        int64_t h0 = oh * s.h / s.oh, h1 = ((oh + 1) * s.h + s.oh - 1) / s.oh;
        int64_t w0 = ow * s.w / s.ow, w1 = ((ow + 1) * s.w + s.ow - 1) / s.ow;
        double sum = 0;
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) sum += x[((row / s.oh * s.h + h) * s.w + w) * s.c + c];
        y[(row * s.ow + ow) * s.c + c] = (float)(sum / (double)((h1 - h0) * (w1 - w0)));
    }
}
void ck_adaptive_avg_pool_backward_f32(const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const float *dy,
                                       float *dx) {
    const ck_pool2d_shape s = *shape;
    EACH_ROW(s, n_begin * s.oh, n_end * s.oh) {
        int64_t oh = row % s.oh;
        int64_t h0 = oh * s.h / s.oh, h1 = ((oh + 1) * s.h + s.oh - 1) / s.oh;
        int64_t w0 = ow * s.w / s.ow, w1 = ((ow + 1) * s.w + s.ow - 1) / s.ow;
        float share = dy[(row * s.ow + ow) * s.c + c] / (float)((h1 - h0) * (w1 - w0));
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) dx[((row / s.oh * s.h + h) * s.w + w) * s.c + c] += share;
    }
}

void ck_transpose_f32(const float *x, int64_t batch, int64_t rows, int64_t cols, float *y) {
    for (int64_t n = 0; n < batch; n++, x += rows * cols, y += rows * cols)
        for (int64_t r = 0; r < rows; r++) EACH(cols) y[i * rows + r] = x[r * cols + i];
}
static int64_t strided_offset(int64_t i, int64_t rank, const int64_t *sizes, const int64_t *strides) {
    int64_t offset = 0;
    for (int64_t d = rank - 1; d >= 0; d--) {
        offset += i % sizes[d] * strides[d];
        i /= sizes[d];
    }
    return offset;
}
static int64_t product(int64_t rank, const int64_t *sizes) {
    int64_t count = 1;
    for (int64_t d = 0; d < rank; d++) count *= sizes[d];
    return count;
}
void ck_gather_strided_f32(const float *x, int64_t rank, const int64_t *sizes, const int64_t *strides, float *y) {
    EACH(product(rank, sizes)) y[i] = x[strided_offset(i, rank, sizes, strides)];
}
void ck_scatter_add_strided_f32(const float *y, int64_t rank, const int64_t *sizes, const int64_t *strides, float *x) {
    EACH(product(rank, sizes)) x[strided_offset(i, rank, sizes, strides)] += y[i];
}
static float float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
void ck_f16_to_f32(const uint16_t *x, float *y, int64_t n) {
    EACH(n) {
        // Shifted into float32's place the exponent lacks 112; the multiplication adds it, also to subnormals.
        // Infinity and NaN come out as exponent 143 and get 255.
        uint32_t magnitude = (uint32_t)(x[i] & 0x7fff) << 13;
        float value = float_of_bits(magnitude) * 0x1p112f;
        if (magnitude >= 0x0f800000) value = float_of_bits(magnitude | 0x7f800000);
        y[i] = x[i] & 0x8000 ? -value : value;
    }
}
void ck_bf16_to_f32(const uint16_t *x, float *y, int64_t n) { EACH(n) y[i] = float_of_bits((uint32_t)x[i] << 16); }
void ck_f64_to_f32(const double *x, float *y, int64_t n) { EACH(n) y[i] = (float)x[i]; }
