// Winograd convolution of one instruction-set level. With n = m + 2 points a direction, x a tile's n x n input pixels,
// g the 3 x 3 weights: y = At [(G g Gt) * (Bt x B)] A, where the products * are summed over the input channels: n^2
// matrix products of [tiles, C] by [C, O], one for each plane of points.
//
// The points are 0, A, -A, B, -B (the first m + 1) and infinity. A tile at the end of a row or column, with r < m outputs
// to compute, takes r + 2 of the points only: At and Bt are then those of the smaller transform, and G, whose rows are
// the weights' polynomial at one point each times a factor, stays as it is when Bt takes the factor's change. So at
// 14 x 14 an image takes (6 + 6 + 6 + 4)^2 = 484 products a channel pair, where whole tiles take 576.
//
// Scratch of a block of tiles:
//     zeros     [C]                          what the padding reads
//     inputs    [n^2][C / 16][tiles][16]     transformed: rows of a matrix product at constant offsets
//     products  [panels][n^2][tiles][panel]
// with planes set apart by some more floats, since strides of 4096 bytes would have all planes share few cache sets.
#include "activations.h"

#define PANEL (2 * CK_VL)
// Tiles x panel in registers: 24 + 3 of AVX-512's 32, 12 + 3 of 16 otherwise.
#define ROWS (CK_VL == 16 ? 12 : 6)

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

// From [O, 3, 3, C] or, if it is not null, from a view.
#define pack_weights CK_NAME(pack_weights)
static void pack_weights(const ck_winograd_conv *conv, const float *weight, const ck_weight_view *view, int64_t begin,
                         int64_t end, float *packed) {
    const int64_t m = conv->m, n = m + 2, channels = conv->shape.c, outputs = conv->shape.o;
    const int64_t plane = channels * PANEL;
    // Sixteen channels at a time, turned so that a vector has one channel of several output channels.
    float turned[16 * 9 * PANEL];
    for (int64_t panel = begin; panel < end; panel++) {
        float *to = packed + panel * n * n * plane;
        const int64_t o_count = min_of(PANEL, outputs - panel * PANEL);
        for (int64_t i = 0; i < 16 * 9 * PANEL; i++) turned[i] = 0;
        for (int64_t c_begin = 0; c_begin < channels; c_begin += 16) {
            const int64_t c_count = min_of(16, channels - c_begin);
            for (int64_t c = 0; view && c < c_count; c++) {
                const float *from = view->first + (c_begin + c) * view->input + panel * PANEL;
                for (int64_t t = 0; t < 9; t++)
                    v_copy(turned + (c * 9 + t) * PANEL, from + t / 3 * view->kh + t % 3 * view->kw, o_count);
            }
            for (int64_t o = 0; !view && o < o_count; o++) {
                const float *from = weight + (panel * PANEL + o) * 9 * channels + c_begin;
                for (int64_t t = 0; t < 9; t++)
                    for (int64_t c = 0; c < c_count; c++) turned[(c * 9 + t) * PANEL + o] = from[t * channels + c];
            }
            for (int64_t c = 0; c < c_count; c++) {
                for (int64_t half = 0; half < 2; half++) {
                    const float *g = turned + c * 9 * PANEL + half * CK_VL;
                    float *at = to + (c_begin + c) * PANEL + half * CK_VL;
                    vf columns[3][6], points[6];
                    for (int64_t j = 0; j < 3; j++)
                        weight_points(m, v_load(g + j * PANEL), v_load(g + (3 + j) * PANEL),
                                      v_load(g + (6 + j) * PANEL), columns[j]);
                    for (int64_t i = 0; i < n; i++) {
                        weight_points(m, columns[0][i], columns[1][i], columns[2][i], points);
                        for (int64_t j = 0; j < n; j++) v_store(at + (i * n + j) * plane, points[j]);
                    }
                }
            }
        }
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

// Any tile: of r_h x r_w outputs.
#define input_any CK_NAME(input_any)
static void input_any(int64_t m, int64_t r_h, int64_t r_w, const float *const *pixels, int64_t c, int64_t lanes,
                      float *const *to, int64_t offset) {
    const int64_t n = m + 2;
    vf t[6][6], d[6], p[6];
    for (int64_t j = 0; j < r_w + 2; j++) {
        for (int64_t i = 0; i < r_h + 2; i++) d[i] = v_load_n(pixels[i * n + j] + c, lanes);
        input_points(r_h, d, p);
        for (int64_t i = 0; i < r_h + 2; i++) t[i][j] = p[i];
    }
    for (int64_t i = 0; i < r_h + 2; i++) {
        float *const *row = to + (i <= r_h ? i : m + 1) * n;
        input_points(r_w, t[i], p);
        for (int64_t j = 0; j <= r_w; j++) v_store(row[j] + offset, p[j]);
        v_store(row[m + 1] + offset, p[r_w + 1]);
    }
}

// One tile, all channels, to where its row is in each plane.
#define input_tile CK_NAME(input_tile)
static void input_tile(const ck_winograd_conv *conv, const ck_winograd_tile *tile, const float *x, const float *zeros,
                       float *const *to) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t m = conv->m, n = m + 2, stride = conv->strides.x, step = conv->block_tiles * 16;
    const int64_t h = tile->h * m - s->pad_top, w = tile->w * m - s->pad_left;
    const float *image = x + tile->image * s->h * s->w * stride;
    const bool whole = m == 4 && tile->r_h == 4 && tile->r_w == 4;
    if (whole && h >= 0 && w >= 0 && h + 6 <= s->h && w + 6 <= s->w) {
        const float *first = image + (h * s->w + w) * stride;
        V_EACH(c, s->c, lanes,
               input_whole(first, s->w * stride, stride, 0, c, lanes, to, c / 16 * step + c % 16););
        return;
    }
    const float *pixels[36];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            const bool inside = h + i >= 0 && h + i < s->h && w + j >= 0 && w + j < s->w;
            pixels[i * n + j] = inside ? image + ((h + i) * s->w + w + j) * stride : zeros;
        }
    if (whole)
        V_EACH(c, s->c, lanes, input_whole(0, 0, 0, pixels, c, lanes, to, c / 16 * step + c % 16););
    else
        V_EACH(c, s->c, lanes,
               input_any(m, tile->r_h, tile->r_w, pixels, c, lanes, to, c / 16 * step + c % 16););
}

