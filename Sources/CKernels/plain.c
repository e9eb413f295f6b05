// First versions, to be replaced family by family.
#include "CKernels.h"

#include <math.h>
#include <string.h>

#define EACH(n) for (int64_t i = 0; i < (n); i++)

void ck_transpose_f32(const float *x, int64_t batch, int64_t rows, int64_t cols, float *y) {
    for (int64_t n = 0; n < batch; n++, x += rows * cols, y += rows * cols)
        for (int64_t r = 0; r < rows; r++) EACH(cols) y[i * rows + r] = x[r * cols + i];
}
static int64_t strided_offset(int64_t i, int64_t rank, const int64_t *sizes, const int64_t *strides) {
    int64_t offset = 0;
    for (int64_t d = rank - 1; d >= 0; d--) {
        offset += i % sizes[d] * strides[d];
        i /= sizes[d];
    }
    return offset;
}
static int64_t product(int64_t rank, const int64_t *sizes) {
    int64_t count = 1;
    for (int64_t d = 0; d < rank; d++) count *= sizes[d];
    return count;
}
void ck_gather_strided_f32(const float *x, int64_t rank, const int64_t *sizes, const int64_t *strides, float *y) {
    EACH(product(rank, sizes)) y[i] = x[strided_offset(i, rank, sizes, strides)];
}
void ck_scatter_add_strided_f32(const float *y, int64_t rank, const int64_t *sizes, const int64_t *strides, float *x) {
    EACH(product(rank, sizes)) x[strided_offset(i, rank, sizes, strides)] += y[i];
}
static float float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
void ck_f16_to_f32(const uint16_t *x, float *y, int64_t n) {
    EACH(n) {
        // Shifted into float32's place the exponent lacks 112; the multiplication adds it, also to subnormals.
        // Infinity and NaN come out as exponent 143 and get 255.
        uint32_t magnitude = (uint32_t)(x[i] & 0x7fff) << 13;
        float value = float_of_bits(magnitude) * 0x1p112f;
        if (magnitude >= 0x0f800000) value = float_of_bits(magnitude | 0x7f800000);
        y[i] = x[i] & 0x8000 ? -value : value;
    }
}
void ck_bf16_to_f32(const uint16_t *x, float *y, int64_t n) { EACH(n) y[i] = float_of_bits((uint32_t)x[i] << 16); }
void ck_f64_to_f32(const double *x, float *y, int64_t n) { EACH(n) y[i] = (float)x[i]; }
