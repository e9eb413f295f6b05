// Batch norm and layer norm over a dense [rows, channels] array.
#ifndef CK_NORM_H
#define CK_NORM_H

#include <stdint.h>

#include "ck_elementwise.h"

// y[r, c] = f(scale[c] * x[r, c] + shift[c]). Batch norm in inference and its last step in training, with
// scale = weight / sqrt(var + eps) and shift = bias - mean * scale. y == x allowed.
void ck_channel_affine_f32(const float *x, const float *scale, const float *shift, ck_activation f, int64_t rows,
                           int64_t channels, float *y);
// sums[c] += sum over r of x[r, c] - shift[c], squares[c] += that of its square, in double: with a shift that is the
// mean of some of the rows, the batch statistics in one pass. The mean of 64 of R rows is at most sqrt(R / 64) standard
// deviations from that of all, so that the variance loses at most a factor of 1 + R / 64 of the squares' precision.
void ck_shifted_moments_f32(const float *x, const float *shift, int64_t rows, int64_t channels, double *sums,
                            double *squares);

// What the backward of batch norm and of an activation f behind it reads; dz = dy f'(scale[c] x + shift[c]) is what
// reaches the batch norm's output.
typedef struct {
    const float *x, *dy;
    ck_activation activation;    // CK_IDENTITY for none
    const float *scale, *shift;  // as in the forward; null for CK_IDENTITY
} ck_batch_norm_gradient;
// The two sums of it, in double: sums[c] += sum of dz[r, c]; dots[c] += sum of dz[r, c] * (x[r, c] - mean[c]).
void ck_batch_norm_backward_sums_f32(const ck_batch_norm_gradient *gradient, const float *mean, int64_t rows,
                                     int64_t channels, double *sums, double *dots);
// dx[r, c] = a[c] * dz[r, c] + b[c] * x[r, c] + d[c]; dx == dy allowed.
void ck_batch_norm_backward_f32(const ck_batch_norm_gradient *gradient, const float *a, const float *b, const float *d,
                                int64_t rows, int64_t channels, float *dx);

// y = (x - mean) * rstd * weight + bias over the channels of each row; weight and bias may be null;
// mean[r] and rstd[r] are kept for the backward (null: not kept).
void ck_layer_norm_forward_f32(const float *x, const float *weight, const float *bias, float eps, int64_t rows,
                               int64_t channels, float *y, float *mean, float *rstd);
// dx, and dweight[c] += , dbias[c] += in double (both null: not wanted). weight may be null. dx == dy allowed.
void ck_layer_norm_backward_f32(const float *x, const float *weight, const float *mean, const float *rstd,
                                const float *dy, int64_t rows, int64_t channels, float *dx, double *dweight,
                                double *dbias);

void ck_channel_affine_f32_ref(const float *x, const float *scale, const float *shift, ck_activation f, int64_t rows,
                               int64_t channels, float *y);
void ck_shifted_moments_f32_ref(const float *x, const float *shift, int64_t rows, int64_t channels, double *sums,
                                double *squares);
void ck_batch_norm_backward_sums_f32_ref(const float *x, const float *mean, const float *dy, int64_t rows,
                                         int64_t channels, double *sums, double *dots);
void ck_layer_norm_forward_f32_ref(const float *x, const float *weight, const float *bias, float eps, int64_t rows,
                                   int64_t channels, float *y, float *mean, float *rstd);
void ck_layer_norm_backward_f32_ref(const float *x, const float *weight, const float *mean, const float *rstd,
                                    const float *dy, int64_t rows, int64_t channels, float *dx, double *dweight,
                                    double *dbias);

#endif
