// Elementwise kernels. In-place use (y == x or y == a) is allowed unless said otherwise.
#ifndef CK_ELEMENTWISE_H
#define CK_ELEMENTWISE_H

#include <stdint.h>

typedef enum {
    CK_RELU, CK_RELU6, CK_HARDSWISH, CK_HARDSIGMOID, CK_SILU, CK_GELU /* exact, erf */, CK_SIGMOID, CK_TANH,
    CK_IDENTITY,
} ck_activation;

typedef enum { CK_ADD, CK_SUB, CK_MUL, CK_DIV, CK_MAX, CK_MIN } ck_binary;

typedef enum { CK_EXP, CK_LOG, CK_SQRT, CK_RSQRT, CK_NEG, CK_ABS, CK_SQUARE, CK_RECIPROCAL } ck_unary;

// y[i] = value
void ck_fill_f32(float value, float *y, int64_t n);

// y[i] = f(x[i])
void ck_activation_forward_f32(ck_activation f, const float *x, float *y, int64_t n);
// dx[i] = dy[i] * f'(x[i]); at a kink as PyTorch does (0 at relu's and relu6's bounds, hardswish and hardsigmoid too)
void ck_activation_backward_f32(ck_activation f, const float *x, const float *dy, float *dx, int64_t n);

// y[i] = f(x[i])
void ck_unary_f32(ck_unary f, const float *x, float *y, int64_t n);

// y[r, c] = a[r, c] op b[r, c] with explicit strides of a and b in elements (0 broadcasts; column strides are 0 or 1);
// y is dense [rows, cols]
typedef struct {
    int64_t rows, cols;
    int64_t a_row, a_col, b_row, b_col;
} ck_binary_shape;
void ck_binary_f32(ck_binary op, const ck_binary_shape *shape, const float *a, const float *b, float *y);

// y[i] = a * x[i] + b
void ck_affine_f32(float a, float b, const float *x, float *y, int64_t n);
// y[i] += a * x[i]
void ck_axpy_f32(float a, const float *x, float *y, int64_t n);
// y[i] = min(max(x[i], low), high)
void ck_clamp_f32(float low, float high, const float *x, float *y, int64_t n);

// What is lost when x is kept as y, about a * x[i], so that x can be computed from y to the bit: by how many units in the
// last place x[i] is beside y[i] / a, in 2 bits an element (-1 to 1; four elements a byte) or 8 (-127 to 127), or all ones
// where it is further off. Returns how many elements are.
int64_t ck_scale_losses_f32(float a, const float *x, const float *y, int64_t n, int bits, uint8_t *losses);
// x[i] from y[i] and its losses; y[i] / a where these are all ones. x may be y.
void ck_scale_undo_f32(float a, const float *y, const uint8_t *losses, int bits, float *x, int64_t n);

// Plain loops over libm.
void ck_activation_forward_f32_ref(ck_activation f, const float *x, float *y, int64_t n);
void ck_activation_backward_f32_ref(ck_activation f, const float *x, const float *dy, float *dx, int64_t n);
void ck_unary_f32_ref(ck_unary f, const float *x, float *y, int64_t n);
void ck_binary_f32_ref(ck_binary op, const ck_binary_shape *shape, const float *a, const float *b, float *y);

#endif
