// Products of rows and panels whose terms are multiplied in pairs: see paired.h. A row's terms lie in chunks of three vectors, of
// which triple j has lane j of each; the last chunk, of fewer terms, is divided into three parts likewise, and filled up with
// zeros. Triple by triple that is the order of a panel's weights, too.
//
// An image's first layer would do more to rows, of which each pixel is part of many, than to products. There a pixel's three
// channels are a triple, and a tile's rows, which are all on one row of the image, have planes in common: of red, of green and
// of blue, of all pixels that they read, scaled by what brings the mean of these to 1 ... 2.
#include "paired.h"

typedef struct {
    int64_t tiles;        // how many tiles one after the other
    // Scaled: rows at this distance, tiles at another. Of each row, `run` triples; then, `run_step` floats behind the first of them,
    // so many again, until there are `triples`.
    const float *inputs;
    int64_t stride, tile_stride, run, run_step;
    const float *products;  // [tiles, rows]: the sums of x0 x1 of all terms; null: sums hold the terms before
    const float *inverses;  // [tiles, rows]: of the rows' factors; null: terms follow
    int64_t triples;
    const float *weights;   // [triples, 3, width]
    const float *start;     // [width]: minus the sums of w0 w1
    const float *scale;     // [width]: the inverses of the weights' factors
    const float *bias;      // [width]
    float *sums;            // [tiles, rows, width] between parts of the terms, and at the end unless `stores`
    bool stores;            // they go to `result`
    ck_packed_result result;
    const float *next;      // what comes to the second-level cache meanwhile, next_step floats for each triple
    int64_t next_step;
} ck_paired_tile;

// rows, width, one vector or two, and the distance of a triple's three inputs are constants where this is inlined.
#define paired_tile CK_NAME(paired_tile)
CK_INLINE void paired_tile(const ck_paired_tile *t, const int rows, const int width, const int distance) {
    const int vectors = width / CK_VL;
    const ck_packed_result *result = &t->result;
    const int64_t stride = t->stride, next_step = t->next_step;
    const float *inputs = t->inputs, *next = t->next;
    for (int64_t tile = 0; tile < t->tiles; tile++, inputs += t->tile_stride) {
        float *sums = t->sums + tile * rows * width;
        const int64_t *y_rows = result->y_rows ? result->y_rows + tile * rows : NULL;
        const int64_t first_row = y_rows ? 0 : tile * rows;
        vf sum[TILE_ROWS][2];
        UNROLL for (int v = 0; v < vectors; v++) {
            if (t->products) {
                const vf start = v_load(t->start + v * CK_VL);
                UNROLL for (int i = 0; i < rows; i++) sum[i][v] = start - v_splat(t->products[tile * rows + i]);
            } else {
                UNROLL for (int i = 0; i < rows; i++) sum[i][v] = v_load(sums + i * width + v * CK_VL);
            }
        }
        const float *w = t->weights, *x = inputs;
        // The rows of the results, or of the residual, are far apart: one comes to the cache with each of the first pairs of triples.
        const int64_t fetched_stride = result->residual ? result->residual_stride : result->y_stride;
        const float *fetched = (result->residual ? result->residual : result->y) + first_row * fetched_stride;
        int64_t left = t->stores && !y_rows ? rows : 0;
        for (int64_t triples = t->triples; triples > 0; triples -= t->run, x += t->run_step) {
            const int64_t end = ck_least(triples, t->run);
            int64_t j = 0;
#define INPUT(i, third) (x + (i)*stride + j)[(third)*distance]
#define NEXT_INPUT(i, third) (x + (i)*stride + j + 1)[(third)*distance]
            for (; j + 2 <= end; j += 2) {
                if (left > 0) {
                    UNROLL for (int v = 0; v < vectors; v++) __builtin_prefetch(fetched + v * CK_VL);
                    fetched += fetched_stride;
                    left--;
                }
                PAIRED_TRIPLE(PAIRED_ADD, INPUT);
                PAIRED_TRIPLE(PAIRED_SUBTRACT, NEXT_INPUT);
            }
            if (j < end) PAIRED_TRIPLE(PAIRED_ADD, INPUT);
#undef INPUT
#undef NEXT_INPUT
        }
        if (t->inverses) {
            UNROLL for (int v = 0; v < vectors; v++) {
                const vf scale = v_load(t->scale + v * CK_VL), bias = v_load(t->bias + v * CK_VL);
                UNROLL for (int i = 0; i < rows; i++)
                    sum[i][v] = sum[i][v] * scale * v_splat(t->inverses[tile * rows + i]) + bias;
            }
        }
        if (!t->stores) {
            UNROLL for (int i = 0; i < rows; i++)
                UNROLL for (int v = 0; v < vectors; v++) v_store(sums + i * width + v * CK_VL, sum[i][v]);
            continue;
        }
        const float low = result->low, high = result->high;
        UNROLL for (int i = 0; i < rows; i++) {
            const int64_t row = y_rows ? y_rows[i] : first_row + i;
            if (row < 0) continue;
            if (result->residual) {
                const float *residual = result->residual + row * result->residual_stride;
                UNROLL for (int v = 0; v < vectors; v++) sum[i][v] += v_load(residual + v * CK_VL);
            }
            float *y = result->y + row * result->y_stride;
            UNROLL for (int v = 0; v < vectors; v++) v_store(y + v * CK_VL, v_clamp(sum[i][v], low, high));
        }
    }
}

