// Moving elements.
#ifndef CK_LAYOUT_H
#define CK_LAYOUT_H

#include <stdint.h>

// y[c, r] = x[r, c] for each of `batch` dense [rows, cols] matrices. y must not overlap x.
void ck_transpose_f32(const float *x, int64_t batch, int64_t rows, int64_t cols, float *y);

// y dense of shape `sizes` (rank <= 8) = x read at the given strides (in elements, may be 0 or negative).
void ck_gather_strided_f32(const float *x, int64_t rank, const int64_t *sizes, const int64_t *strides, float *y);
// The transpose: x at those strides += y.
void ck_scatter_add_strided_f32(const float *y, int64_t rank, const int64_t *sizes, const int64_t *strides, float *x);

// Conversions to float32.
void ck_f16_to_f32(const uint16_t *x, float *y, int64_t n);
void ck_bf16_to_f32(const uint16_t *x, float *y, int64_t n);
void ck_f64_to_f32(const double *x, float *y, int64_t n);

#endif
