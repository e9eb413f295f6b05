// Winograd convolution of one instruction-set level. With n = m + 2 points a direction, x a tile's n x n input pixels,
// g the 3 x 3 weights: y = At [(G g Gt) * (Bt x B)] A, where the products * are summed over the input channels: n^2
// matrix products of [tiles, C] by [C, O], one for each plane of points.
//
// The points are 0, A, -A, B, -B (the first m + 1) and infinity. A tile at the end of a row or column, with r < m outputs
// to compute, takes r + 2 of the points only: At and Bt are then those of the smaller transform, and G, whose rows are
// the weights' polynomial at one point each times a factor, stays as it is when Bt takes the factor's change. So at
// 14 x 14 an image takes (6 + 6 + 6 + 4)^2 = 484 products a channel pair, where whole tiles take 576.
//
// A line, 1 x 7 or 7 x 1, is the same in one direction, with m = 4 and the points 0, four pairs and infinity: 10 products
// instead of 28.
//
// Scratch of a block of tiles and a chunk of groups, with C input channels:
//     zeros     [C]                          what the padding reads
//     inputs    [planes][C / 16][tiles][16]     transformed: rows of a matrix product at constant offsets
//     products  [planes][tiles][columns]        of as many panels as there is room for
//     pairs     [planes][tiles]                 and the inverses of the inputs' factors likewise, with pairs of channels
// with planes set apart by some more floats, since strides of 4096 bytes would have all planes share few cache sets.
#include "activations.h"
#include "tile_sizes.h"
#if CK_VL == 16
#include "paired.h"
#endif

#define PANEL (2 * CK_VL)

// Relative error (root mean square) of m = 4, 64 and 512 channels: 6e-7 and 1.9e-6; with 1 and 2, 1.2e-6 and 4.3e-6; a
// direct loop's is 3e-7 and 8e-7.
#define A 0.625f
#define B 1.5f
#define A2 (A * A)
#define B2 (B * B)

// Bt for r outputs: r + 2 values to r + 1 finite points and infinity.
#define input_points CK_NAME(input_points)
CK_INLINE void input_points(int64_t r, const vf *d, vf *p) {
    if (r == 4) {
        vf near = d[4] - B2 * d[2], far = d[4] - A2 * d[2], odd_near = d[3] - B2 * d[1], odd_far = d[3] - A2 * d[1];
        p[0] = (A2 * B2) * d[0] + (d[4] - (A2 + B2) * d[2]);
        p[1] = near + A * odd_near;
        p[2] = near - A * odd_near;
        p[3] = far + B * odd_far;
        p[4] = far - B * odd_far;
        p[5] = (A2 * B2) * d[1] + (d[5] - (A2 + B2) * d[3]);
    } else if (r == 3) {
        vf even = d[2] - A2 * d[0], odd = d[3] - A2 * d[1];
        p[0] = B * odd - B2 * even;
        p[1] = (A + B) * (d[3] - (B - A) * d[2] - (A * B) * d[1]);
        p[2] = (B - A) * (d[3] - (A + B) * d[2] + (A * B) * d[1]);
        p[3] = (2 * B) * odd;
        p[4] = d[4] - A2 * d[2] - B * odd;
    } else if (r == 2) {
        p[0] = B2 * (A2 * d[0] - d[2]);
        p[1] = (A2 - B2) * (d[2] + A * d[1]);
        p[2] = (A2 - B2) * (d[2] - A * d[1]);
        p[3] = d[3] - A2 * d[1];
    } else {
        p[0] = (A * B2) * (A * d[0] - d[1]);
        p[1] = (2 * A * (A2 - B2)) * d[1];
        p[2] = d[2] - A * d[1];
    }
}

// At for r outputs.
#define output_points CK_NAME(output_points)
CK_INLINE void output_points(int64_t r, const vf *p, vf *y) {
    if (r == 4) {
        vf near = p[1] + p[2], far = p[3] + p[4], odd_near = p[1] - p[2], odd_far = p[3] - p[4];
        y[0] = p[0] + near + far;
        y[1] = A * odd_near + B * odd_far;
        y[2] = A2 * near + B2 * far;
        y[3] = (A2 * A) * odd_near + (B2 * B * odd_far + p[5]);
    } else if (r == 3) {
        y[0] = p[0] + (p[1] + p[2]) + p[3];
        y[1] = A * (p[1] - p[2]) + B * p[3];
        y[2] = A2 * (p[1] + p[2]) + (B2 * p[3] + p[4]);
    } else if (r == 2) {
        y[0] = p[0] + (p[1] + p[2]);
        y[1] = A * (p[1] - p[2]) + p[3];
    } else {
        y[0] = p[0] + p[1] + p[2];
    }
}

// G: three weights of a direction at all points.
#define weight_points CK_NAME(weight_points)
CK_INLINE void weight_points(int64_t m, vf g0, vf g1, vf g2, vf *p) {
    vf near = g0 + A2 * g2, far = g0 + B2 * g2;
    p[0] = g0 * (1 / (A2 * B2));
    p[1] = (near + A * g1) * (0.5f / (A2 * (A2 - B2)));
    p[2] = (near - A * g1) * (0.5f / (A2 * (A2 - B2)));
    if (m > 2) p[3] = (far + B * g1) * (0.5f / (B2 * (B2 - A2)));
    if (m > 3) p[4] = (far - B * g1) * (0.5f / (B2 * (B2 - A2)));
    p[m + 1] = g2;
}

// The pairs of points of a line, a, with what they are made of: the coefficients of z^2, z and 1 in the product of z - b^2 over the
// other three, b, and the inverse of 2 a^2 times this product at a^2. Error as m = 4's above: 1.9e-6 with 192 channels (a direct
// loop's is 4e-7); with the pairs 0.5, 0.75, 1.25 and 1.5, 3.2e-6.
#ifndef CK_LINE_PAIRS
#define CK_LINE_PAIRS 4
static const struct {
    float a, z2, z1, z0, inverse;
} ck_line_pairs[CK_LINE_PAIRS] = {
    {0.4f, 6.08f, 9.2416f, 3.6864f, 1 / -0.75497472f},
    {0.8f, 5.6f, 6.6304f, 0.9216f, 1 / 1.6515072f},
    {1.2f, 4.8f, 3.3024f, 0.4096f, 1 / -7.5497472f},
    {2.0f, 2.24f, 1.2544f, 0.147456f, 1 / 264.241152f},
};
// The same of the product over all four.
static const struct {
    float z3, z2, z1, z0;
} ck_line_all = {6.24f, 10.2144f, 5.165056f, 0.589824f};
#endif

