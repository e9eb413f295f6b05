// The gradient of a convolution's or Linear's weights without im2col: for each tap and output channel, products of the
// input's and the gradient's pixels as they lie in memory.
//
//     ck_weight_gradient task = {.shape = ...};
//     ck_weight_gradient_prepare(&task, threads);                                  // chooses tiles and blocks
//     ck_weight_gradient_run(&task, x, dy, begin, end, sums, scratch);  // ranges that cover 0 ..< task.units
//     ck_weight_gradient_finish(&task, sums, begin, end, dweight);      // ranges that cover 0 ..< O
#ifndef CK_WEIGHT_GRADIENT_H
#define CK_WEIGHT_GRADIENT_H

#include "ck_conv.h"
#include "ck_level.h"

typedef struct {
    ck_conv2d_shape shape;  // any strides, padding, dilation and groups
    bool adds;              // to what is in `sums` already

    // Set by ck_weight_gradient_prepare.
    ck_level level;
    int64_t units;        // of work, independent of each other: groups x panel_parts x taps x tiles
    int64_t scratch;      // floats that each concurrent ck_weight_gradient_run needs
    int64_t tiles;        // of a tap's input channels
    int64_t panel_parts;  // of a group's output channels
    int64_t block;        // pixels whose values stay in the cache
} ck_weight_gradient;

void ck_weight_gradient_prepare(ck_weight_gradient *task, int64_t threads);

// Units [begin, end) of sums[groups, KH KW, C / groups, O / groups] from x and the output's gradient dy. A sum does not
// depend on how the units are split.
void ck_weight_gradient_run(const ck_weight_gradient *task, const float *x, const float *dy, int64_t begin, int64_t end,
                            float *sums, float *scratch);

// dweight[O, KH KW, C / groups] = the sums turned, for rows [begin, end) of O.
void ck_weight_gradient_finish(const ck_weight_gradient *task, const float *sums, int64_t begin, int64_t end,
                               float *dweight);

#endif
