// Attention of one instruction-set level.
//
// Per head of a sequence: the keys are packed transposed into panels of columns and the values into panels as they are;
// then, for each tile of rows, queries x keys, softmax, and weights x values, all within the first-level cache but for
// the streams of keys and values. Scores are kept times log2(e), so that the softmax is made of powers of two.
//
// Every row of the result is computed alike whatever rows share its tile, so the split into units changes no bit.
#define half_vector CK_NAME(half_vector)
#define half_unaligned CK_NAME(half_unaligned)
#define largest_of CK_NAME(largest_of)
#define interleave CK_NAME(interleave)
#define v_exp2 CK_NAME(v_exp2)
#define panel_width CK_NAME(panel_width)

// The rows of a tile: with two vectors of columns, as many sums as the registers hold.
#if CK_VL == 16
#define TILE_ROWS 12
// A panel of eight columns takes half the time of one of 16, and the numbers of tokens of all common networks (49, 50,
// 197, 257) leave five at most beyond whole vectors.
#define HALF_PANEL 8
typedef float half_vector __attribute__((ext_vector_type(8)));
typedef float half_unaligned __attribute__((ext_vector_type(8), aligned(4), may_alias));
#elif CK_VL == 8
#define TILE_ROWS 6
#define HALF_PANEL 0
#else
#define TILE_ROWS 4
#define HALF_PANEL 0
#endif

// The columns of the next panel when `rest` are left.
CK_INLINE int64_t panel_width(int64_t rest) {
    return rest > CK_VL + HALF_PANEL ? 2 * CK_VL : rest > HALF_PANEL ? CK_VL : HALF_PANEL;
}

// 2^x, within 2e-7 of it relatively, for x <= 0; 2^-126 at least. A NaN stays one.
CK_INLINE vf v_exp2(vf x) {
    const float magic = 0x1.8p23f + 127;  // the exponent's bits then stand lowest
    x = v_max(v_splat(-126.0f), x);
    const vf sum = x + magic;
    const vf r = x - (sum - magic);
    vf p = v_splat(0.001326472731307149f);
    p = p * r + 0.009671512991189957f;
    p = p * r + 0.05550733581185341f;
    p = p * r + 0.24022242426872253f;
    p = p * r + 0.6931470036506653f;
    return (p * r + 1.0f) * (vf)((vi)sum << 23);
}

// x and y's lanes by turns: the first half of the result, or the second.
CK_INLINE vf interleave(vf x, vf y, bool second) {
#if CK_VL == 16
    return second ? __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
                  : __builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif CK_VL == 8
    return second ? __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15)
                  : __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return second ? __builtin_shufflevector(x, y, 2, 6, 3, 7) : __builtin_shufflevector(x, y, 0, 4, 1, 5);
#endif
}

// From a vector a row to a number a row: their largest lanes, or their lanes' sums. Writes whole vectors, so `result`
// has room for a multiple of CK_VL. Interleaving reduces CK_VL rows at once, three operations a row.
#define reduce_rows CK_NAME(reduce_rows)
CK_INLINE void reduce_rows(const float *rows, int64_t count, bool sum, float *result) {
    for (int64_t r0 = 0; r0 < count; r0 += CK_VL) {
        vf v[CK_VL];
#pragma clang loop unroll(full)
        for (int i = 0; i < CK_VL; i++) v[i] = v_load(rows + (r0 + i < count ? r0 + i : r0) * CK_VL);
#pragma clang loop unroll(full)
        for (int n = CK_VL / 2; n > 0; n /= 2) {
#pragma clang loop unroll(full)
            for (int i = 0; i < n; i++) {
                const vf low = interleave(v[i], v[i + n], false), high = interleave(v[i], v[i + n], true);
                v[i] = sum ? low + high : v_max(low, high);
            }
        }
        v_store(result + r0, v[0]);
    }
}

// a x b: the loop over the depth, for sums of vectors of one type.
#define TILE_SUMS(TYPE, UNALIGNED, ROWS, VECTORS)                                                    \
    const float *a = t.a, *b = t.b;                                                                \
    for (int64_t k = 0; k < t.depth; k++, b += (VECTORS) * (int64_t)(sizeof(TYPE) / sizeof *b)) {   \
        TYPE column[VECTORS];                                                                        \
        UNROLL for (int j = 0; j < (VECTORS); j++) column[j] = ((const UNALIGNED *)b)[j];                    \
        UNROLL for (int i = 0; i < (ROWS); i++) {                                                            \
            const TYPE row = (TYPE)(a[i * t.a_stride + k]);                                         \
            UNROLL for (int j = 0; j < (VECTORS); j++) sum[i][j] = row * column[j] + sum[i][j];              \
        }                                                                                            \
    }

