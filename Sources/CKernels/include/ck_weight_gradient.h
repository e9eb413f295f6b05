// The gradient of a convolution's or Linear's weights without im2col: for each tap, products of the gradient's and the
// input's pixels as they lie in memory.
//
//     ck_weight_gradient task = {.shape = ...};
//     ck_weight_gradient_prepare(&task, threads);                           // chooses units and blocks
//     ck_weight_gradient_run(&task, x, dy, begin, end, dweight, scratch);   // ranges that cover 0 ..< task.units
#ifndef CK_WEIGHT_GRADIENT_H
#define CK_WEIGHT_GRADIENT_H

#include "ck_conv.h"
#include "ck_level.h"

typedef struct {
    ck_conv2d_shape shape;  // any strides, padding, dilation and groups
    bool adds;              // to what is in dweight already

    // Set by ck_weight_gradient_prepare.
    ck_level level;
    int64_t units;    // of work, independent of each other: groups x parts x taps x panels
    int64_t scratch;  // floats that each concurrent ck_weight_gradient_run needs
    int64_t panels;   // of a group's input channels
    int64_t parts;    // of a group's output channels
    int64_t block;    // pixels whose values stay in the cache
    bool paired;      // their products are added up in pairs: see paired.h
} ck_weight_gradient;

void ck_weight_gradient_prepare(ck_weight_gradient *task, int64_t threads);

// Units [begin, end) of dweight[O, KH, KW, C / groups] from x and the output's gradient dy. The result does not depend
// on the number of threads or on how the units are split.
void ck_weight_gradient_run(const ck_weight_gradient *task, const float *x, const float *dy, int64_t begin, int64_t end,
                            float *dweight, float *scratch);

#endif
