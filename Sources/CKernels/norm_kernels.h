// Batch norm's and layer norm's kernels of one instruction-set level.
#include "columns.h"

// Calls CALL(f) for the activation f, a constant in each branch.
#define EACH_ACTIVATION(f, CALL)                          \
    switch (f) {                                          \
    case CK_RELU: CALL(CK_RELU); break;                   \
    case CK_RELU6: CALL(CK_RELU6); break;                 \
    case CK_HARDSWISH: CALL(CK_HARDSWISH); break;         \
    case CK_HARDSIGMOID: CALL(CK_HARDSIGMOID); break;     \
    case CK_SILU: CALL(CK_SILU); break;                   \
    case CK_GELU: CALL(CK_GELU); break;                   \
    case CK_SIGMOID: CALL(CK_SIGMOID); break;             \
    case CK_TANH: CALL(CK_TANH); break;                   \
    case CK_IDENTITY: CALL(CK_IDENTITY); break;           \
    }

#define affine_rows CK_NAME(affine_rows)
CK_INLINE void affine_rows(ck_activation f, const float *x, const float *scale, const float *shift, int64_t rows,
                           int64_t channels, float *y) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels) {
        V_EACH(c, channels, lanes, {
            vf v = v_load_n(x + c, lanes) * v_load_n(scale + c, lanes) + v_load_n(shift + c, lanes);
            v_store_n(y + c, v_activate(f, v), lanes);
        });
    }
}

static void CK_NAME(ck_channel_affine_f32)(const float *x, const float *scale, const float *shift, ck_activation f,
                                           int64_t rows, int64_t channels, float *y) {
#define AFFINE(f) affine_rows(f, x, scale, shift, rows, channels, y)
    EACH_ACTIVATION(f, AFFINE)
#undef AFFINE
}

static void CK_NAME(ck_shifted_moments_f32)(const float *x, const float *shift, int64_t rows, int64_t channels,
                                            double *sums, double *squares) {
    const ck_column_operands o = {.a = x, .mean = shift, .rows = rows, .cols = channels};
    column_sums(CK_SUM_MOMENTS, CK_IDENTITY, &o, sums, squares);
}

static void CK_NAME(ck_batch_norm_backward_sums_f32)(const ck_batch_norm_gradient *g, const float *mean, int64_t rows,
                                                     int64_t channels, double *sums, double *dots) {
    const ck_column_operands o = {.a = g->x, .b = g->dy, .mean = mean, .scale = g->scale, .shift = g->shift,
                                  .rows = rows, .cols = channels};
#define SUMS(f) column_sums(CK_SUM_B_AND_BA, f, &o, sums, dots)
    EACH_ACTIVATION(g->activation, SUMS)
#undef SUMS
}

#define batch_norm_backward CK_NAME(batch_norm_backward)
CK_INLINE void batch_norm_backward(ck_activation f, const ck_batch_norm_gradient *g, const float *a, const float *b,
                                   const float *d, int64_t rows, int64_t channels, float *dx) {
    const float *x = g->x, *dy = g->dy;
    for (int64_t r = 0; r < rows; r++, x += channels, dy += channels, dx += channels) {
        V_EACH(c, channels, lanes, {
            const vf in = v_load_n(x + c, lanes);
            vf out = v_load_n(dy + c, lanes);
            if (f != CK_IDENTITY)
                out = v_activation_backward(f, in * v_load_n(g->scale + c, lanes) + v_load_n(g->shift + c, lanes), out);
            const vf rest = in * v_load_n(b + c, lanes) + v_load_n(d + c, lanes);
            v_store_n(dx + c, out * v_load_n(a + c, lanes) + rest, lanes);
        });
    }
}

static void CK_NAME(ck_batch_norm_backward_f32)(const ck_batch_norm_gradient *g, const float *a, const float *b,
                                                const float *d, int64_t rows, int64_t channels, float *dx) {
#define BACKWARD(f) batch_norm_backward(f, g, a, b, d, rows, channels, dx)
    EACH_ACTIVATION(g->activation, BACKWARD)
#undef BACKWARD
}
#undef EACH_ACTIVATION

