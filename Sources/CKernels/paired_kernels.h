// Products of rows and panels whose terms are multiplied in pairs: see paired.h. A row's terms lie in chunks of three vectors, of
// which triple j has lane j of each; the last chunk, of fewer terms, is divided into three parts likewise, and filled up with
// zeros. Triple by triple that is the order of a panel's weights, too.
#include "paired.h"

typedef struct {
    int64_t tiles;        // how many tiles one after the other
    const float *inputs;  // [tiles, rows, stride]: scaled, in chunks
    int64_t stride;
    const float *products;  // [tiles, rows]: the sums of x0 x1 of all terms; null: sums hold the terms before
    const float *inverses;  // [tiles, rows]: of the rows' factors; null: terms follow
    int64_t triples;        // a multiple of 16 unless they are the last
    const float *weights;   // [triples, 3, width]
    const float *start;     // [width]: minus the sums of w0 w1
    const float *scale;     // [width]: the inverses of the weights' factors
    const float *bias;      // [width]
    float *sums;            // [tiles, rows, width] between parts of the terms, and at the end unless `stores`
    bool stores;            // y = clamp(results + residual)
    float low, high;
    const float *residual;  // may be null
    float *y;
    int64_t residual_stride, y_stride;
    const int64_t *y_rows;  // [tiles, rows]; null: 0, 1, 2, ...; negative: nowhere
    const float *next;      // what comes to the second-level cache meanwhile, next_step floats for each triple
    int64_t next_step;
} ck_paired_tile;