// products[r, panel] = the sum over the channels of inputs[r, c] weight[c, panel] for `rows` tiles, a constant where this
// is inlined. Meanwhile 32 / share floats of `next` a channel go to the second-level cache.
#define multiply_rows CK_NAME(multiply_rows)
CK_INLINE void multiply_rows(int rows, int64_t channels, const float *inputs, int64_t step, const float *weight,
                             const float *next, int64_t next_step, float *products) {
    vf sum[ROWS][2];
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = v_splat(0);
    for (; channels > 0; channels -= 16, inputs += step) {
        const int64_t count = min_of(16, channels);
        for (int64_t c = 0; c < count; c++, weight += PANEL, next += next_step) {
            const vf w0 = v_load(weight), w1 = v_load(weight + CK_VL);
            __builtin_prefetch(next, 0, 2);
            __builtin_prefetch(next + 16, 0, 2);
            for (int r = 0; r < rows; r++) {
                const vf x = v_splat(inputs[r * 16 + c]);
                sum[r][0] = x * w0 + sum[r][0];
                sum[r][1] = x * w1 + sum[r][1];
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        v_store(products + r * PANEL, sum[r][0]);
        v_store(products + r * PANEL + CK_VL, sum[r][1]);
    }
}

// One plane and panel: the rows in groups of about equal height.
#define multiply_plane CK_NAME(multiply_plane)
static void multiply_plane(int64_t tiles, int64_t channels, const float *inputs, int64_t step, const float *weight,
                           const float *next, float *products) {
    if (tiles == 0) return;
    const int64_t groups = (tiles + ROWS - 1) / ROWS, next_step = PANEL / groups;
    for (int64_t group = 0; group < groups; group++) {
        const int64_t begin = group * tiles / groups, rows = (group + 1) * tiles / groups - begin;
        const float *in = inputs + begin * 16, *ahead = next + group * channels * next_step;
        float *out = products + begin * PANEL;
#define CASE(r)                                                                                     \
    case r: multiply_rows(r, channels, in, step, weight, ahead, next_step, out); break;
        switch (rows) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if CK_VL == 16
            CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
        }
#undef CASE
    }
}

// A row of r output pixels from its points: bias, residual, activation, memory.
#define output_row CK_NAME(output_row)
CK_INLINE void output_row(int64_t r, const vf *points, vf bias, const ck_epilogue *epilogue, const float *residual,
                          int64_t residual_stride, float *y, int64_t y_stride, int64_t lanes) {
    vf v[4], add[4];
    output_points(r, points, v);
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

#define output_any CK_NAME(output_any)
static void output_any(int64_t m, int64_t r_h, int64_t r_w, const float *const *from, int64_t offset, vf bias,
                       const ck_epilogue *epilogue, const output_place *place, int64_t lanes) {
    const int64_t n = m + 2;
    vf t[4][6], p[6], v[4];
    for (int64_t j = 0; j < r_w + 2; j++) {
        const float *const *column = from + (j <= r_w ? j : m + 1);
        for (int64_t i = 0; i <= r_h; i++) p[i] = v_load(column[i * n] + offset);
        p[r_h + 1] = v_load(column[(m + 1) * n] + offset);
        output_points(r_h, p, v);
        for (int64_t i = 0; i < r_h; i++) t[i][j] = v[i];
    }
    for (int64_t i = 0; i < r_h; i++)
        output_row(r_w, t[i], bias, epilogue, place->residual + i * place->residual_row, place->residual_stride,
                   place->y + i * place->y_row, place->y_stride, lanes);
}

// One tile, output channels [o, o_end) of a panel, from where its row is in each plane.
#define output_tile CK_NAME(output_tile)
static void output_tile(const ck_winograd_conv *conv, const ck_winograd_tile *tile, const ck_operands *operands,
                        int64_t o, int64_t o_end, const float *const *from) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t m = conv->m, y_stride = conv->strides.y;
    const int64_t residual_stride = conv->epilogue.combine == CK_COMBINE_NONE ? 0 : conv->strides.residual;
    const int64_t pixel = (tile->image * s->oh + tile->h * m) * s->ow + tile->w * m;
    const bool whole = m == 4 && tile->r_h == 4 && tile->r_w == 4;
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
        if (whole)
            output_whole(from, c, bias, &conv->epilogue, &place, lanes);
        else
            output_any(m, tile->r_h, tile->r_w, from, c, bias, &conv->epilogue, &place, lanes);
    });
}

