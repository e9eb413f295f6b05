// Depthwise convolutions: see depthwise_kernels.h.
enum { CK_DEPTHWISE_TAPS = 64 };  // collected at a time

#define CK_FAMILY "depthwise_kernels.h"
#include "each_level.h"

CK_DISPATCH(ck_depthwise_forward_f32,
            (const ck_conv2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x, const float *weight,
             const float *bias, float *y),
            (shape, row_begin, row_end, x, weight, bias, y))
CK_DISPATCH(ck_depthwise_backward_input_f32,
            (const ck_conv2d_shape *shape, int64_t row_begin, int64_t row_end, const float *dy, const float *weight,
             float *dx),
            (shape, row_begin, row_end, dy, weight, dx))
CK_DISPATCH(ck_depthwise_backward_weight_f32,
            (const ck_conv2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x, const float *dy,
             float *dweight),
            (shape, row_begin, row_end, x, dy, dweight))
