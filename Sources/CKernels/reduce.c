// Reductions and softmax: see reduce_kernels.h.
#include <math.h>

#define CK_FAMILY "reduce_kernels.h"
#include "each_level.h"

CK_DISPATCH_RESULT(double, ck_sum_f32, (const float *x, int64_t n), (x, n))
CK_DISPATCH_RESULT(double, ck_dot_f32, (const float *x, const float *y, int64_t n), (x, y, n))
CK_DISPATCH_RESULT(float, ck_max_f32, (const float *x, int64_t n), (x, n))
CK_DISPATCH(ck_sum_columns_f32, (const float *x, int64_t rows, int64_t cols, double *y), (x, rows, cols, y))
CK_DISPATCH(ck_dot_columns_f32, (const float *a, const float *b, int64_t rows, int64_t cols, double *y),
            (a, b, rows, cols, y))
CK_DISPATCH(ck_sum_rows_f32, (const float *x, int64_t rows, int64_t cols, float *y), (x, rows, cols, y))
CK_DISPATCH(ck_norm_rows_f32, (const float *x, int64_t rows, int64_t cols, float *y), (x, rows, cols, y))
CK_DISPATCH(ck_softmax_forward_f32, (const float *x, int64_t rows, int64_t cols, float *y), (x, rows, cols, y))
CK_DISPATCH(ck_softmax_backward_f32, (const float *y, const float *dy, int64_t rows, int64_t cols, float *dx),
            (y, dy, rows, cols, dx))
CK_DISPATCH(ck_log_softmax_forward_f32, (const float *x, int64_t rows, int64_t cols, float *y), (x, rows, cols, y))
CK_DISPATCH(ck_log_softmax_backward_f32, (const float *y, const float *dy, int64_t rows, int64_t cols, float *dx),
            (y, dy, rows, cols, dx))
