// The reference loops: one per op, as the formula reads, in double where that costs nothing. They are the oracle that
// the tests hold every kernel against at every instruction-set level; speed does not matter here.
#include "CKernels.h"

#include <math.h>

static const double SQRT_HALF = 0.70710678118654752;

static double activation(ck_activation f, double x) {
    switch (f) {
    case CK_RELU: return x < 0 ? 0 : x;
    case CK_RELU6: return x < 0 ? 0 : x > 6 ? 6 : x;
    case CK_HARDSWISH: return x * (x < -3 ? 0 : x > 3 ? 6 : x + 3) / 6;
    case CK_HARDSIGMOID: return (x < -3 ? 0 : x > 3 ? 6 : x + 3) / 6;
    case CK_SILU: return x / (1 + exp(-x));
    case CK_GELU: return 0.5 * x * erfc(-x * SQRT_HALF);
    case CK_SIGMOID: return 1 / (1 + exp(-x));
    case CK_TANH: return tanh(x);
    case CK_IDENTITY: return x;
    }
    return NAN;
}

static double activation_derivative(ck_activation f, double x) {
    switch (f) {
    case CK_RELU: return x <= 0 ? 0 : 1;
    case CK_RELU6: return x <= 0 || x >= 6 ? 0 : 1;
    case CK_HARDSWISH: return x <= -3 ? 0 : x < 3 ? x / 3 + 0.5 : 1;
    case CK_HARDSIGMOID: return x <= -3 || x >= 3 ? 0 : 1.0 / 6;
    case CK_SILU: {
        double s = 1 / (1 + exp(-x));
        return s * (1 + x * (1 - s));
    }
    case CK_GELU: return 0.5 * erfc(-x * SQRT_HALF) + x * exp(-0.5 * x * x) * 0.3989422804014327;
    case CK_SIGMOID: {
        double s = 1 / (1 + exp(-x));
        return s * (1 - s);
    }
    case CK_TANH: {
        double t = tanh(x);
        return 1 - t * t;
    }
    case CK_IDENTITY: return 1;
    }
    return NAN;
}

void ck_activation_forward_f32_ref(ck_activation f, const float *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = (float)activation(f, x[i]);
}

void ck_activation_backward_f32_ref(ck_activation f, const float *x, const float *dy, float *dx, int64_t n) {
    for (int64_t i = 0; i < n; i++) dx[i] = (float)(dy[i] * activation_derivative(f, x[i]));
}

void ck_unary_f32_ref(ck_unary f, const float *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        switch (f) {
        case CK_EXP: y[i] = (float)exp(x[i]); break;
        case CK_LOG: y[i] = (float)log(x[i]); break;
        case CK_SQRT: y[i] = (float)sqrt(x[i]); break;
        case CK_RSQRT: y[i] = (float)(1 / sqrt(x[i])); break;
        case CK_NEG: y[i] = -x[i]; break;
        case CK_ABS: y[i] = fabsf(x[i]); break;
        case CK_SQUARE: y[i] = x[i] * x[i]; break;
        case CK_RECIPROCAL: y[i] = 1 / x[i]; break;
        }
    }
}

void ck_binary_f32_ref(ck_binary op, const ck_binary_shape *shape, const float *a, const float *b, float *y) {
    for (int64_t r = 0; r < shape->rows; r++) {
        for (int64_t c = 0; c < shape->cols; c++) {
            float p = a[r * shape->a_row + c * shape->a_col];
            float q = b[r * shape->b_row + c * shape->b_col];
            float *out = y + r * shape->cols + c;
            switch (op) {
            case CK_ADD: *out = p + q; break;
            case CK_SUB: *out = p - q; break;
            case CK_MUL: *out = p * q; break;
            case CK_DIV: *out = p / q; break;
            case CK_MAX: *out = p > q || isnan(p) ? p : q; break;
            case CK_MIN: *out = p < q || isnan(p) ? p : q; break;
            }
        }
    }
}

void ck_sum_columns_f32_ref(const float *x, int64_t rows, int64_t cols, double *y) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) y[c] += x[r * cols + c];
}

void ck_dot_columns_f32_ref(const float *a, const float *b, int64_t rows, int64_t cols, double *y) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) y[c] += (double)a[r * cols + c] * b[r * cols + c];
}