// Bt, At and G of a line: ten pixels, four outputs, seven weights.
#define line_inputs CK_NAME(line_inputs)
CK_INLINE void line_inputs(const vf *d, vf *p) {
    p[0] = ck_line_all.z0 * d[0] - ck_line_all.z1 * d[2] + (ck_line_all.z2 * d[4] - ck_line_all.z3 * d[6] + d[8]);
    UNROLL for (int i = 0; i < CK_LINE_PAIRS; i++) {
        const float z2 = ck_line_pairs[i].z2, z1 = ck_line_pairs[i].z1, z0 = ck_line_pairs[i].z0;
        const vf even = (d[8] - z2 * d[6]) + (z1 * d[4] - z0 * d[2]);
        const vf odd = (d[7] - z2 * d[5]) + (z1 * d[3] - z0 * d[1]);
        p[2 * i + 1] = even + ck_line_pairs[i].a * odd;
        p[2 * i + 2] = even - ck_line_pairs[i].a * odd;
    }
    p[9] = ck_line_all.z0 * d[1] - ck_line_all.z1 * d[3] + (ck_line_all.z2 * d[5] - ck_line_all.z3 * d[7] + d[9]);
}

#define line_outputs CK_NAME(line_outputs)
CK_INLINE void line_outputs(const vf *p, vf *y) {
    y[0] = p[0];
    y[1] = y[2] = v_splat(0);
    y[3] = p[9];
    UNROLL for (int i = 0; i < CK_LINE_PAIRS; i++) {
        const float a = ck_line_pairs[i].a;
        const vf sum = p[2 * i + 1] + p[2 * i + 2], difference = p[2 * i + 1] - p[2 * i + 2];
        y[0] = y[0] + sum;
        y[1] = a * difference + y[1];
        y[2] = (a * a) * sum + y[2];
        y[3] = (a * a * a) * difference + y[3];
    }
}

#define line_weights CK_NAME(line_weights)
CK_INLINE void line_weights(const vf *g, vf *p) {
    p[0] = g[0] * (1 / ck_line_all.z0);
    UNROLL for (int i = 0; i < CK_LINE_PAIRS; i++) {
        const float a = ck_line_pairs[i].a, z = a * a;
        const vf even = g[0] + z * (g[2] + z * (g[4] + z * g[6])), odd = g[1] + z * (g[3] + z * g[5]);
        p[2 * i + 1] = (even + a * odd) * ck_line_pairs[i].inverse;
        p[2 * i + 2] = (even - a * odd) * ck_line_pairs[i].inverse;
    }
    p[9] = g[6];
}

#if CK_VL == 16
// The factors and the constants of a plane's weights, whose `channels` rows are in the order of ck_winograd_position.
#define pair_weights CK_NAME(pair_weights)
static void pair_weights(float *weights, int64_t channels, int64_t width) {
    const int64_t chunks = channels / 48 * 48;
    for (int64_t o = 0; o < width; o += CK_VL) {
        vf sum = v_splat(0), pairs = v_splat(0);
        for (int64_t c = 0; c < channels; c++) sum += v_abs(v_load(weights + c * width + o));
        const vf scale = paired_powers(sum / (float)channels), factor = paired_factors(scale);
        for (int64_t c = 0; c < channels; c++) {
            float *at = weights + c * width + o;
            v_store(at, factor * v_load(at));
        }
        // A row that is multiplied by itself follows five triples of what is left.
        for (int64_t c = 0, triple = 0; c < channels; c += 3, triple++) {
            if (c >= chunks && (c - chunks) % 16 == 15) c++, triple = 0;
            if (c == channels) break;
            const vf product = v_load(weights + c * width + o) * v_load(weights + (c + 1) * width + o);
            pairs = triple % 2 == 0 ? pairs - product : pairs + product;
        }
        v_store(weights + channels * width + o, pairs);
        v_store(weights + (channels + 1) * width + o, scale);
    }
}
#endif

// From [O, KH, KW, C / groups] or, if it is not null, from a view.
#define pack_weights CK_NAME(pack_weights)
static void pack_weights(const ck_winograd_conv *conv, const float *weight, const ck_weight_view *view, int64_t begin,
                         int64_t end, float *packed) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t m = conv->m, n = m + 2, channels = s->c / s->groups, taps = s->kh * s->kw;
    // Sixteen channels at a time, turned so that a vector has one channel of several output channels.
    float turned[16 * 9 * PANEL];
    for (int64_t i = 0; i < 16 * 9 * PANEL; i++) turned[i] = 0;
    for (int64_t p = begin; p < end; p++) {
        const ck_winograd_panel panel = ck_winograd_panel_at(conv, p);
        const int64_t width = panel.width, plane = ck_winograd_rows(conv) * width;
        for (int64_t c_begin = 0; c_begin < channels; c_begin += 16) {
            const int64_t c_count = ck_least(16, channels - c_begin);
            for (int64_t c = 0; view && c < c_count; c++) {
                const float *from = view->first + panel.group * view->group + (c_begin + c) * view->input + panel.first;
                for (int64_t t = 0; t < taps; t++)
                    v_copy(turned + (c * 9 + t) * PANEL, from + t / s->kw * view->kh + t % s->kw * view->kw, panel.columns);
            }
            for (int64_t o = 0; !view && o < panel.columns; o++) {
                const float *from = weight + (panel.o + o) * taps * channels + c_begin;
                for (int64_t t = 0; t < taps; t++)
                    for (int64_t c = 0; c < c_count; c++) turned[(c * 9 + t) * PANEL + o] = from[t * channels + c];
            }
            // The columns beyond the panel's are zeros.
            for (int64_t i = 0; i < 16 * 9; i++)
                for (int64_t o = panel.columns; o < width; o++) turned[i * PANEL + o] = 0;
            for (int64_t c = 0; c < c_count; c++) {
                V_EACH(v, width, lanes, {
                    const float *g = turned + c * 9 * PANEL + v;
                    float *at = packed + panel.weights + ck_winograd_position(conv, c_begin + c) * width + v;
                    vf points[CK_LINE_POINTS];
                    if (ck_winograd_is_line(s)) {
                        vf line[CK_LINE_TAPS];
                        for (int64_t t = 0; t < CK_LINE_TAPS; t++) line[t] = v_load(g + t * PANEL);
                        line_weights(line, points);
                        for (int64_t i = 0; i < CK_LINE_POINTS; i++) v_store_n(at + i * plane, points[i], lanes);
                    } else {
                        vf columns[3][6];
                        for (int64_t j = 0; j < 3; j++)
                            weight_points(m, v_load(g + j * PANEL), v_load(g + (3 + j) * PANEL),
                                          v_load(g + (6 + j) * PANEL), columns[j]);
                        for (int64_t i = 0; i < n; i++) {
                            weight_points(m, columns[0][i], columns[1][i], columns[2][i], points);
                            for (int64_t j = 0; j < n; j++) v_store_n(at + (i * n + j) * plane, points[j], lanes);
                        }
                    }
                });
            }
        }
#if CK_VL == 16
        for (int64_t i = 0; i < ck_winograd_planes(conv) && conv->paired; i++)
            pair_weights(packed + panel.weights + i * plane, channels, width);
#endif
    }
}

