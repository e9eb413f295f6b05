// Batch norm and layer norm: see norm_kernels.h.
#include <math.h>

#define CK_FAMILY "norm_kernels.h"
#include "each_level.h"

CK_DISPATCH(ck_channel_affine_f32,
            (const float *x, const float *scale, const float *shift, ck_activation f, int64_t rows, int64_t channels,
             float *y),
            (x, scale, shift, f, rows, channels, y))
CK_DISPATCH(ck_shifted_moments_f32,
            (const float *x, const float *shift, int64_t rows, int64_t channels, double *sums, double *squares),
            (x, shift, rows, channels, sums, squares))
CK_DISPATCH(ck_batch_norm_backward_sums_f32,
            (const ck_batch_norm_gradient *gradient, const float *mean, int64_t rows, int64_t channels, double *sums,
             double *dots),
            (gradient, mean, rows, channels, sums, dots))
CK_DISPATCH(ck_batch_norm_backward_f32,
            (const ck_batch_norm_gradient *gradient, const float *a, const float *b, const float *d, int64_t rows,
             int64_t channels, float *dx),
            (gradient, a, b, d, rows, channels, dx))
CK_DISPATCH(ck_layer_norm_forward_f32,
            (const float *x, const float *weight, const float *bias, float eps, int64_t rows, int64_t channels,
             float *y, float *mean, float *rstd),
            (x, weight, bias, eps, rows, channels, y, mean, rstd))
CK_DISPATCH(ck_layer_norm_backward_f32,
            (const float *x, const float *weight, const float *mean, const float *rstd, const float *dy, int64_t rows,
             int64_t channels, float *dx, double *dweight, double *dbias),
            (x, weight, mean, rstd, dy, rows, channels, dx, dweight, dbias))