// The largest element, and the sum of exp(x - largest).
static double row_maximum(const float *x, int64_t cols, double *sum) {
    double largest = -INFINITY;
    for (int64_t c = 0; c < cols; c++)
        if (x[c] > largest || isnan(x[c])) largest = x[c];
    *sum = 0;
    for (int64_t c = 0; c < cols; c++) *sum += exp(x[c] - largest);
    return largest;
}

void ck_softmax_forward_f32_ref(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
        double sum, largest = row_maximum(x, cols, &sum);
        for (int64_t c = 0; c < cols; c++) y[c] = (float)(exp(x[c] - largest) / sum);
    }
}

void ck_log_softmax_forward_f32_ref(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
        double sum, largest = row_maximum(x, cols, &sum);
        for (int64_t c = 0; c < cols; c++) y[c] = (float)(x[c] - largest - log(sum));
    }
}

void ck_channel_affine_f32_ref(const float *x, const float *scale, const float *shift, ck_activation f, int64_t rows,
                               int64_t channels, float *y) {
    for (int64_t i = 0; i < rows * channels; i++)
        y[i] = (float)((double)scale[i % channels] * x[i] + shift[i % channels]);
    ck_activation_forward_f32_ref(f, y, y, rows * channels);
}

void ck_shifted_moments_f32_ref(const float *x, const float *shift, int64_t rows, int64_t channels, double *sums,
                                double *squares) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < channels; c++) {
            double d = (double)x[r * channels + c] - shift[c];
            sums[c] += d;
            squares[c] += d * d;
        }
    }
}

void ck_batch_norm_backward_sums_f32_ref(const float *x, const float *mean, const float *dy, int64_t rows,
                                         int64_t channels, double *sums, double *dots) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < channels; c++) {
            int64_t i = r * channels + c;
            sums[c] += dy[i];
            dots[c] += dy[i] * ((double)x[i] - mean[c]);
        }
    }
}

void ck_layer_norm_forward_f32_ref(const float *x, const float *weight, const float *bias, float eps, int64_t rows,
                                   int64_t channels, float *y, float *mean, float *rstd) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels) {
        double m = 0, v = 0;
        for (int64_t c = 0; c < channels; c++) m += x[c];
        m /= (double)channels;
        for (int64_t c = 0; c < channels; c++) v += (x[c] - m) * (x[c] - m);
        double s = 1 / sqrt(v / (double)channels + eps);
        for (int64_t c = 0; c < channels; c++)
            y[c] = (float)((x[c] - m) * s * (weight ? weight[c] : 1) + (bias ? bias[c] : 0));
        if (mean) mean[r] = (float)m;
        if (rstd) rstd[r] = (float)s;
    }
}

void ck_layer_norm_backward_f32_ref(const float *x, const float *weight, const float *mean, const float *rstd,
                                    const float *dy, int64_t rows, int64_t channels, float *dx, double *dweight,
                                    double *dbias) {
    for (int64_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels) {
        double sum = 0, dot = 0;
        for (int64_t c = 0; c < channels; c++) {
            double xhat = ((double)x[c] - mean[r]) * rstd[r];
            double g = (double)dy[c] * (weight ? weight[c] : 1);
            sum += g;
            dot += g * xhat;
            if (dweight) dweight[c] += dy[c] * xhat;
            if (dbias) dbias[c] += dy[c];
        }
        sum /= (double)channels;
        dot /= (double)channels;
        for (int64_t c = 0; c < channels; c++) {
            double xhat = ((double)x[c] - mean[r]) * rstd[r];
            dx[c] = (float)(rstd[r] * ((double)dy[c] * (weight ? weight[c] : 1) - sum - xhat * dot));
        }
    }
}

