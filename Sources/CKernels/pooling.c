// Pooling: see pooling_kernels.h.
#include <math.h>

#define CK_FAMILY "pooling_kernels.h"
#include "each_level.h"

int64_t ck_pool_output_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation,
                            int ceil_mode) {
    const int64_t room = size + 2 * pad - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
    if (room < 0) return 0;
    int64_t out = room / stride + 1;
    if (ceil_mode && (out - 1) * stride >= size + pad) out--;
    return out;
}

CK_DISPATCH(ck_max_pool_forward_f32,
            (const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x, float *y,
             int32_t *argmax),
            (shape, row_begin, row_end, x, y, argmax))
CK_DISPATCH(ck_avg_pool_forward_f32,
            (const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x, float *y),
            (shape, row_begin, row_end, x, y))
CK_DISPATCH(ck_avg_pool_backward_f32,
            (const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const float *dy, float *dx),
            (shape, n_begin, n_end, dy, dx))
CK_DISPATCH(ck_adaptive_avg_pool_forward_f32,
            (const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x, float *y),
            (shape, row_begin, row_end, x, y))
CK_DISPATCH(ck_adaptive_avg_pool_backward_f32,
            (const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const float *dy, float *dx),
            (shape, n_begin, n_end, dy, dx))

// One scattered addition per element, at every level.
void ck_max_pool_backward_f32(const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const int32_t *argmax,
                              const float *dy, float *dx) {
    const int64_t c = shape->c, out = shape->oh * shape->ow, in = shape->h * shape->w;
    for (int64_t n = n_begin; n < n_end; n++) {
        float *image = dx + n * in * c;
        for (int64_t p = n * out; p < (n + 1) * out; p++)
            for (int64_t i = 0; i < c; i++) image[argmax[p * c + i] * c + i] += dy[p * c + i];
    }
}