static void CK_NAME(ck_winograd_pack)(const ck_winograd_conv *conv, const float *weight, int64_t begin, int64_t end,
                                      float *packed) {
    pack_weights(conv, weight, NULL, begin, end, packed);
}

static void CK_NAME(ck_winograd_pack_view)(const ck_winograd_conv *conv, const ck_weight_view *view, int64_t begin,
                                           int64_t end, float *packed) {
    pack_weights(conv, NULL, view, begin, end, packed);
}

// The three weights from their points: G's inverse, for points that come from weights.
#define points_weights CK_NAME(points_weights)
CK_INLINE void points_weights(int64_t m, const vf *p, vf *g) {
    g[0] = p[0] * (A2 * B2);
    g[1] = (p[1] - p[2]) * (A * (A2 - B2));
    g[2] = p[m + 1];
}

static void CK_NAME(ck_winograd_unpack)(const ck_winograd_conv *conv, const float *packed, int64_t begin, int64_t end,
                                        float *weight) {
    const int64_t m = conv->m, n = m + 2, channels = conv->shape.c / conv->shape.groups;
    const int64_t rows[] = {0, 1, 2, m + 1};
    // Sixteen channels at a time, so that a cache line of the weights is written in one go.
    float turned[16 * 9 * PANEL];
    for (int64_t p = begin; p < end; p++) {
        const ck_winograd_panel panel = ck_winograd_panel_at(conv, p);
        const int64_t plane = ck_winograd_rows(conv) * panel.width;
        for (int64_t c_begin = 0; c_begin < channels; c_begin += 16) {
            const int64_t c_count = ck_least(16, channels - c_begin);
            for (int64_t c = 0; c < c_count; c++) {
                V_EACH(v, panel.width, lanes, {
                    const int64_t row = ck_winograd_position(conv, c_begin + c) * panel.width + v;
                    const float *planes = packed + panel.weights;
                    const float *scale = planes + (channels + 1) * panel.width + v;
                    float *to = turned + c * 9 * PANEL + v;
                    vf columns[3][6];
                    vf points[6];
                    vf g[3];
                    for (int64_t i = 0; i < 4; i++) {
                        for (int64_t j = 0; j < 4; j++) {
                            const int64_t at = (rows[i] * n + rows[j]) * plane;
                            points[rows[j]] = v_load_n(planes + at + row, lanes);
                            if (conv->paired) points[rows[j]] *= v_load_n(scale + at, lanes);
                        }
                        points_weights(m, points, g);
                        for (int64_t j = 0; j < 3; j++) columns[j][rows[i]] = g[j];
                    }
                    for (int64_t j = 0; j < 3; j++) {
                        points_weights(m, columns[j], g);
                        for (int64_t i = 0; i < 3; i++) v_store_n(to + (i * 3 + j) * PANEL, g[i], lanes);
                    }
                });
            }
            for (int64_t o = 0; o < panel.columns; o++) {
                float *to = weight + (panel.o + o) * 9 * channels + c_begin;
                for (int64_t t = 0; t < 9; t++)
                    for (int64_t c = 0; c < c_count; c++) to[t * channels + c] = turned[(c * 9 + t) * PANEL + o];
            }
        }
    }
}

// A whole tile of m = 4, `lanes` channels: rows 0 to 2 of the points, then 3 to 5, so that they stay in registers. The
// pixel (i, j) is at x + i row + j column, or where pixels[i, j] points if that is not null.
#define input_whole CK_NAME(input_whole)
CK_INLINE void input_whole(const float *x, int64_t row, int64_t column, const float *const *pixels, int64_t c,
                           int64_t lanes, float *const *to, int64_t offset) {
#define PIXEL(i, j) v_load_n(pixels ? pixels[(i) * 6 + (j)] + c : x + (i) * row + (j) * column + c, lanes)
    vf t[3][6], p[6];
    for (int j = 0; j < 6; j++) {
        vf d1 = PIXEL(1, j), d2 = PIXEL(2, j), d3 = PIXEL(3, j), d4 = PIXEL(4, j);
        vf even = d4 - B2 * d2, odd = d3 - B2 * d1;
        t[0][j] = (A2 * B2) * PIXEL(0, j) + (d4 - (A2 + B2) * d2);
        t[1][j] = even + A * odd;
        t[2][j] = even - A * odd;
    }
    for (int i = 0; i < 3; i++) {
        input_points(4, t[i], p);
        for (int j = 0; j < 6; j++) v_store(to[i * 6 + j] + offset, p[j]);
    }
    for (int j = 0; j < 6; j++) {
        vf d1 = PIXEL(1, j), d2 = PIXEL(2, j), d3 = PIXEL(3, j), d4 = PIXEL(4, j);
        vf even = d4 - A2 * d2, odd = d3 - A2 * d1;
        t[0][j] = even + B * odd;
        t[1][j] = even - B * odd;
        t[2][j] = (A2 * B2) * d1 + (PIXEL(5, j) - (A2 + B2) * d3);
    }
    for (int i = 0; i < 3; i++) {
        input_points(4, t[i], p);
        for (int j = 0; j < 6; j++) v_store(to[(i + 3) * 6 + j] + offset, p[j]);
    }
#undef PIXEL
}

