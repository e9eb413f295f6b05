// 3 x 3 grouped convolution, of stride 1 or 2 and without dilation, for groups of as many input as output channels:
// whole vectors of them, or 4 or 8, so that a vector has whole groups.
//
//     ck_grouped_conv conv = {.shape = ..., .strides = ..., .epilogue = ...};
//     ck_grouped_prepare(&conv, threads);
//     ck_grouped_pack(&conv, weight, packed);                       // once, ck_grouped_weights(&conv) floats
//     ck_grouped_run(&conv, &operands, begin, end, scratch);        // any ranges that cover 0 ..< conv.units
//
// and the gradient of its weights:
//
//     ck_grouped_weight_gradient(&conv, x, dy, begin, end, sums, scratch);   // any ranges of rows; sums begin with zeros
//     ck_grouped_unpack(&conv, sums, dweight);
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
    ck_level level;   // whose layout the packed weights have
    int64_t units;    // of work, independent of each other: some rows of an image times a block of channels
    int64_t scratch;  // floats that each concurrent ck_grouped_run needs, 64-byte aligned
    int64_t size, pixels, vectors;  // of a tile: its place among the sizes, output pixels of a row, vectors of output channels
    int64_t columns;                // of a row of the input with its padding
    int64_t block, blocks;          // vectors of a block, and blocks of all channels
    int64_t lines;                  // vectors of inputs that a block reads, as they lie in scratch
    int64_t row_parts;              // of an image
} ck_grouped_conv;

// Whether this kernel can compute it: vectors have 8 lanes at least, and a group 4, 8 or a multiple of 16 channels.
bool ck_grouped_computes(const ck_conv2d_shape *shape);

// Whether it can, and is the fastest for inference.
bool ck_grouped_suits(const ck_conv2d_shape *shape);

void ck_grouped_prepare(ck_grouped_conv *conv, int64_t threads);

// The floats of the packed weights.
int64_t ck_grouped_weights(const ck_grouped_conv *conv);

// From [O, KH, KW, C / groups] to the packed layout.
void ck_grouped_pack(const ck_grouped_conv *conv, const float *weight, float *packed);

// The other way around.
void ck_grouped_unpack(const ck_grouped_conv *conv, const float *packed, float *weight);

// Computes units [begin, end).
void ck_grouped_run(const ck_grouped_conv *conv, const ck_operands *operands, int64_t begin, int64_t end, float *scratch);

// Adds to gradient, in the packed layout, the weights' gradient over the output pixel rows [begin, end) in units of
// (n * OH + oh), from x and the output's gradient dy, with the strides of x and y. scratch as for ck_grouped_run.
void ck_grouped_weight_gradient(const ck_grouped_conv *conv, const float *x, const float *dy, int64_t begin, int64_t end,
                                float *gradient, float *scratch);

#endif