// Calls VISIT for every product of the convolution: `xi`, `wi` and `yi` index the input, the weight and the output.
#define FOR_EACH_PRODUCT(shape, VISIT)                                                                         \
    do {                                                                                                       \
        const ck_conv2d_shape s = *(shape);                                                                    \
        const int64_t cg = s.c / s.groups, og = s.o / s.groups;                                                \
        for (int64_t n = 0; n < s.n; n++)                                                                      \
            for (int64_t oh = 0; oh < s.oh; oh++)                                                              \
                for (int64_t ow = 0; ow < s.ow; ow++)                                                          \
                    for (int64_t o = 0; o < s.o; o++)                                                          \
                        for (int64_t kh = 0; kh < s.kh; kh++)                                                  \
                            for (int64_t kw = 0; kw < s.kw; kw++) {                                            \
                                int64_t h = oh * s.stride_h - s.pad_top + kh * s.dilation_h;                   \
                                int64_t w = ow * s.stride_w - s.pad_left + kw * s.dilation_w;                  \
                                if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;                          \
                                for (int64_t c = 0; c < cg; c++) {                                             \
                                    int64_t xi = ((n * s.h + h) * s.w + w) * s.c + o / og * cg + c;            \
                                    int64_t wi = ((o * s.kh + kh) * s.kw + kw) * cg + c;                       \
                                    int64_t yi = ((n * s.oh + oh) * s.ow + ow) * s.o + o;                      \
                                    VISIT;                                                                     \
                                }                                                                              \
                            }                                                                                  \
    } while (0)

void ck_conv2d_forward_f32_ref(const ck_conv2d_shape *shape, const float *x, const float *weight, const float *bias,
                               float *y) {
    int64_t pixels = shape->n * shape->oh * shape->ow;
    for (int64_t i = 0; i < pixels * shape->o; i++) y[i] = bias ? bias[i % shape->o] : 0;
    FOR_EACH_PRODUCT(shape, y[yi] += x[xi] * weight[wi]);
}

void ck_conv2d_backward_f32_ref(const ck_conv2d_shape *shape, const float *x, const float *weight, const float *dy,
                                float *dx, float *dweight) {
    if (dx) {
        for (int64_t i = 0; i < shape->n * shape->h * shape->w * shape->c; i++) dx[i] = 0;
        FOR_EACH_PRODUCT(shape, dx[xi] += dy[yi] * weight[wi]);
    }
    if (dweight) {
        for (int64_t i = 0; i < shape->o * shape->kh * shape->kw * (shape->c / shape->groups); i++) dweight[i] = 0;
        FOR_EACH_PRODUCT(shape, dweight[wi] += dy[yi] * x[xi]);
    }
}

void ck_max_pool_forward_f32_ref(const ck_pool2d_shape *shape, const float *x, float *y, int32_t *argmax) {
    const ck_pool2d_shape s = *shape;
    for (int64_t i = 0; i < s.n * s.oh * s.ow * s.c; i++) {
        int64_t c = i % s.c, ow = i / s.c % s.ow, oh = i / s.c / s.ow % s.oh, n = i / s.c / s.ow / s.oh;
        float best = -INFINITY;
        int64_t index = -1;
        for (int64_t kh = 0; kh < s.kh; kh++) {
            for (int64_t kw = 0; kw < s.kw; kw++) {
                int64_t h = oh * s.stride_h - s.pad_h + kh * s.dilation_h;
                int64_t w = ow * s.stride_w - s.pad_w + kw * s.dilation_w;
                if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
                float value = x[((n * s.h + h) * s.w + w) * s.c + c];
                if (index < 0 || value > best || isnan(value)) {
                    best = value;
                    index = h * s.w + w;
                }
            }
        }
        y[i] = best;
        if (argmax) argmax[i] = (int32_t)(index < 0 ? 0 : index);
    }
}

void ck_avg_pool_forward_f32_ref(const ck_pool2d_shape *shape, const float *x, float *y) {
    const ck_pool2d_shape s = *shape;
    for (int64_t i = 0; i < s.n * s.oh * s.ow * s.c; i++) {
        int64_t c = i % s.c, ow = i / s.c % s.ow, oh = i / s.c / s.ow % s.oh, n = i / s.c / s.ow / s.oh;
        double sum = 0;
        int64_t inside = 0, padded = 0;
        for (int64_t kh = 0; kh < s.kh; kh++) {
            for (int64_t kw = 0; kw < s.kw; kw++) {
                int64_t h = oh * s.stride_h - s.pad_h + kh;
                int64_t w = ow * s.stride_w - s.pad_w + kw;
                if (h >= s.h + s.pad_h || w >= s.w + s.pad_w) continue;
                padded++;
                if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
                inside++;
                sum += x[((n * s.h + h) * s.w + w) * s.c + c];
            }
        }
        y[i] = inside == 0 ? 0 : (float)(sum / (double)(s.count_include_pad ? padded : inside));
    }
}

