// Grouped convolution: see grouped_kernels.h.
#include "CKernels.h"

enum { CK_GROUPED_TAPS = 64, CK_GROUPED_CHANNELS = 8192 };

// What taps in the padding read.
static const float ck_zeros[CK_GROUPED_CHANNELS];

#define CK_FAMILY "grouped_kernels.h"
#include "each_level.h"

CK_DISPATCH(ck_grouped_forward_f32,
            (const ck_conv2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x, const float *weight,
             const float *bias, float *y),
            (shape, row_begin, row_end, x, weight, bias, y))