#define PAIRED_FUNCTION(rows, width)                                                                                     \
    static void CK_NAME(paired_tile_##rows##_##width)(const ck_paired_tile *t) { paired_tile(t, rows, width, CK_VL); }    \
    static void CK_NAME(paired_pixels_##rows##_##width)(const ck_paired_tile *t) {                                        \
        paired_tile(t, rows, width, CK_PAIRED_PIXELS);                                                                    \
    }
#define PAIRED_NAME(rows, width) CK_NAME(paired_tile_##rows##_##width),
#define PIXELS_NAME(rows, width) CK_NAME(paired_pixels_##rows##_##width),

FOR_EACH_ROWS(PAIRED_FUNCTION, 16)
FOR_EACH_ROWS(PAIRED_FUNCTION, 32)

// [of pixels][vectors - 1][rows - 1]
#define paired_tiles CK_NAME(paired_tiles)
static void (*const paired_tiles[2][2][TILE_ROWS])(const ck_paired_tile *) = {
    {{FOR_EACH_ROWS(PAIRED_NAME, 16)}, {FOR_EACH_ROWS(PAIRED_NAME, 32)}},
    {{FOR_EACH_ROWS(PIXELS_NAME, 16)}, {FOR_EACH_ROWS(PIXELS_NAME, 32)}}};

// A segment's absolute values.
#define absolute_sum CK_NAME(absolute_sum)
CK_INLINE vf absolute_sum(const float *x, int64_t length) {
    vf a = v_splat(0), b = a;
    int64_t k = 0;
    for (; k + 2 * CK_VL <= length; k += 2 * CK_VL) {
        a += v_abs(v_load(x + k));
        b += v_abs(v_load(x + k + CK_VL));
    }
    V_EACH(rest, length - k, lanes, { a += v_abs(v_load_n(x + k + rest, lanes)); });
    return a + b;
}

// Terms times a factor in chunks, which may be where they are already; and the products x0 x1, to be added up.
#define pair_terms CK_NAME(pair_terms)
CK_INLINE vf pair_terms(const float *x, int64_t terms, vf factor, float *to) {
    vf pairs = v_splat(0);
    int64_t k = 0;
    for (; k + CK_PAIRED_CHUNK <= terms; k += CK_PAIRED_CHUNK) {
        const vf x0 = factor * v_load(x + k), x1 = factor * v_load(x + k + CK_VL);
        pairs = x0 * x1 + pairs;
        if (x == to) continue;
        v_store(to + k, x0);
        v_store(to + k + CK_VL, x1);
        v_store(to + k + 2 * CK_VL, factor * v_load(x + k + 2 * CK_VL));
    }
    if (k < terms) {
        const int64_t rest = terms - k, third = (rest + 2) / 3;
        const vf x0 = factor * v_load_part(x + k, third);
        const vf x1 = factor * v_load_part(x + k + third, ck_least(third, rest - third));
        const vf x2 = factor * v_load_part(x + k + 2 * third, ck_most(0, rest - 2 * third));
        v_store(to + k, x0);
        v_store(to + k + CK_VL, x1);
        v_store(to + k + 2 * CK_VL, x2);
        pairs = x0 * x1 + pairs;
    }
    return pairs;
}

// The rows of a block of tiles, scaled and in chunks, the sums of their x0 x1 and the inverses of their factors.
#define pair_rows CK_NAME(pair_rows)
static void pair_rows(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end) {
    const int64_t stride = ck_paired_stride(run->conv), segments = run->segments, length = run->length;
    const vf signs = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
    vf sums[16];
    for (int i = 0; i < 16; i++) sums[i] = v_splat(0);
    for (int64_t t = block->tile; t < tile_end; t++) {
        const int64_t row = ck_packed_tile_row(block, t), rows = ck_packed_tile_row(block, t + 1) - row;
        const int64_t at = row - block->row;
        const float *const *pointers = run->pointers + at * segments;
        for (int64_t i = 0; i < rows; i++) {
            sums[i] = absolute_sum(pointers[i], length);
            for (int64_t s = 1; s < segments; s++) sums[i] += absolute_sum(pointers[s * rows + i], length);
        }
        const vf means = lane_sums(sums) / (float)(segments * length), powers = paired_powers(means);
        v_store(run->paired_inverses + at, means == 0 ? v_splat(0) : powers);
        float factors[CK_VL];
        v_store(factors, paired_factors(powers));
        float *to = run->paired_rows + at * stride;
        if (segments == 1) {
            for (int64_t i = 0; i < rows; i++)
                sums[i] = signs * pair_terms(pointers[i], length, v_splat(factors[i]), to + i * stride);
        } else {
            // One row after the other would wait for what it has just written.
            for (int64_t s = 0; s < segments; s++)
                for (int64_t i = 0; i < rows; i++) {
                    const float *x = pointers[s * rows + i];
                    float *scaled = to + i * stride + s * length;
                    V_EACH(k, length, lanes, { v_store_n(scaled + k, factors[i] * v_load_n(x + k, lanes), lanes); });
                }
            for (int64_t i = 0; i < rows; i++)
                sums[i] = signs * pair_terms(to + i * stride, segments * length, v_splat(1), to + i * stride);
        }
        v_store(run->paired_products + at, lane_sums(sums));
    }
}

// 16 pixels' channels, of which the last ones may be missing, as planes.
#define split_pixels CK_NAME(split_pixels)
CK_INLINE void split_pixels(const float *x, int64_t pixels, vf planes[3]) {
    vf v[3];
    for (int i = 0; i < 3; i++) v[i] = v_load_n(x + i * CK_VL, ck_most(0, ck_least(3 * pixels - i * CK_VL, CK_VL)));
    const vf r = __builtin_shufflevector(v[0], v[1], 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
    const vf g = __builtin_shufflevector(v[0], v[1], 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 0, 0, 0, 0, 0);
    const vf b = __builtin_shufflevector(v[0], v[1], 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0, 0, 0, 0, 0, 0);
    planes[0] = __builtin_shufflevector(r, v[2], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
    planes[1] = __builtin_shufflevector(g, v[2], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30);
    planes[2] = __builtin_shufflevector(b, v[2], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31);
}

// The planes of `pixels` pixels of a row of an image, from pixel `first` on, which like the last ones may be in the padding; x is
// null where all are. Returns sums of their absolute values, divided by 4096.
#define plane_pixels CK_NAME(plane_pixels)
CK_INLINE vf plane_pixels(const ck_packed_run *run, const float *x, int64_t first, int64_t pixels, float *to) {
    const int64_t stride = run->conv->strides.x, width = run->conv->shape.w;
    const int64_t begin = x ? ck_most(0, -first) : pixels, end = x ? ck_least(pixels, width - first) : pixels;
    float edge[3 * CK_PAIRED_PIXELS];
    if (begin > 0 || end < pixels || stride != 3) {
        for (int64_t p = 0; p < pixels; p++) {
            const float *from = p < begin || p >= end ? run->padding : x + (first + p) * stride;
            for (int c = 0; c < 3; c++) edge[3 * p + c] = from[c];
        }
        x = edge;
    } else {
        x += 3 * first;
    }
    vf sum = v_splat(0);
    for (int64_t p = 0; p < pixels; p += CK_VL) {
        vf planes[3];
        split_pixels(x + 3 * p, ck_least(pixels - p, CK_VL), planes);
        UNROLL for (int c = 0; c < 3; c++) {
            v_store(to + c * CK_PAIRED_PIXELS + p, planes[c]);
            sum = v_abs(planes[c]) * (1.0f / 4096) + sum;
        }
    }
    return sum;
}

// The planes of a block's tiles, scaled, and of each row the sum of x0 x1 and the inverse of the factor.
#define pair_pixels CK_NAME(pair_pixels)
static void pair_pixels(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end) {
    const ck_packed_conv *conv = run->conv;
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t planes = 3 * CK_PAIRED_PIXELS;
    float *to = run->paired_rows;
    for (int64_t t = block->tile; t < tile_end; t++, to += s->kh * planes) {
        const int64_t row = ck_packed_tile_row(block, t), rows = ck_packed_tile_row(block, t + 1) - row;
        const int64_t first = row % s->ow * s->stride_w - s->pad_left, pixels = (rows - 1) * s->stride_w + s->kw;
        const int64_t image = row / s->ow / s->oh, top = row / s->ow % s->oh * s->stride_h - s->pad_top;
        vf sum = v_splat(0);
        for (int64_t kh = 0; kh < s->kh; kh++) {
            const int64_t h = top + kh * s->dilation_h, line = (image * s->h + h) * s->w;
            const float *x = h >= 0 && h < s->h ? run->operands->x + line * conv->strides.x : NULL;
            sum += plane_pixels(run, x, first, pixels, to + kh * planes);
        }
        const float mean = v_sum(sum) * (4096 / (float)(3 * s->kh * pixels));
        // An infinity, or what is no number, must not spoil rows without it.
        const vf powers = paired_powers(v_splat(mean < INFINITY ? mean : 1)), factor = paired_factors(powers);
        vf products[CK_PAIRED_PIXELS / CK_VL];
        for (int64_t p = 0; p < pixels; p += CK_VL) {
            vf product = v_splat(0);
            for (int64_t kh = 0; kh < s->kh; kh++) {
                float *x = to + kh * planes + p;
                const vf x0 = factor * v_load(x), x1 = factor * v_load(x + CK_PAIRED_PIXELS);
                v_store(x, x0);
                v_store(x + CK_PAIRED_PIXELS, x1);
                v_store(x + 2 * CK_PAIRED_PIXELS, factor * v_load(x + 2 * CK_PAIRED_PIXELS));
                product = x0 * x1 + product;
            }
            products[p / CK_VL] = product;
        }
        const float *product = (const float *)products;
        for (int64_t i = 0; i < rows; i++, product += s->stride_w) {
            float all = 0;
            for (int64_t j = 0; j < s->kw; j++) all += j % 2 == 0 ? product[j] : -product[j];
            run->paired_products[row - block->row + i] = all;
            run->paired_inverses[row - block->row + i] = mean == 0 ? 0 : powers[0];
        }
    }
}

// Panels [panel_begin, panel_end) for a block of tiles.
#define paired_block CK_NAME(paired_block)
static void paired_block(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end, int64_t panel_begin,
                         int64_t panel_end) {
    const ck_packed_conv *conv = run->conv;
    const int64_t stride = conv->paired_pixels ? conv->shape.stride_w : ck_paired_stride(conv), tiles = tile_end - block->tile;
    const int64_t terms = run->segments * run->length, triples = ck_paired_triples(terms);
    const int64_t parts = ck_packed_parts(conv, terms), chunks = (triples + CK_VL - 1) / CK_VL;
    ck_packed_panel panel = run->first_panel;
    for (int64_t p = panel_begin; p < panel_end; p++) {
        const int64_t o = panel.o, cols = panel.cols, width = panel.width;
        const float *weights = run->weights + panel.weights, *constants = weights + 3 * triples * width;
        const float *bias = packed_bias(run, panel);
        for (int64_t part = 0; part < parts; part++) {
            const int64_t begin = chunks * part / parts * CK_VL;
            const int64_t count = ck_least(triples, chunks * (part + 1) / parts * CK_VL) - begin;
            const bool last = part == parts - 1, stores = last && run->direct && cols == width;
            // What is multiplied next comes to the second-level cache meanwhile.
            const int64_t next_step = (3 * width + tiles - 1) / tiles;
            const float *behind = weights + 3 * (begin + count) * width;
            if (last && p + 1 == panel_end && tile_end < block->tiles)
                behind = run->weights + run->first_panel.weights;
            // All tiles of one height at once.
            for (int64_t t = block->tile, next; t < tile_end; t = next) {
                next = ck_packed_tiles_end(block, t, tile_end);
                const int64_t row = ck_packed_tile_row(block, t), rows = ck_packed_tile_row(block, t + 1) - row;
                const int64_t at = row - block->row;
                float *sums = run->sums + at * width;
                const int64_t tile_stride = conv->paired_pixels ? ck_paired_planes(conv) : rows * stride;
                const int64_t inputs = conv->paired_pixels ? (t - block->tile) * tile_stride : at * stride + 3 * begin;
                const ck_paired_tile tile = {
                    .tiles = next - t,
                    .inputs = run->paired_rows + inputs,
                    .stride = stride,
                    .tile_stride = tile_stride,
                    .run = ck_paired_run(conv),
                    .run_step = 3 * (conv->paired_pixels ? CK_PAIRED_PIXELS : CK_VL),
                    .products = part == 0 ? run->paired_products + at : NULL,
                    .inverses = last ? run->paired_inverses + at : NULL,
                    .triples = count,
                    .weights = weights + 3 * begin * width,
                    .start = constants,
                    .scale = constants + width,
                    .bias = bias,
                    .sums = sums,
                    .stores = stores,
                    .result = packed_result(run, block, row, o),
                    .next = behind + (t - block->tile) * count * next_step,
                    .next_step = next_step,
                };
                paired_tiles[conv->paired_pixels][width / CK_VL - 1][rows - 1](&tile);
                if (last && !stores) finish(run, sums, width, row, (next - t) * rows, tile.result.y_rows, o, cols);
            }
        }
        panel = ck_packed_panel_next(conv, run->group_outputs, run->column, panel);
    }
}

// The weights of a chunk of terms from [cols, terms] to triples of `width`, or back.
#define paired_chunk CK_NAME(paired_chunk)
CK_INLINE void paired_chunk(const float *from, float *to, int64_t count, int64_t terms, int64_t cols, int64_t width,
                            bool unpacks) {
    const int64_t third = ck_paired_triples(count);
    for (int64_t part = 0; part < 3; part++) {
        const int64_t first = part * third, length = ck_most(0, ck_least(third, count - first));
        if (unpacks)
            transpose_matrix(from + part * width, 3 * width, length, cols, to + first, terms, false);
        else
            transpose_matrix(from + first, terms, cols, length, to + part * width, 3 * width, false);
    }
}

// What a panel's weights, in triples, are completed with: zeros behind the last terms, factors, and constants.
#define paired_complete CK_NAME(paired_complete)
static void paired_complete(const ck_packed_conv *conv, float *weights, int64_t width) {
    const int64_t terms = ck_packed_terms(conv), triples = ck_paired_triples(terms), length = ck_paired_run(conv);
    for (int64_t k = terms; k < 3 * triples; k++)
        for (int64_t c = 0; c < width; c++) weights[ck_paired_position(terms, k) * width + c] = 0;
    for (int64_t c = 0; c < width; c += CK_VL) {
        vf sum = v_splat(0), least = v_splat(INFINITY), pairs = v_splat(0);
        for (int64_t k = 0; k < 3 * triples; k++) {
            const vf w = v_abs(v_load(weights + k * width + c));
            sum += w;
            least = w >= FLT_MIN ? v_min(w, least) : least;
        }
        const vf powers = paired_powers(sum / (float)terms);
        // So that the smallest weights, too, can be told from the packed ones.
        const vf scale = powers > 1 && least * paired_factors(powers) < FLT_MIN ? v_splat(1) : powers;
        for (int64_t triple = 0; triple < triples; triple++) {
            vf w[3];
            for (int i = 0; i < 3; i++) {
                float *at = weights + (3 * triple + i) * width + c;
                w[i] = scale_exactly(v_load(at), (127 << 23) - (vi)scale);
                v_store(at, w[i]);
            }
            pairs = triple % length % 2 == 0 ? pairs - w[0] * w[1] : w[0] * w[1] + pairs;
        }
        v_store(weights + 3 * triples * width + c, pairs);
        v_store(weights + (3 * triples + 1) * width + c, scale);
    }
}

// A panel's weights, [cols, terms], to the packed layout.
#define paired_pack CK_NAME(paired_pack)
static void paired_pack(const ck_packed_conv *conv, const float *weight, int64_t cols, float *packed, int64_t width) {
    const int64_t terms = ck_packed_terms(conv), chunk = conv->paired_pixels ? 3 : CK_PAIRED_CHUNK;
    for (int64_t k = 0; k < terms; k += chunk)
        paired_chunk(weight + k, packed + k * width, ck_least(chunk, terms - k), terms, cols, width, false);
    for (int64_t k = 0; k < terms && cols < width; k++)
        for (int64_t c = cols; c < width; c++) packed[ck_packed_position(conv, k) * width + c] = 0;
    paired_complete(conv, packed, width);
}

// The same back.
#define paired_unpack CK_NAME(paired_unpack)
static void paired_unpack(const ck_packed_conv *conv, const float *packed, int64_t width, int64_t cols, float *weight) {
    const int64_t terms = ck_packed_terms(conv), chunk = conv->paired_pixels ? 3 : CK_PAIRED_CHUNK;
    for (int64_t k = 0; k < terms; k += chunk)
        paired_chunk(packed + k * width, weight + k, ck_least(chunk, terms - k), terms, cols, width, true);
    const float *scale = packed + (3 * ck_paired_triples(terms) + 1) * width;
    for (int64_t o = 0; o < cols; o++, weight += terms) {
        const vi change = (vi)v_splat(scale[o]) - (127 << 23);
        V_EACH(k, terms, lanes, { v_store_n(weight + k, scale_exactly(v_load_n(weight + k, lanes), change), lanes); });
    }
}