// What the sums start from: 0, or bias and mask.
#define TILE_START(TYPE, UNALIGNED, ROWS, VECTORS)                                                            \
    UNROLL for (int i = 0; i < (ROWS); i++) {                                                                \
        UNROLL for (int j = 0; j < (VECTORS); j++)                                                           \
            sum[i][j] = t.bias ? ((const UNALIGNED *)(t.bias + i * t.bias_stride))[j] : (TYPE)(0);            \
    }                                                                                                         \
    if (t.mask) {                                                                                             \
        UNROLL for (int i = 0; i < (ROWS); i++) {                                                            \
            UNROLL for (int j = 0; j < (VECTORS); j++) sum[i][j] += ((const UNALIGNED *)(t.mask + i * t.mask_stride))[j];\
        }                                                                                                     \
    }

// Stores the sums of a tile.
#define tile_finish CK_NAME(tile_finish)
CK_INLINE void tile_finish(const ck_attention_tile t, const int rows, const int vectors, vf sum[TILE_ROWS][2]) {
    if (t.factors) {
#pragma clang loop unroll(full)
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < vectors; j++) sum[i][j] *= t.factors[i];
        }
        if (t.lanes >= vectors * CK_VL) {
#pragma clang loop unroll(full)
            for (int i = 0; i < rows; i++) {
                for (int j = 0; j < vectors; j++) v_store(t.y + i * t.y_stride + j * CK_VL, sum[i][j]);
            }
            return;
        }
#pragma clang loop unroll(full)
        for (int i = 0; i < rows; i++) {
            if (vectors == 2) v_store(t.y + i * t.y_stride, sum[i][0]);
            v_store_part(t.y + i * t.y_stride + (vectors - 1) * CK_VL, sum[i][vectors - 1],
                         t.lanes - (vectors - 1) * CK_VL);
        }
        return;
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < vectors; j++) v_store(t.y + i * t.y_stride + j * CK_VL, sum[i][j]);
        const vf most = vectors == 2 ? v_max(sum[i][0], sum[i][1]) : sum[i][0];
        v_store(t.largest + i * CK_VL, v_max(v_load(t.largest + i * CK_VL), most));
    }
}

#define tile_full CK_NAME(tile_full)
CK_INLINE void tile_full(const ck_attention_tile t, const int rows, const int vectors) {
    vf sum[TILE_ROWS][2];
    if (vectors == 2) {
        TILE_START(vf, vf_unaligned, rows, 2)
        TILE_SUMS(vf, vf_unaligned, rows, 2)
    } else {
        TILE_START(vf, vf_unaligned, rows, 1)
        TILE_SUMS(vf, vf_unaligned, rows, 1)
    }
    tile_finish(t, rows, vectors, sum);
}

