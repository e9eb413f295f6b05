// Batch norm and layer norm over a dense [rows, channels] array.
#ifndef CK_NORM_H
#define CK_NORM_H

#include <stdint.h>

// y[r, c] = scale[c] * x[r, c] + shift[c]; `relu` also clamps below at 0. Batch norm in inference and its last step in
// training, with scale = weight / sqrt(var + eps) and shift = bias - mean * scale. y == x allowed.
void ck_channel_affine_f32(const float *x, const float *scale, const float *shift, int64_t rows, int64_t channels,
                           int relu, float *y);
// squares[c] += sum over r of (x[r, c] - mean[c])^2, in double: the second pass of the batch statistics, the first
// being ck_sum_columns_f32.
void ck_centered_squares_f32(const float *x, const float *mean, int64_t rows, int64_t channels, double *squares);
// The two sums of batch norm's backward, in double: sums[c] += sum of dy[r, c]; dots[c] += sum of dy[r, c] * (x[r, c] - mean[c]).
void ck_batch_norm_backward_sums_f32(const float *x, const float *mean, const float *dy, int64_t rows, int64_t channels,
                                     double *sums, double *dots);
// dx[r, c] = a[c] * dy[r, c] + b[c] * x[r, c] + d[c]; dx == dy allowed.
void ck_batch_norm_backward_f32(const float *x, const float *dy, const float *a, const float *b, const float *d,
                                int64_t rows, int64_t channels, float *dx);

// y = (x - mean) * rstd * weight + bias over the channels of each row; weight and bias may be null;
// mean[r] and rstd[r] are kept for the backward (null: not kept).
void ck_layer_norm_forward_f32(const float *x, const float *weight, const float *bias, float eps, int64_t rows,
                               int64_t channels, float *y, float *mean, float *rstd);
// dx, and dweight[c] += , dbias[c] += in double (both null: not wanted). weight may be null. dx == dy allowed.
void ck_layer_norm_backward_f32(const float *x, const float *weight, const float *mean, const float *rstd,
                                const float *dy, int64_t rows, int64_t channels, float *dx, double *dweight,
                                double *dbias);

void ck_channel_affine_f32_ref(const float *x, const float *scale, const float *shift, int64_t rows, int64_t channels,
                               int relu, float *y);
void ck_centered_squares_f32_ref(const float *x, const float *mean, int64_t rows, int64_t channels, double *squares);
void ck_batch_norm_backward_sums_f32_ref(const float *x, const float *mean, const float *dy, int64_t rows,
                                         int64_t channels, double *sums, double *dots);
void ck_layer_norm_forward_f32_ref(const float *x, const float *weight, const float *bias, float eps, int64_t rows,
                                   int64_t channels, float *y, float *mean, float *rstd);
void ck_layer_norm_backward_f32_ref(const float *x, const float *weight, const float *mean, const float *rstd,
                                    const float *dy, int64_t rows, int64_t channels, float *dx, double *dweight,
                                    double *dbias);

#endif
