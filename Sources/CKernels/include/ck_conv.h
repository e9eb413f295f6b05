// Convolutions over [N, H, W, C]. Weights are [O, KH, KW, C / groups]. An output pixel's row number is
// r = (n * OH + oh) * OW + ow; a tap's number is t = kh * KW + kw.
#ifndef CK_CONV_H
#define CK_CONV_H

#include <stdint.h>

typedef struct {
    int64_t n, h, w, c;    // input
    int64_t oh, ow, o;     // output
    int64_t kh, kw;
    int64_t stride_h, stride_w;
    int64_t pad_top, pad_left;
    int64_t dilation_h, dilation_w;
    int64_t groups;
} ck_conv2d_shape;

// Weights whose outputs are neighbours in memory: that of output o and input i of group g, under tap (a, b), is
// first[g group + i input + a kh + b kw + o], o and i counted in the group.
typedef struct {
    const float *first;
    int64_t group, input, kh, kw;  // in floats, may be negative
} ck_weight_view;

// col[r - row_begin, t - tap_begin, c - c_begin] = the input value under tap t of output pixel r, 0 in the padding;
// for rows [row_begin, row_end), taps [tap_begin, tap_end), channels [c_begin, c_end). col is dense.
typedef struct {
    int64_t row_begin, row_end, tap_begin, tap_end, c_begin, c_end;
} ck_im2col_tile;
void ck_im2col_f32(const ck_conv2d_shape *shape, const ck_im2col_tile *tile, const float *x, float *col);
// The transpose: adds every col element to the input gradient it came from. Tiles of one image overlap in dx.
void ck_col2im_f32(const ck_conv2d_shape *shape, const ck_im2col_tile *tile, const float *col, float *dx);

// Depthwise: groups == c == o. Weights transposed to [KH, KW, C] (ck_transpose_f32). bias may be null.
// Output pixel rows [row_begin, row_end) in units of (n * OH + oh), each of OW pixels.
void ck_depthwise_forward_f32(const ck_conv2d_shape *shape, int64_t row_begin, int64_t row_end, const float *x,
                              const float *weight, const float *bias, float *y);
// dx of the input rows [row_begin, row_end) in units of (n * H + h): overwritten, no overlap between ranges.
void ck_depthwise_backward_input_f32(const ck_conv2d_shape *shape, int64_t row_begin, int64_t row_end,
                                     const float *dy, const float *weight, float *dx);
// dweight[KH, KW, C] += over the output pixel rows [row_begin, row_end) in units of (n * OH + oh).
void ck_depthwise_backward_weight_f32(const ck_conv2d_shape *shape, int64_t row_begin, int64_t row_end,
                                      const float *x, const float *dy, float *dweight);

// Any groups, stride, dilation and padding by plain loops; weights [O, KH, KW, C / groups]. bias may be null.
void ck_conv2d_forward_f32_ref(const ck_conv2d_shape *shape, const float *x, const float *weight, const float *bias,
                               float *y);
// dx overwritten (null: not wanted), dweight overwritten (null: not wanted).
void ck_conv2d_backward_f32_ref(const ck_conv2d_shape *shape, const float *x, const float *weight, const float *dy,
                                float *dx, float *dweight);

#endif