// `lanes` channels of a tile of r_h x r_w outputs, constants where this is inlined.
#define input_part CK_NAME(input_part)
CK_INLINE void input_part(const int r_h, const int r_w, const float *const *pixels, int64_t c, int64_t lanes,
                          float *const *to, int64_t offset) {
    vf t[6][6], d[6], p[6];
    UNROLL for (int j = 0; j < r_w + 2; j++) {
        UNROLL for (int i = 0; i < r_h + 2; i++) d[i] = v_load_n(pixels[i * 6 + j] + c, lanes);
        input_points(r_h, d, p);
        UNROLL for (int i = 0; i < r_h + 2; i++) t[i][j] = p[i];
    }
    UNROLL for (int i = 0; i < r_h + 2; i++) {
        float *const *row = to + (i <= r_h ? i : 5) * 6;
        input_points(r_w, t[i], p);
        UNROLL for (int j = 0; j <= r_w; j++) v_store(row[j] + offset, p[j]);
        v_store(row[5] + offset, p[r_w + 1]);
    }
}

// Tiles of each size by a function of its own, [r_h - 1][r_w - 1].
#define FOR_EACH_EXTENT(F) \
    F(1, 1) F(1, 2) F(1, 3) F(1, 4) F(2, 1) F(2, 2) F(2, 3) F(2, 4) F(3, 1) F(3, 2) F(3, 3) F(3, 4) F(4, 1) F(4, 2) F(4, 3)
