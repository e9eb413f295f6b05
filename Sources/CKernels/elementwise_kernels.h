// Elementwise kernels of one instruction-set level. All of them read a vector and write it back before they touch the
// next one, which makes in-place use safe, and which the compiler's own vectorizer would have to prove.
#include "activations.h"

// y[i] = EXPRESSION of v = x[i]
#define MAP(EXPRESSION)                          \
    V_EACH(i, n, lanes, {                        \
        vf v = v_load_n(x + i, lanes);           \
        v_store_n(y + i, (EXPRESSION), lanes);   \
    })

// dx[i] = EXPRESSION of v = x[i] and g = dy[i]
#define MAP_BACKWARD(EXPRESSION)                                             \
    V_EACH(i, n, lanes, {                                                    \
        vf v = v_load_n(x + i, lanes), g = v_load_n(dy + i, lanes);          \
        v_store_n(dx + i, (EXPRESSION), lanes);                              \
    })

static void CK_NAME(ck_fill_f32)(float value, float *y, int64_t n) {
    vf v = v_splat(value);
    V_EACH(i, n, lanes, v_store_n(y + i, v, lanes););
}

static void CK_NAME(ck_activation_forward_f32)(ck_activation f, const float *x, float *y, int64_t n) {
    switch (f) {
    case CK_RELU: MAP(v_activate(CK_RELU, v)); break;
    case CK_RELU6: MAP(v_activate(CK_RELU6, v)); break;
    case CK_HARDSWISH: MAP(v_activate(CK_HARDSWISH, v)); break;
    case CK_HARDSIGMOID: MAP(v_activate(CK_HARDSIGMOID, v)); break;
    case CK_SILU: MAP(v_activate(CK_SILU, v)); break;
    case CK_GELU: MAP(v_activate(CK_GELU, v)); break;
    case CK_SIGMOID: MAP(v_activate(CK_SIGMOID, v)); break;
    case CK_TANH: MAP(v_activate(CK_TANH, v)); break;
    case CK_IDENTITY: MAP(v); break;
    }
}

static void CK_NAME(ck_activation_backward_f32)(ck_activation f, const float *x, const float *dy, float *dx,
                                                int64_t n) {
    switch (f) {
    case CK_RELU: MAP_BACKWARD(v_activation_backward(CK_RELU, v, g)); break;
    case CK_RELU6: MAP_BACKWARD(v_activation_backward(CK_RELU6, v, g)); break;
    case CK_HARDSWISH: MAP_BACKWARD(v_activation_backward(CK_HARDSWISH, v, g)); break;
    case CK_HARDSIGMOID: MAP_BACKWARD(v_activation_backward(CK_HARDSIGMOID, v, g)); break;
    case CK_SILU: MAP_BACKWARD(v_activation_backward(CK_SILU, v, g)); break;
    case CK_GELU: MAP_BACKWARD(v_activation_backward(CK_GELU, v, g)); break;
    case CK_SIGMOID: MAP_BACKWARD(v_activation_backward(CK_SIGMOID, v, g)); break;
    case CK_TANH: MAP_BACKWARD(v_activation_backward(CK_TANH, v, g)); break;
    case CK_IDENTITY: v_copy(dx, dy, n); break;
    }
}

static void CK_NAME(ck_unary_f32)(ck_unary f, const float *x, float *y, int64_t n) {
    switch (f) {
    case CK_EXP: MAP(v_exp(v)); break;
    case CK_LOG:
        // Rare: no network takes logarithms of whole activations.
        for (int64_t i = 0; i < n; i++) y[i] = logf(x[i]);
        break;
    case CK_SQRT: MAP(__builtin_elementwise_sqrt(v)); break;
    case CK_RSQRT: MAP(1.0f / __builtin_elementwise_sqrt(v)); break;
    case CK_NEG: MAP(-v); break;
    case CK_ABS: MAP(v_abs(v)); break;
    case CK_SQUARE: MAP(v * v); break;
    case CK_RECIPROCAL: MAP(1.0f / v); break;
    }
}

#define binary_apply CK_NAME(binary_apply)
CK_INLINE vf binary_apply(ck_binary op, vf p, vf q) {
    switch (op) {
    case CK_ADD: return p + q;
    case CK_SUB: return p - q;
    case CK_MUL: return p * q;
    case CK_DIV: return p / q;
    case CK_MAX: return ((p > q) | (p != p)) ? p : q;
    case CK_MIN: return ((p < q) | (p != p)) ? p : q;
    }
    return p;
}

