// Depthwise convolution for inference: packed weights, and bias, activation, residual and the sums that
// squeeze-and-excitation wants done on the way out.
//
//     ck_depthwise_conv conv = {.shape = ..., .strides = ..., .epilogue = ...};
//     ck_depthwise_prepare(&conv, threads);
//     ck_depthwise_pack(&conv, weight, packed);                            // once, ck_depthwise_weights(&conv) floats
//     ck_depthwise_run(&conv, &operands, sums, begin, end, scratch);       // any ranges that cover 0 ..< conv.units
#ifndef CK_DEPTHWISE_H
#define CK_DEPTHWISE_H

#include "ck_conv.h"
#include "ck_fused.h"
#include "ck_level.h"

typedef struct {
    ck_conv2d_shape shape;  // groups == c == o
    ck_strides strides;
    ck_epilogue epilogue;

    // Set by ck_depthwise_prepare.
    ck_level level;   // whose layout the packed weights have
    int64_t units;    // of work, independent of each other: image, then block of rows, then block of channels
    int64_t scratch;  // floats that each concurrent ck_depthwise_run needs: none
    int64_t row_blocks, channel_blocks;  // of an image
} ck_depthwise_conv;

// Strides of 0 become the number of channels (twice that for an interleaved y).
void ck_depthwise_prepare(ck_depthwise_conv *conv, int64_t threads);

// The floats of the packed weights.
int64_t ck_depthwise_weights(const ck_depthwise_conv *conv);

// From [C, KH, KW, 1] to the packed layout.
void ck_depthwise_pack(const ck_depthwise_conv *conv, const float *weight, float *packed);

// Computes units [begin, end). sums: null, or [n, C], to which the sums over the pixels of the units of f's results, with
// the residual where it is added, are added. Ranges that run at the same time need arrays of their own.
void ck_depthwise_run(const ck_depthwise_conv *conv, const ck_operands *operands, float *sums, int64_t begin,
                      int64_t end, float *scratch);

#endif