#define EXTENTS(name)                                                                                       \
    {{CK_NAME(name##_1_1), CK_NAME(name##_1_2), CK_NAME(name##_1_3), CK_NAME(name##_1_4)},                  \
     {CK_NAME(name##_2_1), CK_NAME(name##_2_2), CK_NAME(name##_2_3), CK_NAME(name##_2_4)},                  \
     {CK_NAME(name##_3_1), CK_NAME(name##_3_2), CK_NAME(name##_3_3), CK_NAME(name##_3_4)},                  \
     {CK_NAME(name##_4_1), CK_NAME(name##_4_2), CK_NAME(name##_4_3), CK_NAME(name##_4_4)}}

#define INPUT_FUNCTION(r_h, r_w)                                                                            \
    static void CK_NAME(input_part_##r_h##_##r_w)(const float *const *pixels, int64_t channels,             \
                                                  float *const *to, int64_t step) {                         \
        V_EACH(c, channels, lanes, input_part(r_h, r_w, pixels, c, lanes, to, c / 16 * step + c % 16););    \
    }
FOR_EACH_EXTENT(INPUT_FUNCTION)
#undef INPUT_FUNCTION

static void CK_NAME(input_part_4_4)(const float *const *pixels, int64_t channels, float *const *to, int64_t step) {
    V_EACH(c, channels, lanes, input_whole(0, 0, 0, pixels, c, lanes, to, c / 16 * step + c % 16););
}

#define input_parts CK_NAME(input_parts)
static void (*const input_parts[4][4])(const float *const *, int64_t, float *const *, int64_t) = EXTENTS(input_part);

// One tile of a line, `channels` channels from x on, to where its row is in each plane.
#define input_line CK_NAME(input_line)
static void input_line(const ck_winograd_conv *conv, const ck_winograd_tile *tile, const float *x, int64_t channels,
                       const float *zeros, float *const *to) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t stride = conv->strides.x, step = conv->block_tiles * 16;
    const int64_t down = s->kh > 1, along = s->kw > 1;
    const int64_t h = tile->h * ck_winograd_tile_h(conv) - s->pad_top, w = tile->w * ck_winograd_tile_w(conv) - s->pad_left;
    const float *image = x + tile->image * s->h * s->w * stride;
    const float *pixels[CK_LINE_POINTS];
    for (int64_t i = 0; i < CK_LINE_POINTS; i++) {
        const int64_t at_h = h + i * down, at_w = w + i * along;
        const bool inside = at_h >= 0 && at_h < s->h && at_w >= 0 && at_w < s->w;
        pixels[i] = inside ? image + (at_h * s->w + at_w) * stride : zeros;
    }
    V_EACH(c, channels, lanes, {
        vf d[CK_LINE_POINTS];
        vf p[CK_LINE_POINTS];
        UNROLL for (int i = 0; i < CK_LINE_POINTS; i++) d[i] = v_load_n(pixels[i] + c, lanes);
        line_inputs(d, p);
        UNROLL for (int i = 0; i < CK_LINE_POINTS; i++) v_store(to[i] + c / 16 * step + c % 16, p[i]);
    });
}

// One tile, `channels` channels from x on, to where its row is in each plane: to[6 i + j], the infinite points at 5.
#define input_tile CK_NAME(input_tile)
static void input_tile(const ck_winograd_conv *conv, const ck_winograd_tile *tile, const float *x, int64_t channels,
                       const float *zeros, float *const *to) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t m = conv->m, stride = conv->strides.x, step = conv->block_tiles * 16;
    const int64_t h = tile->h * m - s->pad_top, w = tile->w * m - s->pad_left;
    const float *image = x + tile->image * s->h * s->w * stride;
    if (tile->r_h == 4 && tile->r_w == 4 && h >= 0 && w >= 0 && h + 6 <= s->h && w + 6 <= s->w) {
        const float *first = image + (h * s->w + w) * stride;
        V_EACH(c, channels, lanes,
               input_whole(first, s->w * stride, stride, 0, c, lanes, to, c / 16 * step + c % 16););
        return;
    }
    const float *pixels[36];
    for (int64_t i = 0; i < tile->r_h + 2; i++)
        for (int64_t j = 0; j < tile->r_w + 2; j++) {
            const bool inside = h + i >= 0 && h + i < s->h && w + j >= 0 && w + j < s->w;
            pixels[i * 6 + j] = inside ? image + ((h + i) * s->w + w + j) * stride : zeros;
        }
    input_parts[tile->r_h - 1][tile->r_w - 1](pixels, channels, to, step);
}

// What a tile of the product works on.
#ifndef CK_WINOGRAD_PRODUCT
#define CK_WINOGRAD_PRODUCT
typedef struct {
    const float *inputs;  // of the first row; a row's sixteen channels lie together, the next sixteen `step` floats further
    int64_t step;
    int64_t first, channels;   // the first channel's place in its sixteen; the number of channels
    const float *weight;       // [planes, ck_winograd_rows, width]
    const float *next;         // what goes to the second-level cache meanwhile, next_step floats a channel
    int64_t next_step;
    float *products;           // [rows, width], row_stride floats apart
    int64_t row_stride;
    int64_t planes, input_plane, product_plane;  // how many planes, and how far they are apart
    const float *pairs, *inverses;  // with pairs: of the first row, of a plane's pair_plane
    int64_t pair_plane;
} ck_winograd_product;
#endif

// rows and width are constants where this is inlined.
#define multiply_rows CK_NAME(multiply_rows)
CK_INLINE void multiply_rows(const ck_winograd_product *t, const int rows, const int width) {
    const int full = width / CK_VL;
    const bool half = width % CK_VL != 0;
    const float *weight = t->weight, *next = t->next;
    for (int64_t plane = 0; plane < t->planes; plane++) {
        vf sum[TILE_ROWS][2];
        vh rest[TILE_ROWS];
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < full; v++) sum[r][v] = v_splat(0);
            if (half) rest[r] = (vh)(0.0f);
        }
        const float *inputs = t->inputs + plane * t->input_plane + t->first;
        int64_t run = 16 - t->first;
        for (int64_t left = t->channels; left > 0; left -= run, inputs += t->step - 16 + run, run = 16) {
            const int64_t count = run < left ? run : left;
            for (int64_t c = 0; c < count; c++, weight += width) {
                vf w[2];
                vh w_rest;
                UNROLL for (int v = 0; v < full; v++) w[v] = v_load(weight + v * CK_VL);
                if (half) w_rest = *(const vh_unaligned *)(weight + full * CK_VL);
                __builtin_prefetch(next, 0, 2);
                if (width > 16) __builtin_prefetch(next + 16, 0, 2);
                next += t->next_step;
                UNROLL for (int r = 0; r < rows; r++) {
                    const float x = inputs[r * 16 + c];
                    UNROLL for (int v = 0; v < full; v++) sum[r][v] = x * w[v] + sum[r][v];
                    if (half) rest[r] = x * w_rest + rest[r];
                }
            }
        }
        UNROLL for (int r = 0; r < rows; r++) {
            float *to = t->products + plane * t->product_plane + r * t->row_stride;
            UNROLL for (int v = 0; v < full; v++) v_store(to + v * CK_VL, sum[r][v]);
            if (half) *(vh_unaligned *)(to + full * CK_VL) = rest[r];
        }
    }
}

#if CK_VL == 16
// The same with pairs: width is one vector or two, and `first` 0.
#define multiply_paired CK_NAME(multiply_paired)
CK_INLINE void multiply_paired(const ck_winograd_product *t, const int rows, const int width) {
    const int vectors = width / CK_VL;
    const int64_t next_step = 3 * t->next_step, step = t->step;
    const float *w = t->weight, *next = t->next;
    for (int64_t plane = 0; plane < t->planes; plane++) {
        const float *start = w + t->channels * width, *scale = start + width;
        const float *pairs = t->pairs + plane * t->pair_plane, *inverses = t->inverses + plane * t->pair_plane;
        vf sum[TILE_ROWS][2];
        UNROLL for (int v = 0; v < vectors; v++)
            UNROLL for (int i = 0; i < rows; i++) sum[i][v] = v_load(start + v * CK_VL) - v_splat(pairs[i]);
        const float *x0 = t->inputs + plane * t->input_plane;
        int64_t left = t->channels;
        for (; left >= 3 * CK_VL; left -= 3 * CK_VL, x0 += 3 * step) {
            const float *x1 = x0 + step, *x2 = x1 + step;
            for (int64_t j = 0; j < CK_VL; j += 2) {
#define INPUT(i, third) (third == 0 ? x0 : third == 1 ? x1 : x2)[(i)*CK_VL + j]
#define NEXT_INPUT(i, third) (third == 0 ? x0 : third == 1 ? x1 : x2)[(i)*CK_VL + j + 1]
                PAIRED_TRIPLE(PAIRED_ADD, INPUT);
                PAIRED_TRIPLE(PAIRED_SUBTRACT, NEXT_INPUT);
#undef INPUT
#undef NEXT_INPUT
            }
        }
        for (; left > 0; left -= CK_VL, x0 += step) {
#define INPUT(i, third) x0[(i)*CK_VL + (third)*5 + j]
            for (int64_t j = 0; j < 4; j++) {
                PAIRED_TRIPLE(PAIRED_ADD, INPUT);
                j++;
                PAIRED_TRIPLE(PAIRED_SUBTRACT, INPUT);
            }
            const int64_t j = 4;
            PAIRED_TRIPLE(PAIRED_ADD, INPUT);
#undef INPUT
            UNROLL for (int v = 0; v < vectors; v++) {
                const vf last = v_load(w + v * CK_VL);
                UNROLL for (int i = 0; i < rows; i++) sum[i][v] = x0[i * CK_VL + 15] * last + sum[i][v];
            }
            w += width;
        }
        UNROLL for (int v = 0; v < vectors; v++)
            UNROLL for (int i = 0; i < rows; i++) {
                const vf scaled = sum[i][v] * v_load(scale + v * CK_VL) * v_splat(inverses[i]);
                v_store(t->products + plane * t->product_plane + i * t->row_stride + v * CK_VL, scaled);
            }
        w = scale + width;
    }
}

#define PAIRED_FUNCTION(rows, width) \
    static void CK_NAME(multiply_paired_##rows##_##width)(const ck_winograd_product *t) { multiply_paired(t, rows, width); }
#define PAIRED_NAME(rows, width) CK_NAME(multiply_paired_##rows##_##width),

FOR_EACH_ROWS(PAIRED_FUNCTION, 16)
FOR_EACH_ROWS(PAIRED_FUNCTION, 32)

// [vectors - 1][rows - 1]
#define paired_products CK_NAME(paired_products)
static void (*const paired_products[2][TILE_ROWS])(const ck_winograd_product *) = {
    {FOR_EACH_ROWS(PAIRED_NAME, 16)}, {FOR_EACH_ROWS(PAIRED_NAME, 32)}};

#undef PAIRED_FUNCTION
#undef PAIRED_NAME

// Scales a tile's row in each plane, to[slot[p]], and notes the sums of its pairs and the inverses of its factors, which are
// at[p] floats from pairs and inverses on.
#define pair_tile CK_NAME(pair_tile)
static void pair_tile(const ck_winograd_conv *conv, const ck_winograd_layout *layout, int64_t channels, float *const *to,
                      const int64_t *at, float *pairs, float *inverses) {
    const int64_t step = conv->block_tiles * 16, chunks = channels / 48 * 48;
    const vf signs = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
    const vf left_signs = {1, -1, 1, -1, 1};
    vf sums[16];
    for (int i = 0; i < 16; i++) sums[i] = v_splat(0);
    for (int64_t first = 0; first < layout->planes; first += 16) {
        const int64_t count = ck_least(16, layout->planes - first);
        for (int64_t i = 0; i < count; i++) {
            const float *x = to[layout->slot[first + i]];
            sums[i] = v_abs(v_load(x));
            for (int64_t c = 16; c < channels; c += 16) sums[i] += v_abs(v_load(x + c / 16 * step));
        }
        const vf means = lane_sums(sums) / (float)channels, powers = paired_powers(means);
        float factors[CK_VL], kept[CK_VL];
        v_store(factors, paired_factors(powers));
        v_store(kept, means == 0 ? v_splat(0) : powers);
        for (int64_t i = 0; i < count; i++) {
            float *x = to[layout->slot[first + i]];
            const vf factor = v_splat(factors[i]);
            vf all = v_splat(0), left = all;
            for (int64_t c = 0; c < chunks; c += 48, x += 3 * step) {
                const vf x0 = factor * v_load(x), x1 = factor * v_load(x + step);
                v_store(x, x0);
                v_store(x + step, x1);
                v_store(x + 2 * step, factor * v_load(x + 2 * step));
                all = x0 * x1 + all;
            }
            for (int64_t c = chunks; c < channels; c += 16, x += step) {
                const vf x0 = factor * v_load(x);
                v_store(x, x0);
                left = x0 * __builtin_shufflevector(x0, x0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4) + left;
            }
            sums[i] = signs * all + left_signs * left;
        }
        float found[CK_VL];
        v_store(found, lane_sums(sums));
        for (int64_t i = 0; i < count; i++) {
            pairs[at[first + i]] = found[i];
            inverses[at[first + i]] = kept[i];
        }
    }
}
#endif

#define TILE_FUNCTION(rows, width) \
    static void CK_NAME(multiply_rows_##rows##_##width)(const ck_winograd_product *t) { multiply_rows(t, rows, width); }
#define TILE_NAME(rows, width) CK_NAME(multiply_rows_##rows##_##width),
#define TILE_ROW(F, width) {FOR_EACH_ROWS(F, width)},

FOR_EACH_WIDTH(FOR_EACH_ROWS, TILE_FUNCTION)

// [width / grain - 1][rows - 1]
#define multiply_tiles CK_NAME(multiply_tiles)
static void (*const multiply_tiles[4][TILE_ROWS])(const ck_winograd_product *) = {FOR_EACH_WIDTH(TILE_ROW, TILE_NAME)};

#undef TILE_FUNCTION
#undef TILE_NAME
#undef TILE_ROW

// One plane and panel, `all` of whose rows are given: in groups of about equal height.
#define multiply_plane CK_NAME(multiply_plane)
static void multiply_plane(int64_t rows, int64_t width, const ck_winograd_product *all) {
    const int64_t parts = (rows + TILE_ROWS - 1) / TILE_ROWS;
    ck_winograd_product part = *all;
    part.next_step = width / (parts > 0 ? parts : 1);
    for (int64_t i = 0; i < parts; i++) {
        const int64_t begin = i * rows / parts, end = (i + 1) * rows / parts;
        part.inputs = all->inputs + begin * 16;
        part.next = all->next + i * part.channels * part.next_step;
        part.products = all->products + begin * part.row_stride;
#if CK_VL == 16
        if (all->pairs) {
            part.pairs = all->pairs + begin;
            part.inverses = all->inverses + begin;
            paired_products[width / CK_VL - 1][end - begin - 1](&part);
            continue;
        }
#endif
        multiply_tiles[width / CK_HALF - 1][end - begin - 1](&part);
    }
}

// A row of r output pixels: bias, residual, activation, memory.
#define finish_row CK_NAME(finish_row)
CK_INLINE void finish_row(int64_t r, vf *v, vf bias, const ck_epilogue *epilogue, const float *residual,
                          int64_t residual_stride, float *y, int64_t y_stride, int64_t lanes) {
    vf add[4];
    const ck_combine combine = epilogue->combine;
    if (combine != CK_COMBINE_NONE)
        for (int64_t j = 0; j < r; j++) add[j] = v_load_n(residual + j * residual_stride, lanes);
    for (int64_t j = 0; j < r; j++) v[j] = v[j] + bias;
    if (combine == CK_COMBINE_ADD_BEFORE)
        for (int64_t j = 0; j < r; j++) v[j] = v[j] + add[j];
    if (epilogue->activation == CK_RELU) {
        for (int64_t j = 0; j < r; j++) v[j] = v_max(v_splat(0), v[j]);
    } else if (epilogue->activation != CK_IDENTITY) {
        // Rolled: four times this would be too much code for the instruction cache.
        float values[4 * CK_VL];
        for (int64_t j = 0; j < r; j++) v_store(values + j * CK_VL, v[j]);
#pragma clang loop unroll(disable)
        for (int64_t j = 0; j < r; j++)
            v_store(values + j * CK_VL, v_activate(epilogue->activation, v_load(values + j * CK_VL)));
        for (int64_t j = 0; j < r; j++) v[j] = v_load(values + j * CK_VL);
    }
    if (combine == CK_COMBINE_ADD_AFTER)
        for (int64_t j = 0; j < r; j++) v[j] = v[j] + add[j];
    for (int64_t j = 0; j < r; j++) v_store_n(y + j * y_stride, v[j], lanes);
}

// The same from the row's points.
#define output_row CK_NAME(output_row)
CK_INLINE void output_row(int64_t r, const vf *points, vf bias, const ck_epilogue *epilogue, const float *residual,
                          int64_t residual_stride, float *y, int64_t y_stride, int64_t lanes) {
    vf v[4];
    output_points(r, points, v);
    finish_row(r, v, bias, epilogue, residual, residual_stride, y, y_stride, lanes);
}

// Where a vector of a tile's outputs goes.
#define output_place CK_NAME(output_place)
typedef struct {
    const float *residual;
    float *y;
    int64_t residual_stride, y_stride, residual_row, y_row;
} output_place;

#define output_whole CK_NAME(output_whole)
CK_INLINE void output_whole(const float *const *from, int64_t offset, vf bias, const ck_epilogue *epilogue,
                            const output_place *place, int64_t lanes) {
    vf t[4][6], p[6], v[4];
    for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++) p[i] = v_load(from[i * 6 + j] + offset);
        output_points(4, p, v);
        for (int i = 0; i < 4; i++) t[i][j] = v[i];
    }
    for (int i = 0; i < 4; i++)
        output_row(4, t[i], bias, epilogue, place->residual + i * place->residual_row, place->residual_stride,
                   place->y + i * place->y_row, place->y_stride, lanes);
}

#define output_part CK_NAME(output_part)
CK_INLINE void output_part(const int r_h, const int r_w, const float *const *from, int64_t offset, vf bias,
                           const ck_epilogue *epilogue, const output_place *place, int64_t lanes) {
    vf t[4][6], p[6], v[4];
    UNROLL for (int j = 0; j < r_w + 2; j++) {
        const float *const *column = from + (j <= r_w ? j : 5);
        UNROLL for (int i = 0; i <= r_h; i++) p[i] = v_load(column[i * 6] + offset);
        p[r_h + 1] = v_load(column[5 * 6] + offset);
        output_points(r_h, p, v);
        UNROLL for (int i = 0; i < r_h; i++) t[i][j] = v[i];
    }
    UNROLL for (int i = 0; i < r_h; i++)
        output_row(r_w, t[i], bias, epilogue, place->residual + i * place->residual_row, place->residual_stride,
                   place->y + i * place->y_row, place->y_stride, lanes);
}

#define OUTPUT_FUNCTION(r_h, r_w)                                                                               \
    static void CK_NAME(output_part_##r_h##_##r_w)(const float *const *from, int64_t offset, vf bias,           \
                                                   const ck_epilogue *epilogue, const output_place *place,      \
                                                   int64_t lanes) {                                             \
        output_part(r_h, r_w, from, offset, bias, epilogue, place, lanes);                                      \
    }
FOR_EACH_EXTENT(OUTPUT_FUNCTION)
#undef OUTPUT_FUNCTION

static void CK_NAME(output_part_4_4)(const float *const *from, int64_t offset, vf bias, const ck_epilogue *epilogue,
                                     const output_place *place, int64_t lanes) {
    output_whole(from, offset, bias, epilogue, place, lanes);
}

#define output_parts CK_NAME(output_parts)
static void (*const output_parts[4][4])(const float *const *, int64_t, vf, const ck_epilogue *, const output_place *,
                                        int64_t) = EXTENTS(output_part);
#undef FOR_EACH_EXTENT
#undef EXTENTS

// One tile, output channels [o, o_end), from where their products are in each plane.
#define output_tile CK_NAME(output_tile)
static void output_tile(const ck_winograd_conv *conv, const ck_winograd_tile *tile, const ck_operands *operands,
                        int64_t o, int64_t o_end, const float *const *from) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t m_h = ck_winograd_tile_h(conv), m_w = ck_winograd_tile_w(conv), y_stride = conv->strides.y;
    const int64_t residual_stride = conv->epilogue.combine == CK_COMBINE_NONE ? 0 : conv->strides.residual;
    const int64_t pixel = (tile->image * s->oh + tile->h * m_h) * s->ow + tile->w * m_w;
    const bool is_line = ck_winograd_is_line(s);
    const int64_t line = tile->r_h * tile->r_w, next = s->kh > 1 ? s->ow : 1;  // the outputs of a line, and their distance
    const bool whole = tile->r_h == 4 && tile->r_w == 4;
    V_EACH(c, o_end - o, lanes, {
        const vf bias = operands->bias ? v_load_n(operands->bias + o + c, lanes) : v_splat(0);
        const output_place place = {
            // Without a residual it is not read, but must be something that may be added to.
            .residual = residual_stride ? operands->residual + pixel * residual_stride + o + c : operands->y,
            .y = operands->y + pixel * y_stride + o + c,
            .residual_stride = residual_stride,
            .y_stride = y_stride,
            .residual_row = residual_stride * s->ow,
            .y_row = y_stride * s->ow,
        };
        if (is_line) {
            vf p[CK_LINE_POINTS];
            vf v[4];
            UNROLL for (int i = 0; i < CK_LINE_POINTS; i++) p[i] = v_load(from[i] + c);
            line_outputs(p, v);
            if (line == 4)
                finish_row(4, v, bias, &conv->epilogue, place.residual, residual_stride * next, place.y, y_stride * next, lanes);
            else
                finish_row(line, v, bias, &conv->epilogue, place.residual, residual_stride * next, place.y, y_stride * next,
                           lanes);
        } else if (whole)
            output_whole(from, c, bias, &conv->epilogue, &place, lanes);
        else
            output_parts[tile->r_h - 1][tile->r_w - 1](from, c, bias, &conv->epilogue, &place, lanes);
    });
}

// The inputs of a block, of `channels` channels from x on.
#define transform_inputs CK_NAME(transform_inputs)
static void transform_inputs(const ck_winograd_conv *conv, const ck_winograd_layout *layout, int64_t block,
                             const float *x, int64_t channels, float *scratch) {
    const float *zeros = scratch;
    float *inputs = scratch + layout->inputs, *to[36];
    for (ck_winograd_walk walk = ck_winograd_start(conv, block); walk.left > 0; ck_winograd_next(conv, &walk)) {
        for (int64_t p = 0; p < layout->planes; p++)
            to[layout->slot[p]] = inputs + p * layout->input_plane + walk.rows[layout->count[p]] * 16;
        (ck_winograd_is_line(&conv->shape) ? input_line : input_tile)(conv, &walk.tile, x, channels, zeros, to);
#if CK_VL == 16
        if (!conv->paired) continue;
        int64_t at[36];
        for (int64_t p = 0; p < layout->planes; p++) at[p] = p * conv->block_tiles + walk.rows[layout->count[p]];
        pair_tile(conv, layout, channels, to, at, scratch + layout->pairs, scratch + layout->inverses);
#endif
    }
}

// The outputs of a block, channels [o, o_end), from products whose first column is o's.
#define transform_outputs CK_NAME(transform_outputs)
static void transform_outputs(const ck_winograd_conv *conv, const ck_winograd_layout *layout, int64_t block,
                              const ck_operands *operands, int64_t o, int64_t o_end, const float *products) {
    const float *from[36];
    for (ck_winograd_walk walk = ck_winograd_start(conv, block); walk.left > 0; ck_winograd_next(conv, &walk)) {
        for (int64_t p = 0; p < layout->planes; p++)
            from[layout->slot[p]] =
                products + p * layout->product_plane + walk.rows[layout->count[p]] * layout->columns;
        output_tile(conv, &walk.tile, operands, o, o_end, from);
    }
}

// The products of panels [begin, end), which are of one group, for planes of rows[p] rows.
#define multiply_panels CK_NAME(multiply_panels)
static void multiply_panels(const ck_winograd_conv *conv, const ck_winograd_layout *layout, const float *weight,
                            int64_t begin, int64_t end, const int64_t *rows, const float *inputs, int64_t first,
                            const float *scratch, float *products) {
    const int64_t channels = conv->shape.c / conv->shape.groups, weight_rows = ck_winograd_rows(conv);
    const int64_t o = ck_winograd_panel_at(conv, begin).o;
    // As many planes at once as the first-level cache has room for their weights.
    const int64_t most = ck_most(1, 4096 / (channels * ck_least(PANEL, conv->shape.o / conv->shape.groups)));
    for (int64_t p = 0, planes = 1; p < layout->planes; p += planes) {
        for (planes = 1; planes < most && p + planes < layout->planes && rows[p + planes] == rows[p];) planes++;
        ck_winograd_panel panel = ck_winograd_panel_at(conv, begin);
        for (int64_t i = begin; i < end; i++) {
            // What is multiplied next: the next panel, the first one of the next planes, or another group's panel.
            const bool last = i + 1 == end, last_planes = p + planes == layout->planes;
            const ck_winograd_panel next =
                ck_winograd_panel_at(conv, !last ? i + 1 : last_planes && end < conv->panels ? end : begin);
            const int64_t next_plane = !last ? p : last_planes ? 0 : p + planes;
            const ck_winograd_product product = {
                .inputs = inputs + p * layout->input_plane,
                .step = conv->block_tiles * 16,
                .first = first,
                .channels = channels,
                .weight = weight + panel.weights + p * weight_rows * panel.width,
                .next = weight + next.weights + next_plane * weight_rows * next.width,
                .products = products + p * layout->product_plane + (panel.o - o),
                .row_stride = layout->columns,
                .planes = planes,
                .input_plane = layout->input_plane,
                .product_plane = layout->product_plane,
                .pairs = conv->paired ? scratch + layout->pairs + p * conv->block_tiles : NULL,
                .inverses = scratch + layout->inverses + p * conv->block_tiles,
                .pair_plane = conv->block_tiles,
            };
            multiply_plane(rows[p], panel.width, &product);
            panel = next;
        }
    }
}

static void CK_NAME(ck_winograd_run)(const ck_winograd_conv *conv, const ck_operands *operands, int64_t begin,
                                     int64_t end, float *scratch) {
    const ck_conv2d_shape *s = &conv->shape;
    const ck_winograd_layout layout = ck_winograd_layout_of(conv);
    const int64_t channels = s->c / s->groups, panels = conv->panels / s->groups;  // of a group
    float *inputs = scratch + layout.inputs, *products = scratch + layout.products;
    for (int64_t c = 0; c < layout.inputs; c++) scratch[c] = 0;  // what the padding reads
    int64_t transformed = -1;  // the block and chunk that inputs holds
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t part = unit / conv->panel_splits, split = unit % conv->panel_splits;
        const int64_t block = part / conv->chunks, chunk = part % conv->chunks;
        const int64_t group = chunk * s->groups / conv->chunks, group_end = (chunk + 1) * s->groups / conv->chunks;
        if (transformed != part)
            transform_inputs(conv, &layout, block, operands->x + group * channels, (group_end - group) * channels, scratch);
        transformed = part;
        ck_winograd_walk all = ck_winograd_start(conv, block);
        while (all.left > 0) ck_winograd_next(conv, &all);
        int64_t rows[36];
        for (int64_t p = 0; p < layout.planes; p++) rows[p] = all.rows[layout.count[p]];
        const int64_t count = (group_end - group) * panels;
        const int64_t panel_end = group * panels + (split + 1) * count / conv->panel_splits;
        for (int64_t i = group * panels + split * count / conv->panel_splits; i < panel_end; i += conv->panel_group) {
            const int64_t i_end = ck_least(panel_end, i + conv->panel_group);
            const int64_t o = ck_winograd_panel_at(conv, i).o;
            for (int64_t from = i, to; from < i_end; from = to) {
                const ck_winograd_panel panel = ck_winograd_panel_at(conv, from);
                const int64_t c = (panel.group - group) * channels;
                to = ck_least(i_end, (panel.group + 1) * panels);
                multiply_panels(conv, &layout, operands->weight, from, to, rows,
                                inputs + c / 16 * conv->block_tiles * 16, c % 16, scratch, products + (panel.o - o));
            }
            const ck_winograd_panel last = ck_winograd_panel_at(conv, i_end - 1);
            transform_outputs(conv, &layout, block, operands, o, last.o + last.columns, products);
        }
    }
}

#undef PANEL
#undef A
#undef B
#undef A2
#undef B2