// All rows, for an operation and column strides that are constants where this is inlined.
#define binary_rows CK_NAME(binary_rows)
CK_INLINE void binary_rows(ck_binary op, const ck_binary_shape *shape, int a_col, int b_col, const float *a,
                           const float *b, float *y) {
    int64_t n = shape->cols;
    for (int64_t r = 0; r < shape->rows; r++, a += shape->a_row, b += shape->b_row, y += n) {
        vf a0 = v_splat(*a), b0 = v_splat(*b);
        V_EACH(i, n, lanes, {
            vf p = a_col ? v_load_n(a + i, lanes) : a0;
            vf q = b_col ? v_load_n(b + i, lanes) : b0;
            v_store_n(y + i, binary_apply(op, p, q), lanes);
        });
    }
}

#define binary_columns CK_NAME(binary_columns)
CK_INLINE void binary_columns(ck_binary op, const ck_binary_shape *shape, const float *a, const float *b, float *y) {
    if (shape->a_col && shape->b_col)
        binary_rows(op, shape, 1, 1, a, b, y);
    else if (shape->a_col)
        binary_rows(op, shape, 1, 0, a, b, y);
    else if (shape->b_col)
        binary_rows(op, shape, 0, 1, a, b, y);
    else
        binary_rows(op, shape, 0, 0, a, b, y);
}

static void CK_NAME(ck_binary_f32)(ck_binary op, const ck_binary_shape *shape, const float *a, const float *b,
                                   float *y) {
    ck_binary_shape s = *shape;
    if (s.rows == 0 || s.cols == 0) return;
    // One long row where rows follow each other without a gap: both dense, or one dense and one a single number; and a
    // single column is a row that is stored like one.
    bool a_flat = s.a_row == s.cols * s.a_col, b_flat = s.b_row == s.cols * s.b_col;
    if (a_flat && b_flat)
        s = (ck_binary_shape){1, s.rows * s.cols, 0, s.a_col, 0, s.b_col};
    else if (s.cols == 1 && (s.a_row == 0 || s.a_row == 1) && (s.b_row == 0 || s.b_row == 1))
        s = (ck_binary_shape){1, s.rows, 0, s.a_row, 0, s.b_row};
    switch (op) {
    case CK_ADD: binary_columns(CK_ADD, &s, a, b, y); break;
    case CK_SUB: binary_columns(CK_SUB, &s, a, b, y); break;
    case CK_MUL: binary_columns(CK_MUL, &s, a, b, y); break;
    case CK_DIV: binary_columns(CK_DIV, &s, a, b, y); break;
    case CK_MAX: binary_columns(CK_MAX, &s, a, b, y); break;
    case CK_MIN: binary_columns(CK_MIN, &s, a, b, y); break;
    }
}

static void CK_NAME(ck_affine_f32)(float a, float b, const float *x, float *y, int64_t n) { MAP(v * a + b); }

static void CK_NAME(ck_axpy_f32)(float a, const float *x, float *y, int64_t n) {
    MAP(v_load_n(y + i, lanes) + v * a);
}

static void CK_NAME(ck_clamp_f32)(float low, float high, const float *x, float *y, int64_t n) {
    MAP(v_clamp(v, low, high));
}

// The compiler vectorizes these two.
static int64_t CK_NAME(ck_scale_losses_f32)(float a, const float *x, const float *y, int64_t n, int bits,
                                            uint8_t *losses) {
    const uint32_t most = bits == 2 ? 1 : 127, beyond = 2 * most + 1;
    int64_t total = 0;
    for (int64_t i = 0; i < n; i += 256) {
        uint8_t codes[256] = {0};
        const int64_t count = n - i < 256 ? n - i : 256;
        int32_t others = 0;
        for (int64_t j = 0; j < count; j++) {
            const float quotient = y[i + j] / a;
            uint32_t is, was;
            memcpy(&is, &quotient, sizeof is);
            memcpy(&was, &x[i + j], sizeof was);
            // Floats of one sign that follow each other have bits that do.
            const uint32_t code = was - is + most;
            codes[j] = code < beyond ? code : beyond;
            others += code >= beyond;
        }
        total += others;
        if (bits == 8) {
            memcpy(losses + i, codes, (size_t)count);
            continue;
        }
        for (int64_t j = 0; j < (count + 3) / 4; j++)
            losses[i / 4 + j] = codes[4 * j] | codes[4 * j + 1] << 2 | codes[4 * j + 2] << 4 | codes[4 * j + 3] << 6;
    }
    return total;
}

static void CK_NAME(ck_scale_undo_f32)(float a, const float *y, const uint8_t *losses, int bits, float *x, int64_t n) {
    const uint32_t most = bits == 2 ? 1 : 127, beyond = 2 * most + 1;
    for (int64_t i = 0; i < n; i++) {
        const float quotient = y[i] / a;
        const uint32_t code = bits == 2 ? losses[i / 4] >> i % 4 * 2 & 3 : losses[i];
        uint32_t is;
        memcpy(&is, &quotient, sizeof is);
        if (code < beyond) is += code - most;
        memcpy(&x[i], &is, sizeof is);
    }
}
