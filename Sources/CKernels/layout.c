// Moving elements: see layout_kernels.h.
#include <string.h>

#include "CKernels.h"

// A strided array with the dimensions of size 1 dropped and those merged that follow each other without a gap.
typedef struct {
    int64_t rank, sizes[8], strides[8];
} ck_strided;

// False if there are no elements.
static bool ck_simplify(int64_t rank, const int64_t *sizes, const int64_t *strides, ck_strided *s) {
    s->rank = 0;
    for (int64_t d = 0; d < rank; d++) {
        if (sizes[d] == 0) return false;
        if (sizes[d] == 1) continue;
        if (s->rank > 0 && s->strides[s->rank - 1] == strides[d] * sizes[d]) {
            s->sizes[s->rank - 1] *= sizes[d];
            s->strides[s->rank - 1] = strides[d];
        } else {
            s->sizes[s->rank] = sizes[d];
            s->strides[s->rank++] = strides[d];
        }
    }
    return true;
}

// Steps the first `rank` indices to the next element in row-major order and moves *offset along; false after the last.
static bool ck_advance(const ck_strided *s, int64_t rank, int64_t *index, int64_t *offset) {
    for (int64_t d = rank - 1; d >= 0; d--) {
        *offset += s->strides[d];
        if (++index[d] < s->sizes[d]) return true;
        *offset -= s->strides[d] * s->sizes[d];
        index[d] = 0;
    }
    return false;
}

static inline float ck_float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

#define CK_FAMILY "layout_kernels.h"
#include "each_level.h"

CK_DISPATCH(ck_transpose_f32, (const float *x, int64_t batch, int64_t rows, int64_t cols, float *y),
            (x, batch, rows, cols, y))
CK_DISPATCH(ck_gather_strided_f32,
            (const float *x, int64_t rank, const int64_t *sizes, const int64_t *strides, float *y),
            (x, rank, sizes, strides, y))
CK_DISPATCH(ck_scatter_add_strided_f32,
            (const float *y, int64_t rank, const int64_t *sizes, const int64_t *strides, float *x),
            (y, rank, sizes, strides, x))
CK_DISPATCH(ck_f16_to_f32, (const uint16_t *x, float *y, int64_t n), (x, y, n))
CK_DISPATCH(ck_bf16_to_f32, (const uint16_t *x, float *y, int64_t n), (x, y, n))
CK_DISPATCH(ck_f64_to_f32, (const double *x, float *y, int64_t n), (x, y, n))
