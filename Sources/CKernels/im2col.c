// im2col: see im2col_kernels.h.
#define CK_FAMILY "im2col_kernels.h"
#include "each_level.h"

CK_DISPATCH(ck_im2col_f32, (const ck_conv2d_shape *shape, const ck_im2col_tile *tile, const float *x, float *col),
            (shape, tile, x, col))
CK_DISPATCH(ck_col2im_f32, (const ck_conv2d_shape *shape, const ck_im2col_tile *tile, const float *col, float *dx),
            (shape, tile, col, dx))