void ck_adaptive_avg_pool_forward_f32_ref(const ck_pool2d_shape *shape, const float *x, float *y) {
    const ck_pool2d_shape s = *shape;
    for (int64_t i = 0; i < s.n * s.oh * s.ow * s.c; i++) {
        int64_t c = i % s.c, ow = i / s.c % s.ow, oh = i / s.c / s.ow % s.oh, n = i / s.c / s.ow / s.oh;
        int64_t h0 = oh * s.h / s.oh, h1 = ((oh + 1) * s.h + s.oh - 1) / s.oh;
        int64_t w0 = ow * s.w / s.ow, w1 = ((ow + 1) * s.w + s.ow - 1) / s.ow;
        double sum = 0;
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) sum += x[((n * s.h + h) * s.w + w) * s.c + c];
        y[i] = (float)(sum / (double)((h1 - h0) * (w1 - w0)));
    }
}

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

void ck_attention_f32_ref(const ck_attention *attention, const float *x, const float *factors, const float *bias,
                          const float *mask, float *y) {
    const ck_attention s = *attention;
    for (int64_t i = 0; i < s.batch * s.heads * s.tokens; i++) {
        const int64_t row = i % s.tokens, h = i / s.tokens % s.heads, n = i / s.tokens / s.heads;
        const float *q = x + (n * s.tokens + row) * s.x_stride + h * s.depth;
        const float *k = x + n * s.tokens * s.x_stride + (s.heads + h) * s.depth, *v = k + s.heads * s.depth;
        float *out = y + (n * s.tokens + row) * s.y_stride + h * s.depth;
        // The scores three times instead of an array of them: their largest, then the sums of 64 channels at a time.
        double largest = -INFINITY;
        for (int64_t d0 = -64; d0 < s.depth; d0 += 64) {
            double sum = 0, sums[64] = {0};
            const int64_t channels = s.depth - d0 < 64 ? s.depth - d0 : 64;
            for (int64_t c = 0; c < s.tokens; c++) {
                double score = dot(q, k + c * s.x_stride, s.depth);
                if (s.cosine) {
                    score /= fmax(sqrt(dot(q, q, s.depth)), 1e-12);
                    score /= fmax(sqrt(dot(k + c * s.x_stride, k + c * s.x_stride, s.depth)), 1e-12);
                }
                score *= s.cosine ? factors[h] : s.scale;
                if (bias) score += bias[(h * s.tokens + row) * s.tokens + c];
                if (mask) score += mask[(n % s.windows * s.tokens + row) * s.tokens + c];
                if (d0 < 0) {
                    largest = fmax(largest, score);
                    continue;
                }
                const double e = exp(score - largest);
                sum += e;
                for (int64_t d = 0; d < channels; d++) sums[d] += e * v[c * s.x_stride + d0 + d];
            }
            for (int64_t d = 0; d0 >= 0 && d < channels; d++) out[d0 + d] = (float)(sums[d] / sum);
        }
    }
}

void ck_sgd_step_f32_ref(const ck_sgd *sgd, const float *dw, float *w, float *m, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double g = dw[i] + (double)sgd->weight_decay * w[i], step = g;
        if (m) {
            double momentum = sgd->first ? g : (double)sgd->momentum * m[i] + g;
            m[i] = (float)momentum;
            step = sgd->nesterov ? g + sgd->momentum * momentum : momentum;
        }
        w[i] = (float)(w[i] - sgd->learning_rate * step);
    }
}

void ck_adam_step_f32_ref(const ck_adam *adam, const float *dw, float *w, float *m, float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double g = dw[i] + (double)adam->gradient_decay * w[i];
        double mean = m[i] + adam->new1 * (g - m[i]);
        double square = (double)adam->beta2 * v[i] + adam->new2 * g * g;
        m[i] = (float)mean;
        v[i] = (float)square;
        double denominator = sqrt(square) * adam->root_scale + adam->eps;
        w[i] = (float)((double)adam->kept * w[i] - adam->step_size * mean / denominator);
    }
}