static void CK_NAME(ck_winograd_run)(const ck_winograd_conv *conv, const ck_operands *operands, int64_t begin,
                                     int64_t end, float *scratch) {
    const ck_winograd_layout layout = ck_winograd_layout_of(conv);
    const int64_t n = conv->m + 2, planes = n * n, channels = conv->shape.c, step = conv->block_tiles * 16;
    float *zeros = scratch, *inputs = scratch + layout.inputs, *products = scratch + layout.products;
    for (int64_t c = 0; c < layout.inputs; c++) zeros[c] = 0;
    int64_t transformed = -1;  // the block that inputs holds
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t block = unit / conv->panel_splits, split = unit % conv->panel_splits;
        const int64_t panel_begin = split * conv->panels / conv->panel_splits;
        const int64_t panel_end = (split + 1) * conv->panels / conv->panel_splits;
        ck_winograd_walk walk;
        if (transformed != block) {
            float *to[36];
            for (walk = ck_winograd_start(conv, block); walk.left > 0; ck_winograd_next(conv, &walk)) {
                for (int64_t p = 0; p < planes; p++)
                    to[p] = inputs + p * layout.input_plane + ck_winograd_row(&walk, conv->m, p) * 16;
                input_tile(conv, &walk.tile, operands->x, zeros, to);
            }
            transformed = block;
        } else {
            for (walk = ck_winograd_start(conv, block); walk.left > 0;) ck_winograd_next(conv, &walk);
        }
        for (int64_t group = panel_begin; group < panel_end; group += conv->panel_group) {
            const int64_t group_end = min_of(panel_end, group + conv->panel_group);
            for (int64_t p = 0; p < planes; p++) {
                for (int64_t panel = group; panel < group_end; panel++) {
                    const float *weight = operands->weight + (panel * planes + p) * channels * PANEL;
                    int64_t next_panel = panel + 1, next_plane = p;
                    if (next_panel == group_end) {
                        next_panel = p + 1 < planes ? group : group_end < panel_end ? group_end : panel;
                        next_plane = p + 1 < planes ? p + 1 : group_end < panel_end ? 0 : p;
                    }
                    const float *next = operands->weight + (next_panel * planes + next_plane) * channels * PANEL;
                    multiply_plane(ck_winograd_row(&walk, conv->m, p), channels, inputs + p * layout.input_plane, step,
                                   weight, next,
                                   products + ((panel - group) * planes + p) * layout.product_plane);
                }
            }
            for (int64_t panel = group; panel < group_end; panel++) {
                const float *from[36];
                const float *of_panel = products + (panel - group) * planes * layout.product_plane;
                ck_winograd_walk out;
                for (out = ck_winograd_start(conv, block); out.left > 0; ck_winograd_next(conv, &out)) {
                    for (int64_t p = 0; p < planes; p++)
                        from[p] = of_panel + p * layout.product_plane + ck_winograd_row(&out, conv->m, p) * PANEL;
                    output_tile(conv, &out.tile, operands, panel * PANEL,
                                min_of(conv->shape.o, (panel + 1) * PANEL), from);
                }
            }
        }
    }
}

#undef PANEL
#undef ROWS
#undef A
#undef B
#undef A2
#undef B2