#if HALF_PANEL
#define tile_half CK_NAME(tile_half)
CK_INLINE void tile_half(const ck_attention_tile t, const int rows) {
    half_vector sum[TILE_ROWS][1];
    TILE_START(half_vector, half_unaligned, rows, 1)
    TILE_SUMS(half_vector, half_unaligned, rows, 1)
    const half_vector padding = (half_vector)(-INFINITY);
    vf wide[TILE_ROWS][2];
#pragma clang loop unroll(full)
    for (int i = 0; i < rows; i++)
        wide[i][0] = __builtin_shufflevector(sum[i][0], padding, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    tile_finish(t, rows, 1, wide);
}
#define TILE_HALF(ROWS) \
    static void CK_NAME(tile_##ROWS##_0)(const ck_attention_tile *t) { tile_half(*t, ROWS); }
#else
#define TILE_HALF(ROWS) \
    static void CK_NAME(tile_##ROWS##_0)(const ck_attention_tile *t) { (void)t; }
#endif

// A function for each number of rows, so that an uneven last tile costs no more than its share.
#define TILES(ROWS)                                                                             \
    TILE_HALF(ROWS)                                                                             \
    static void CK_NAME(tile_##ROWS##_1)(const ck_attention_tile *t) { tile_full(*t, ROWS, 1); } \
    static void CK_NAME(tile_##ROWS##_2)(const ck_attention_tile *t) { tile_full(*t, ROWS, 2); }
#define TILE_NAMES(ROWS) {CK_NAME(tile_##ROWS##_0), CK_NAME(tile_##ROWS##_1), CK_NAME(tile_##ROWS##_2)}

TILES(1) TILES(2) TILES(3) TILES(4)
#if TILE_ROWS > 4
TILES(5) TILES(6)
#endif
#if TILE_ROWS > 6
TILES(7) TILES(8) TILES(9) TILES(10) TILES(11) TILES(12)
#endif

// By rows - 1 and whole vectors of columns.
#define tiles CK_NAME(tiles)
static void (*const tiles[TILE_ROWS][3])(const ck_attention_tile *) = {
    TILE_NAMES(1), TILE_NAMES(2), TILE_NAMES(3), TILE_NAMES(4),
#if TILE_ROWS > 4
    TILE_NAMES(5), TILE_NAMES(6),
#endif
#if TILE_ROWS > 6
    TILE_NAMES(7), TILE_NAMES(8), TILE_NAMES(9), TILE_NAMES(10), TILE_NAMES(11), TILE_NAMES(12),
#endif
};

// Keys [L, D] to panels [D][width], zeros in the columns beyond L; with `cosine` every key divided by its norm.
#define pack_keys CK_NAME(pack_keys)
CK_INLINE void pack_keys(const float *x, int64_t stride, int64_t tokens, int64_t depth, bool cosine, float *to) {
    for (int64_t c0 = 0; c0 < tokens;) {
        const int64_t width = panel_width(tokens - c0);
        for (int64_t c = c0; c < c0 + width && c < tokens; c += CK_VL) {
            float *column = to + (c - c0);
            vf squares = v_splat(0);
            for (int64_t d = 0; d < depth; d += CK_VL) {
                const int64_t lanes = depth - d < CK_VL ? depth - d : CK_VL;
                vf v[CK_VL];
#pragma clang loop unroll(full)
                for (int i = 0; i < CK_VL; i++)
                    v[i] = c + i < tokens ? v_load_n(x + (c + i) * stride + d, lanes) : v_splat(0);
#pragma clang loop unroll(full)
                for (int n = 1; n < CK_VL; n *= 2) {
                    vf w[CK_VL];
#pragma clang loop unroll(full)
                    for (int i = 0; i < CK_VL / 2; i++) {
                        w[2 * i] = interleave(v[i], v[i + CK_VL / 2], false);
                        w[2 * i + 1] = interleave(v[i], v[i + CK_VL / 2], true);
                    }
#pragma clang loop unroll(full)
                    for (int i = 0; i < CK_VL; i++) v[i] = w[i];
                }
#pragma clang loop unroll(full)
                for (int i = 0; i < CK_VL; i++) {
                    if (i >= lanes) break;
                    squares = v[i] * v[i] + squares;
                    v_store_n(column + (d + i) * width, v[i], width < CK_VL ? width : CK_VL);
                }
            }
            if (cosine) {
                const int64_t lanes = width < CK_VL ? width : CK_VL;
                const vf factor = 1.0f / v_max(v_splat(1e-12f), __builtin_elementwise_sqrt(squares));
                for (int64_t d = 0; d < depth; d++)
                    v_store_n(column + d * width, v_load_n(column + d * width, lanes) * factor, lanes);
            }
        }
        to += width * depth;
        c0 += width;
    }
}

// Values [L, D] to panels [L][width], zeros in the columns beyond D.
#define pack_values CK_NAME(pack_values)
CK_INLINE void pack_values(const float *x, int64_t stride, int64_t tokens, int64_t depth, float *to) {
    for (int64_t d = 0; d < depth;) {
        const int64_t width = panel_width(depth - d);
        for (int64_t r = 0; r < tokens; r++, to += width) {
            for (int64_t j = 0; j < width; j += CK_VL) {
                const int64_t rest = depth - d - j, lanes = rest < CK_VL ? rest : CK_VL;
                v_store_n(to + j, v_load_n(x + r * stride + d + j, lanes), width < CK_VL ? width : CK_VL);
            }
        }
        d += width;
    }
}

// Queries times the factor and log2(e); with `cosine` divided by their norms too.
#define pack_queries CK_NAME(pack_queries)
CK_INLINE void pack_queries(const float *x, int64_t x_stride, int64_t rows, int64_t depth, bool cosine, float factor,
                            float *to, int64_t stride) {
    float squares[TILE_ROWS * CK_VL], factors[16];
    if (cosine) {
        for (int64_t r = 0; r < rows; r++) {
            vf sum = v_splat(0);
            V_EACH(d, depth, lanes, {
                const vf v = v_load_n(x + r * x_stride + d, lanes);
                sum = v * v + sum;
            });
            v_store(squares + r * CK_VL, sum);
        }
        reduce_rows(squares, rows, true, factors);
        for (int64_t r = 0; r < rows; r += CK_VL) {
            const vf norm = v_max(v_splat(1e-12f), __builtin_elementwise_sqrt(v_load(factors + r)));
            v_store(factors + r, factor * CK_LOG2_E / norm);
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        const vf f = v_splat(cosine ? factors[r] : factor * CK_LOG2_E);
        V_EACH(d, depth, lanes, v_store_n(to + r * stride + d, v_load_n(x + r * x_stride + d, lanes) * f, lanes););
    }
}

// Scores to weights, which are not yet divided by their sum; the sums' reciprocals.
#define softmax_rows CK_NAME(softmax_rows)
CK_INLINE void softmax_rows(float *scores, int64_t stride, int64_t rows, int64_t padded, const float *largest,
                            float *factors) {
    float sums[TILE_ROWS * CK_VL], maxima[16];
    reduce_rows(largest, rows, false, maxima);
    for (int64_t r = 0; r < rows; r++) {
        const vf most = v_splat(maxima[r]);
        vf sum = v_splat(0);
        float *row = scores + r * stride;
        for (int64_t c = 0; c < padded; c += CK_VL) {
            const vf e = v_exp2(v_load(row + c) - most);
            v_store(row + c, e);
            sum += e;
        }
        v_store(sums + r * CK_VL, sum);
    }
    reduce_rows(sums, rows, true, factors);
    for (int64_t r = 0; r < rows; r += CK_VL) v_store(factors + r, 1.0f / v_load(factors + r));
}

static void CK_NAME(ck_attention_run)(const ck_attention *s, const float *x, const float *head_factors,
                                      const float *addends, float *y, int64_t begin, int64_t end, float *scratch) {
    const ck_attention_layout places = ck_attention_places(s);
    float *keys = scratch + places.keys, *values = scratch + places.values;
    float *queries = scratch + places.queries, *scores = scratch + places.scores;
    const int64_t tokens = s->tokens, depth = s->depth, stride = ck_scores_stride(tokens);
    const int64_t addend_stride = ck_padded(tokens), padded = (tokens + CK_VL - 1) / CK_VL * CK_VL;
    const float *flags = addends + ck_bias_floats(s), *masks = flags + ck_padded(s->windows);
    float largest[TILE_ROWS * CK_VL], factors[16];
    const int64_t count = (tokens + TILE_ROWS - 1) / TILE_ROWS;
    int64_t packed = -1;
    for (int64_t unit = begin; unit < end; unit++) {
        const int64_t pair = unit / s->splits, split = unit % s->splits;
        const int64_t sequence = pair / s->heads, head = pair % s->heads;
        const float *q = x + sequence * tokens * s->x_stride + head * depth;
        float *out = y + sequence * tokens * s->y_stride + head * depth;
        if (packed != pair) {
            pack_keys(q + s->heads * depth, s->x_stride, tokens, depth, s->cosine, keys);
            pack_values(q + 2 * s->heads * depth, s->x_stride, tokens, depth, values);
            packed = pair;
        }
        const float *bias = addends + (s->has_bias ? head * tokens * addend_stride : 0), *mask = 0;
        if (s->has_mask && flags[sequence % s->windows] != 0)
            mask = masks + sequence % s->windows * tokens * addend_stride;
        for (int64_t i = count * split / s->splits; i < count * (split + 1) / s->splits; i++) {
            const int64_t row = tokens * i / count, rows = tokens * (i + 1) / count - row;
            pack_queries(q + row * s->x_stride, s->x_stride, rows, depth, s->cosine,
                         s->cosine ? head_factors[head] : s->scale, queries, ck_padded(depth));
            ck_attention_tile t = {.a = queries, .a_stride = ck_padded(depth), .depth = depth, .b = keys,
                                   .bias_stride = s->has_bias ? addend_stride : 0, .mask_stride = addend_stride,
                                   .largest = largest, .y_stride = stride};
            for (int64_t r = 0; r < rows; r++) v_store(largest + r * CK_VL, v_splat(-INFINITY));
            for (int64_t c = 0; c < tokens;) {
                const int64_t width = panel_width(tokens - c);
                t.bias = bias + row * t.bias_stride + c;
                t.mask = mask ? mask + row * addend_stride + c : 0;
                t.y = scores + c;
                tiles[rows - 1][width / CK_VL](&t);
                t.b += width * depth;
                c += width;
            }
            softmax_rows(scores, stride, rows, padded, largest, factors);
            t = (ck_attention_tile){.a = scores, .a_stride = stride, .depth = tokens, .b = values, .factors = factors,
                                    .y_stride = s->y_stride};
            for (int64_t d = 0; d < depth;) {
                const int64_t width = panel_width(depth - d);
                t.y = out + row * s->y_stride + d;
                t.lanes = depth - d;
                tiles[rows - 1][width / CK_VL](&t);
                t.b += width * tokens;
                d += width;
            }
        }
    }
}

#undef TILE_ROWS
#undef HALF_PANEL
#undef TILE_SUMS
#undef TILE_HALF
#undef TILES
#undef TILE_NAMES
