// What the kernels of inference plans have in common: operands at a stride, so that they read and write ranges of the
// channels of wider arrays, and what happens to an output value on its way to memory.
#ifndef CK_FUSED_H
#define CK_FUSED_H

#include <stdbool.h>
#include <stdint.h>

#include "ck_elementwise.h"

// With v = the sum of products + bias, and r = the residual's value in the same place:
typedef enum {
    CK_COMBINE_NONE,             // y[i] = f(v[i])
    CK_COMBINE_ADD_BEFORE,       // y[i] = f(v[i] + r[i])
    CK_COMBINE_ADD_AFTER,        // y[i] = f(v[i]) + r[i]
    CK_COMBINE_INTERLEAVE,       // y[2 i] = r[i], y[2 i + 1] = f(v[i]): y has twice the channels
} ck_combine;

typedef struct {
    ck_activation activation;  // f; CK_IDENTITY for none
    ck_combine combine;
} ck_epilogue;

// Strides are floats from one pixel (row) to the next, at least the number of channels read or written there.
typedef struct {
    int64_t x, y, residual;
} ck_strides;

// What a kernel works on; what it does not use may be null. y overlaps neither x nor weight; it may be the residual
// itself (same pointer and stride) unless interleaved.
typedef struct {
    const float *x;
    const float *weight;    // packed for the kernel
    const float *bias;      // [O], null for none
    const float *residual;
    float *y;
} ck_operands;

#endif
