// Grouped convolution for inference, for groups of 4 input and 4 output channels: a vector of output channels
// belongs to several groups, and a shuffle brings each group's input to its lanes.
//
//     ck_grouped_conv conv = {.shape = ..., .strides = ..., .epilogue = ...};
//     ck_grouped_prepare(&conv, threads);
//     ck_grouped_pack(&conv, weight, packed);                       // once, ck_grouped_weights(&conv) floats
//     ck_grouped_run(&conv, &operands, begin, end);                 // any ranges that cover 0 ..< conv.units
#ifndef CK_GROUPED_H
#define CK_GROUPED_H

#include "ck_conv.h"
#include "ck_fused.h"
#include "ck_level.h"

typedef struct {
    ck_conv2d_shape shape;
    ck_strides strides;
    ck_epilogue epilogue;  // not CK_COMBINE_INTERLEAVE

    // Set by ck_grouped_prepare.
    ck_level level;  // whose layout the packed weights have
    int64_t units;   // of work, independent of each other: rows of output pixels
} ck_grouped_conv;

// Whether this kernel can compute it, and is faster than a packed convolution.
bool ck_grouped_suits(const ck_conv2d_shape *shape);

void ck_grouped_prepare(ck_grouped_conv *conv, int64_t threads);

// The floats of the packed weights.
int64_t ck_grouped_weights(const ck_grouped_conv *conv);

// From [O, KH, KW, C / groups] to the packed layout.
void ck_grouped_pack(const ck_grouped_conv *conv, const float *weight, float *packed);

// Computes units [begin, end).
void ck_grouped_run(const ck_grouped_conv *conv, const ck_operands *operands, int64_t begin, int64_t end);

#endif
