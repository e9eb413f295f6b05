// The two passes of a separable resize. A pass reads, for each output position i, the weights from
// weights[i · stride] on and the input positions first[i] … first[i] + used[i] - 1; weights beyond used[i] are zero.
#ifndef CI_RESAMPLE_H
#define CI_RESAMPLE_H

#include <stdint.h>

// The weights of one axis, fixed point with CI_WEIGHT_BITS fractional bits.
typedef struct {
    const int32_t *first;
    const int32_t *used;
    const int32_t *weights;
    int64_t stride;  // even
} ci_taps_u8;

// The same in float.
typedef struct {
    const int32_t *first;
    const int32_t *used;
    const float *weights;
    int64_t stride;
} ci_taps_f32;

// What the byte kernels may use of the processor. They give the same bytes on every level.
typedef enum {
    CI_LEVEL_PORTABLE = 0,
    CI_LEVEL_AVX2 = 1,
} ci_level;

// The best level that this processor supports.
ci_level ci_level_supported(void);

// Pillow's PRECISION_BITS: 8 for the result, 2 for sums that leave 0 … 1.
enum { CI_WEIGHT_BITS = 32 - 8 - 2 };

// Bytes of scratch that ci_resample_width_u8 needs for rows of `in_width` pixels.
int64_t ci_resample_scratch_u8(int64_t in_width);

// Along the width, for RGB: out[rows][out_width][3] from in[rows][in_width][3].
void ci_resample_width_u8(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t rows, int64_t in_width, int64_t out_width,
    ci_taps_u8 taps, uint8_t *restrict scratch, ci_level level);

// Along the height: out[out_height][row_bytes] from in[][row_bytes].
void ci_resample_height_u8(
    const uint8_t *restrict in, uint8_t *restrict out, int64_t out_height, int64_t row_bytes, ci_taps_u8 taps,
    ci_level level);

// Along the width: out[rows][out_width][channels] from in[rows][in_width][channels].
void ci_resample_width_f32(
    const float *restrict in, float *restrict out, int64_t rows, int64_t in_width, int64_t out_width,
    int64_t channels, ci_taps_f32 taps);

// Along the height: out[out_height][row_count] from in[][row_count].
void ci_resample_height_f32(
    const float *restrict in, float *restrict out, int64_t out_height, int64_t row_count, ci_taps_f32 taps);

#endif