// The sum over the channels of EXPRESSION, which sees c and lanes and must be 0 in lanes beyond. Four partial sums
// hide the latency of the addition.
#define ROW_SUM(result, channels, EXPRESSION)                          \
    do {                                                               \
        vf part[4] = {v_splat(0), v_splat(0), v_splat(0), v_splat(0)}; \
        int64_t c = 0;                                                 \
        for (; c + 4 * CK_VL <= (channels); c += CK_VL) {              \
            const int64_t lanes = CK_VL;                               \
            part[0] += (EXPRESSION);                                   \
            c += CK_VL;                                                \
            part[1] += (EXPRESSION);                                   \
            c += CK_VL;                                                \
            part[2] += (EXPRESSION);                                   \
            c += CK_VL;                                                \
            part[3] += (EXPRESSION);                                   \
        }                                                              \
        for (; c < (channels); c += CK_VL) {                           \
            const int64_t rest = (channels) - c;                       \
            const int64_t lanes = rest < CK_VL ? rest : CK_VL;         \
            part[0] += (EXPRESSION);                                   \
        }                                                              \
        result = v_sum((part[0] + part[1]) + (part[2] + part[3]));     \
    } while (0)

#define first_lanes CK_NAME(first_lanes)
// x in the first `lanes` lanes, 0 in the others.
CK_INLINE vf first_lanes(vf x, int64_t lanes) {
    if (lanes == CK_VL) return x;
    vi index;
    for (int i = 0; i < CK_VL; i++) index[i] = i;
    return index < (vi)(int32_t)lanes ? x : v_splat(0);
}

#define squared_deviation CK_NAME(squared_deviation)
CK_INLINE vf squared_deviation(const float *x, float mean, int64_t lanes) {
    const vf d = first_lanes(v_load_n(x, lanes) - mean, lanes);
    return d * d;
}

static void CK_NAME(ck_layer_norm_forward_f32)(const float *x, const float *weight, const float *bias, float eps,
                                               int64_t rows, int64_t channels, float *y, float *mean, float *rstd) {
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels) {
        float sum, squares;
        ROW_SUM(sum, channels, v_load_n(x + c, lanes));
        const float m = sum / (float)channels;
        ROW_SUM(squares, channels, squared_deviation(x + c, m, lanes));
        const float s = 1.0f / sqrtf(squares / (float)channels + eps);
        V_EACH(c, channels, lanes, {
            vf v = (v_load_n(x + c, lanes) - m) * s;
            if (weight) v = v * v_load_n(weight + c, lanes);
            if (bias) v = v + v_load_n(bias + c, lanes);
            v_store_n(y + c, v, lanes);
        });
        if (mean) mean[r] = m;
        if (rstd) rstd[r] = s;
    }
}

#define weighted CK_NAME(weighted)
CK_INLINE vf weighted(const float *dy, const float *weight, int64_t c, int64_t lanes) {
    const vf g = v_load_n(dy + c, lanes);
    return weight ? g * v_load_n(weight + c, lanes) : g;
}

static void CK_NAME(ck_layer_norm_backward_f32)(const float *x, const float *weight, const float *mean,
                                                const float *rstd, const float *dy, int64_t rows, int64_t channels,
                                                float *dx, double *dweight, double *dbias) {
    // A block of rows at a time goes first into the weights' sums, since dx may overwrite dy, and is then still cached.
    for (int64_t r0 = 0; r0 < rows; r0 += CK_ROW_BLOCK) {
        const int64_t end = rows - r0 < CK_ROW_BLOCK ? rows : r0 + CK_ROW_BLOCK;
        if (dweight && dbias) {
            const ck_column_operands o = {.a = x + r0 * channels, .b = dy + r0 * channels, .row_mean = mean + r0,
                                          .row_rstd = rstd + r0, .rows = end - r0, .cols = channels};
            column_sums(CK_SUM_B_AND_BX, CK_IDENTITY, &o, dbias, dweight);
        }
        for (int64_t r = r0; r < end; r++) {
            const float *xr = x + r * channels, *g = dy + r * channels;
            const float m = mean[r], s = rstd[r];
            float sum, dot;
            ROW_SUM(sum, channels, weighted(g, weight, c, lanes));
            ROW_SUM(dot, channels, weighted(g, weight, c, lanes) * (v_load_n(xr + c, lanes) - m));
            // dx = s (g - sum / n - xhat dot s / n), xhat = (x - m) s
            const float slope = -s * s * s * dot / (float)channels, shift = -s * sum / (float)channels;
            float *out = dx + r * channels;
            V_EACH(c, channels, lanes, {
                vf v = (v_load_n(xr + c, lanes) - m) * slope + shift;
                v_store_n(out + c, weighted(g, weight, c, lanes) * s + v, lanes);
            });
        }
    }
}

#undef ROW_SUM
