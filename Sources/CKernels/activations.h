// The activation functions, for vectors of the level that is being compiled. Include it in a family of kernels, after
// vector.h and instead of vector_math.h.
#include "vector_math.h"

#define v_clamp CK_NAME(ck_v_clamp)
#define v_gelu CK_NAME(ck_v_gelu)
#define v_activate CK_NAME(ck_v_activate)

CK_INLINE vf v_clamp(vf x, float low, float high) { return v_min(v_splat(high), v_max(v_splat(low), x)); }

CK_INLINE vf v_gelu(vf x) {
    vf density;
    return x * v_normal_cdf(x, &density);
}

// f is a constant where this is inlined, or the switch costs more than the function.
CK_INLINE vf v_activate(ck_activation f, vf x) {
    switch (f) {
    case CK_RELU: return v_max(v_splat(0), x);
    case CK_RELU6: return v_clamp(x, 0, 6);
    case CK_HARDSWISH: return x * v_clamp(x + 3.0f, 0, 6) * (1.0f / 6);
    case CK_HARDSIGMOID: return v_clamp(x + 3.0f, 0, 6) * (1.0f / 6);
    case CK_SILU: return x * v_sigmoid(x);
    case CK_GELU: return v_gelu(x);
    case CK_SIGMOID: return v_sigmoid(x);
    case CK_TANH: return v_tanh(x);
    case CK_IDENTITY: return x;
    }
    return x;
}
