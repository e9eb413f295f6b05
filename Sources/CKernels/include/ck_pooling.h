// Pooling over [N, H, W, C]. Ranges are output rows in units of (n * OH + oh) for the forward passes, and images for
// the backward passes, whose dx must be zero at first and is added to.
#ifndef CK_POOLING_H
#define CK_POOLING_H

#include <stdint.h>

typedef struct {
    int64_t n, h, w, c;
    int64_t oh, ow;
    int64_t kh, kw;
    int64_t stride_h, stride_w;
    int64_t pad_h, pad_w;
    int64_t dilation_h, dilation_w;  // max pooling only
    int count_include_pad;           // average pooling only
    int64_t x_stride, y_stride;      // floats from pixel to pixel, 0 for c; forward passes without argmax only
} ck_pool2d_shape;

// The output size of one dimension, as PyTorch computes it: floor or ceil of (size + 2 pad - dilation (kernel - 1) - 1)
// / stride, plus 1; in ceil mode, the last window must start inside the input or its left padding.
int64_t ck_pool_output_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation, int ceil_mode);

// Padding counts as minus infinity, NaN wins. argmax (null: not wanted) gets h * W + w of the first maximum,
// or of the last NaN, as in PyTorch.
void ck_max_pool_forward_f32(const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x,
                             float *y, int32_t *argmax);
void ck_max_pool_backward_f32(const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const int32_t *argmax,
                              const float *dy, float *dx);

// The divisor counts the padding if count_include_pad, but never what ceil mode adds beyond the padded input.
void ck_avg_pool_forward_f32(const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x,
                             float *y);
void ck_avg_pool_backward_f32(const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const float *dy,
                              float *dx);

// Adaptive average: window i of an axis is [floor(i size / out), ceil((i + 1) size / out)). Only n, h, w, c, oh, ow are read.
void ck_adaptive_avg_pool_forward_f32(const ck_pool2d_shape *shape, int64_t row_begin, int64_t row_end,
                                      const float *x, float *y);
void ck_adaptive_avg_pool_backward_f32(const ck_pool2d_shape *shape, int64_t n_begin, int64_t n_end, const float *dy,
                                       float *dx);

void ck_max_pool_forward_f32_ref(const ck_pool2d_shape *shape, const float *x, float *y, int32_t *argmax);
void ck_avg_pool_forward_f32_ref(const ck_pool2d_shape *shape, const float *x, float *y);
void ck_adaptive_avg_pool_forward_f32_ref(const ck_pool2d_shape *shape, const float *x, float *y);

#endif
