// The algorithm of Pillow's src/libImaging/Resample.c (8 bits per channel): integer sums, rounded and clipped once a
// pass. Integer sums may be taken in any order, so vector code gives the same bytes.
#include <string.h>

#include "ci_resample.h"

typedef uint8_t u8x8 __attribute__((vector_size(8), aligned(1)));
typedef uint8_t u8x16 __attribute__((vector_size(16), aligned(1)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef int32_t i32x16 __attribute__((vector_size(64)));

enum { HALF = 1 << (CI_WEIGHT_BITS - 1) };

static inline uint8_t clip(int32_t sum) {
    int32_t value = sum >> CI_WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

// A row is copied to where 8 bytes may be read past its end.
enum { SLACK = 8 };

int64_t ci_resample_scratch_u8(int64_t in_width) { return in_width * 3 + SLACK; }

// Two taps at a time: lanes 0-2 are the channels of an even tap, 4-6 those of the odd one; 3 and 7 are not used.
static inline __attribute__((always_inline)) void width_u8(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t rows, int64_t in_width, int64_t out_width,
    ci_taps_u8 taps, uint8_t *restrict scratch) {
    memset(scratch + in_width * 3, 0, SLACK);
    for (int64_t y = 0; y < rows; y++) {
        memcpy(scratch, in + y * in_width * 3, (size_t)in_width * 3);
        uint8_t *row = out + y * out_width * 3;
        for (int64_t x = 0; x < out_width; x++) {
            const uint8_t *pixel = scratch + taps.first[x] * 3;
            const int32_t *weight = taps.weights + x * taps.stride;
            i32x8 sum = {HALF, HALF, HALF, 0, 0, 0, 0, 0};
            for (int32_t k = 0; k < taps.used[x]; k += 2) {
                u8x8 bytes = *(const u8x8 *)(pixel + k * 3);
                u8x8 lanes = __builtin_shufflevector(bytes, bytes, 0, 1, 2, 2, 3, 4, 5, 5);
                int32_t a = weight[k], b = weight[k + 1];
                sum += __builtin_convertvector(lanes, i32x8) * (i32x8){a, a, a, a, b, b, b, b};
            }
            row[3 * x] = clip(sum[0] + sum[4]);
            row[3 * x + 1] = clip(sum[1] + sum[5]);
            row[3 * x + 2] = clip(sum[2] + sum[6]);
        }
    }
}

static inline __attribute__((always_inline)) void height_u8(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t out_height, int64_t row_bytes, ci_taps_u8 taps) {
    for (int64_t y = 0; y < out_height; y++) {
        const uint8_t *source = in + taps.first[y] * row_bytes;
        const int32_t *weight = taps.weights + y * taps.stride;
        int32_t used = taps.used[y];
        uint8_t *row = out + y * row_bytes;
        int64_t x = 0;
        for (; x + 16 <= row_bytes; x += 16) {
            i32x16 sum = (i32x16){0} + HALF;
            for (int32_t k = 0; k < used; k++) {
                u8x16 bytes = *(const u8x16 *)(source + k * row_bytes + x);
                sum += __builtin_convertvector(bytes, i32x16) * weight[k];
            }
            sum >>= CI_WEIGHT_BITS;
            sum &= sum > 0;
            i32x16 above = sum > 255;
            sum = (sum & ~above) | (above & 255);
            *(u8x16 *)(row + x) = __builtin_convertvector(sum, u8x16);
        }
        for (; x < row_bytes; x++) {
            int32_t sum = HALF;
            for (int32_t k = 0; k < used; k++) sum += source[k * row_bytes + x] * weight[k];
            row[x] = clip(sum);
        }
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void width_u8_avx2(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t rows, int64_t in_width, int64_t out_width,
    ci_taps_u8 taps, uint8_t *restrict scratch) {
    width_u8(in, out, rows, in_width, out_width, taps, scratch);
}

__attribute__((target("avx2"))) static void height_u8_avx2(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t out_height, int64_t row_bytes, ci_taps_u8 taps) {
    height_u8(in, out, out_height, row_bytes, taps);
}
#endif

ci_level ci_level_supported(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return CI_LEVEL_AVX2;
#endif
    return CI_LEVEL_PORTABLE;
}

// Measured on a Zen 4, from 4000 x 3000 to a crop of 224 at a shorter edge of 256: 11 ms with AVX2, 26 ms without.
void ci_resample_width_u8(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t rows, int64_t in_width, int64_t out_width,
    ci_taps_u8 taps, uint8_t *restrict scratch, ci_level level) {
#if defined(__x86_64__)
    if (level >= CI_LEVEL_AVX2) {
        width_u8_avx2(in, out, rows, in_width, out_width, taps, scratch);
        return;
    }
#endif
    (void)level;
    width_u8(in, out, rows, in_width, out_width, taps, scratch);
}

void ci_resample_height_u8(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t out_height, int64_t row_bytes, ci_taps_u8 taps,
    ci_level level) {
#if defined(__x86_64__)
    if (level >= CI_LEVEL_AVX2) {
        height_u8_avx2(in, out, out_height, row_bytes, taps);
        return;
    }
#endif
    (void)level;
    height_u8(in, out, out_height, row_bytes, taps);
}

void ci_resample_width_f32(
    const float *restrict in, float *restrict out, int64_t rows, int64_t in_width, int64_t out_width,
    int64_t channels, ci_taps_f32 taps) {
    for (int64_t y = 0; y < rows; y++) {
        for (int64_t x = 0; x < out_width; x++) {
            const float *pixel = in + (y * in_width + taps.first[x]) * channels;
            const float *weight = taps.weights + x * taps.stride;
            float *target = out + (y * out_width + x) * channels;
            for (int64_t c = 0; c < channels; c++) {
                float sum = 0;
                for (int32_t k = 0; k < taps.used[x]; k++) sum += weight[k] * pixel[k * channels + c];
                target[c] = sum;
            }
        }
    }
}

void ci_resample_height_f32(
    const float *restrict in, float *restrict out, int64_t out_height, int64_t row_count, ci_taps_f32 taps) {
    for (int64_t y = 0; y < out_height; y++) {
        const float *source = in + taps.first[y] * row_count;
        const float *weight = taps.weights + y * taps.stride;
        float *row = out + y * row_count;
        for (int64_t x = 0; x < row_count; x++) row[x] = weight[0] * source[x];
        for (int32_t k = 1; k < taps.used[y]; k++) {
            for (int64_t x = 0; x < row_count; x++) row[x] += weight[k] * source[k * row_count + x];
        }
    }
}
