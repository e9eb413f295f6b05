// Reductions and softmax over the rows or the columns of a dense [rows, cols] array.
#ifndef CK_REDUCE_H
#define CK_REDUCE_H

#include <stdint.h>

// Sum of x[0 ..< n], accumulated in blocks so that the error does not grow with n.
double ck_sum_f32(const float *x, int64_t n);
// Sum of x[i] * y[i].
double ck_dot_f32(const float *x, const float *y, int64_t n);
float ck_max_f32(const float *x, int64_t n);

// y[c] += sum over r of x[r, c], in double
void ck_sum_columns_f32(const float *x, int64_t rows, int64_t cols, double *y);
// y[c] += sum over r of a[r, c] * b[r, c], in double
void ck_dot_columns_f32(const float *a, const float *b, int64_t rows, int64_t cols, double *y);
// y[r] = sum over c of x[r, c]
void ck_sum_rows_f32(const float *x, int64_t rows, int64_t cols, float *y);
// y[r] = sqrt(sum over c of x[r, c]^2)
void ck_norm_rows_f32(const float *x, int64_t rows, int64_t cols, float *y);

// y[r, :] = softmax(x[r, :]); y == x allowed
void ck_softmax_forward_f32(const float *x, int64_t rows, int64_t cols, float *y);
// dx = y * (dy - sum(dy * y)); dx == dy allowed
void ck_softmax_backward_f32(const float *y, const float *dy, int64_t rows, int64_t cols, float *dx);
// y[r, :] = x[r, :] - log(sum(exp(x[r, :]))); y == x allowed
void ck_log_softmax_forward_f32(const float *x, int64_t rows, int64_t cols, float *y);
// dx = dy - exp(y) * sum(dy); dx == dy allowed
void ck_log_softmax_backward_f32(const float *y, const float *dy, int64_t rows, int64_t cols, float *dx);

void ck_sum_columns_f32_ref(const float *x, int64_t rows, int64_t cols, double *y);
void ck_dot_columns_f32_ref(const float *a, const float *b, int64_t rows, int64_t cols, double *y);
void ck_softmax_forward_f32_ref(const float *x, int64_t rows, int64_t cols, float *y);
void ck_log_softmax_forward_f32_ref(const float *x, int64_t rows, int64_t cols, float *y);

#endif