// rows and width, one vector or two, are constants where this is inlined.
#define paired_tile CK_NAME(paired_tile)
CK_INLINE void paired_tile(const ck_paired_tile *t, const int rows, const int width) {
    const int vectors = width / CK_VL;
    const int64_t stride = t->stride, next_step = t->next_step;
    const float *inputs = t->inputs, *next = t->next;
    for (int64_t tile = 0; tile < t->tiles; tile++, inputs += rows * stride) {
        float *sums = t->sums + tile * rows * width;
        const int64_t *y_rows = t->y_rows ? t->y_rows + tile * rows : NULL;
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
        const float *fetched = t->residual ? t->residual + first_row * t->residual_stride : t->y + first_row * t->y_stride;
        const int64_t fetched_stride = t->residual ? t->residual_stride : t->y_stride;
        int64_t left = t->stores && !y_rows ? rows : 0;
        for (int64_t triples = t->triples; triples > 0; triples -= CK_VL, x += 3 * CK_VL) {
            const int64_t end = ck_least(triples, CK_VL);
            int64_t j = 0;
#define INPUT(i, third) (x + (i)*stride + j)[(third)*CK_VL]
#define NEXT_INPUT(i, third) (x + (i)*stride + j + 1)[(third)*CK_VL]
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
        const float low = t->low, high = t->high;
        UNROLL for (int i = 0; i < rows; i++) {
            const int64_t row = y_rows ? y_rows[i] : first_row + i;
            if (row < 0) continue;
            if (t->residual) {
                const float *residual = t->residual + row * t->residual_stride;
                UNROLL for (int v = 0; v < vectors; v++) sum[i][v] += v_load(residual + v * CK_VL);
            }
            float *y = t->y + row * t->y_stride;
            UNROLL for (int v = 0; v < vectors; v++) v_store(y + v * CK_VL, v_clamp(sum[i][v], low, high));
        }
    }
}

#define PAIRED_FUNCTION(rows, width) \
    static void CK_NAME(paired_tile_##rows##_##width)(const ck_paired_tile *t) { paired_tile(t, rows, width); }
#define PAIRED_NAME(rows, width) CK_NAME(paired_tile_##rows##_##width),

FOR_EACH_ROWS(PAIRED_FUNCTION, 16)
FOR_EACH_ROWS(PAIRED_FUNCTION, 32)

// [vectors - 1][rows - 1]
#define paired_tiles CK_NAME(paired_tiles)
static void (*const paired_tiles[2][TILE_ROWS])(const ck_paired_tile *) = {
    {FOR_EACH_ROWS(PAIRED_NAME, 16)}, {FOR_EACH_ROWS(PAIRED_NAME, 32)}};

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

// Panels [panel_begin, panel_end) for a block of tiles.
#define paired_block CK_NAME(paired_block)
static void paired_block(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end, int64_t panel_begin,
                         int64_t panel_end) {
    const ck_packed_conv *conv = run->conv;
    const ck_operands *operands = run->operands;
    const int64_t stride = ck_paired_stride(conv), tiles = tile_end - block->tile;
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
                const int64_t *y_rows = run->extras->y_rows ? run->y_rows + at : NULL;
                const int64_t y_row = y_rows ? 0 : row;
                float *sums = run->sums + at * width;
                const ck_paired_tile tile = {
                    .tiles = next - t,
                    .inputs = run->paired_rows + at * stride + 3 * begin,
                    .stride = stride,
                    .products = part == 0 ? run->paired_products + at : NULL,
                    .inverses = last ? run->paired_inverses + at : NULL,
                    .triples = count,
                    .weights = weights + 3 * begin * width,
                    .start = constants,
                    .scale = constants + width,
                    .bias = bias,
                    .sums = sums,
                    .stores = stores,
                    .low = run->low,
                    .high = run->high,
                    .residual = conv->epilogue.combine == CK_COMBINE_NONE
                                    ? NULL
                                    : operands->residual + y_row * conv->strides.residual + o,
                    .y = operands->y + y_row * conv->strides.y + o,
                    .residual_stride = conv->strides.residual,
                    .y_stride = conv->strides.y,
                    .y_rows = y_rows,
                    .next = behind + (t - block->tile) * count * next_step,
                    .next_step = next_step,
                };
                paired_tiles[width / CK_VL - 1][rows - 1](&tile);
                if (last && !stores) finish(run, sums, width, row, (next - t) * rows, y_rows, o, cols);
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
static void paired_complete(float *weights, int64_t terms, int64_t width) {
    const int64_t triples = ck_paired_triples(terms);
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
            // Chunks have an even number of triples.
            pairs = triple % 2 == 0 ? pairs - w[0] * w[1] : w[0] * w[1] + pairs;
        }
        v_store(weights + 3 * triples * width + c, pairs);
        v_store(weights + (3 * triples + 1) * width + c, scale);
    }
}

// A panel's weights, [cols, terms], to the packed layout.
#define paired_pack CK_NAME(paired_pack)
static void paired_pack(const float *weight, int64_t terms, int64_t cols, float *packed, int64_t width) {
    for (int64_t k = 0; k < terms; k += CK_PAIRED_CHUNK)
        paired_chunk(weight + k, packed + k * width, ck_least(CK_PAIRED_CHUNK, terms - k), terms, cols, width, false);
    for (int64_t k = 0; k < terms && cols < width; k++)
        for (int64_t c = cols; c < width; c++) packed[ck_paired_position(terms, k) * width + c] = 0;
    paired_complete(packed, terms, width);
}

// The same back.
#define paired_unpack CK_NAME(paired_unpack)
static void paired_unpack(const float *packed, int64_t width, int64_t terms, int64_t cols, float *weight) {
    for (int64_t k = 0; k < terms; k += CK_PAIRED_CHUNK)
        paired_chunk(packed + k * width, weight + k, ck_least(CK_PAIRED_CHUNK, terms - k), terms, cols, width, true);
    const float *scale = packed + (3 * ck_paired_triples(terms) + 1) * width;
    for (int64_t o = 0; o < cols; o++, weight += terms) {
        const vi change = (vi)v_splat(scale[o]) - (127 << 23);
        V_EACH(k, terms, lanes, { v_store_n(weight + k, scale_exactly(v_load_n(weight + k, lanes), change), lanes); });
    }
}
