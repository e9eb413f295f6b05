// Elementwise kernels: see elementwise_kernels.h.
#include <math.h>
#include <string.h>

#define CK_FAMILY "elementwise_kernels.h"
#include "each_level.h"

CK_DISPATCH(ck_fill_f32, (float value, float *y, int64_t n), (value, y, n))
CK_DISPATCH(ck_activation_forward_f32, (ck_activation f, const float *x, float *y, int64_t n), (f, x, y, n))
CK_DISPATCH(ck_activation_backward_f32, (ck_activation f, const float *x, const float *dy, float *dx, int64_t n),
            (f, x, dy, dx, n))
CK_DISPATCH(ck_unary_f32, (ck_unary f, const float *x, float *y, int64_t n), (f, x, y, n))
CK_DISPATCH(ck_binary_f32,
            (ck_binary op, const ck_binary_shape *shape, const float *a, const float *b, float *y),
            (op, shape, a, b, y))
CK_DISPATCH(ck_affine_f32, (float a, float b, const float *x, float *y, int64_t n), (a, b, x, y, n))
CK_DISPATCH(ck_axpy_f32, (float a, const float *x, float *y, int64_t n), (a, x, y, n))
CK_DISPATCH(ck_clamp_f32, (float low, float high, const float *x, float *y, int64_t n), (low, high, x, y, n))
CK_DISPATCH_RESULT(int64_t, ck_scale_losses_f32,
                   (float a, const float *x, const float *y, int64_t n, int bits, uint8_t *losses),
                   (a, x, y, n, bits, losses))
CK_DISPATCH(ck_scale_undo_f32, (float a, const float *y, const uint8_t *losses, int bits, float *x, int64_t n),
            (a, y, losses, bits, x, n))
