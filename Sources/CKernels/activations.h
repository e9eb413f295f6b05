// The activation functions, for vectors of the level that is being compiled. Include it in a family of kernels, after
// vector.h and instead of vector_math.h.
#include "vector_math.h"

#define v_clamp CK_NAME(ck_v_clamp)
#define v_activate CK_NAME(ck_v_activate)

CK_INLINE vf v_clamp(vf x, float low, float high) { return v_min(v_splat(high), v_max(v_splat(low), x)); }

// f is a constant where this is inlined, or the switch costs more than the function.
CK_INLINE vf v_activate(ck_activation f, vf x) {
    switch (f) {
    case CK_RELU: return v_max(v_splat(0), x);
    case CK_RELU6: return v_clamp(x, 0, 6);
    case CK_HARDSWISH: return x * v_clamp(x + 3.0f, 0, 6) * (1.0f / 6);
    case CK_HARDSIGMOID: return v_clamp(x + 3.0f, 0, 6) * (1.0f / 6);
    case CK_SILU: return v_silu(x);
    case CK_GELU: return v_gelu(x);
    case CK_SIGMOID: return v_sigmoid(x);
    case CK_TANH: return v_tanh(x);
    case CK_IDENTITY: return x;
    }
    return x;
}

#define v_gelu_derivative CK_NAME(ck_v_gelu_derivative)
CK_INLINE vf v_gelu_derivative(vf v) {
    vf e;
    vf cdf = v_normal_cdf(v, &e);
    return cdf + v * e * 0.3989422804014327f;
}

#define v_silu_derivative CK_NAME(ck_v_silu_derivative)
CK_INLINE vf v_silu_derivative(vf v) {
    vf s = v_sigmoid(v);
    return s * (1.0f + v * (1.0f - s));
}

#define v_sigmoid_derivative CK_NAME(ck_v_sigmoid_derivative)
CK_INLINE vf v_sigmoid_derivative(vf v) {
    // e / (1 + e)^2 is s (1 - s) without the cancellation in 1 - s.
    vf e = v_exp_bounded(-v_abs(v)), d = 1.0f + e;
    return e / (d * d);
}

#define v_tanh_derivative CK_NAME(ck_v_tanh_derivative)
CK_INLINE vf v_tanh_derivative(vf v) {
    vf t = v_tanh(v);
    return 1.0f - t * t;
}

// g f'(v); f is a constant where this is inlined.
#define v_activation_backward CK_NAME(ck_v_activation_backward)
CK_INLINE vf v_activation_backward(ck_activation f, vf v, vf g) {
    const vf zero = v_splat(0);
    switch (f) {
    case CK_RELU: return v <= 0.0f ? zero : g;
    case CK_RELU6: return ((v <= 0.0f) | (v >= 6.0f)) ? zero : g;
    case CK_HARDSWISH: return v <= -3.0f ? zero : v < 3.0f ? g * (v * (1.0f / 3) + 0.5f) : g;
    case CK_HARDSIGMOID: return ((v <= -3.0f) | (v >= 3.0f)) ? zero : g * (1.0f / 6);
    case CK_SILU: return g * v_silu_derivative(v);
    case CK_GELU: return g * v_gelu_derivative(v);
    case CK_SIGMOID: return g * v_sigmoid_derivative(v);
    case CK_TANH: return g * v_tanh_derivative(v);
    case CK_IDENTITY: return g;
    }
    return g;
}
