// One level of Strassen's multiplication, in Winograd's form, of tiles that lie in the first-level cache: two tiles of
// rows times two panels, each divided into the first and the second half of a sum's terms, take seven products of halves
// instead of eight.
//
//     A11 A12     the upper tile's two halves        B11 B12     the panels' first halves
//     A21 A22     the lower one's                    B21 B22     and second ones
//
//     S1 = A21 + A22   S2 = S1 - A11   S3 = A11 - A21   S4 = A12 - S2
//     T1 = B12 - B11   T2 = B22 - T1   T3 = B22 - B12   T4 = T2 - B21
//
//     C11 = A11 B11 + A12 B21
//     C12 = A11 B11 + S2 T2 + S1 T1 + S4 B22
//     C21 = A11 B11 + S2 T2 + S3 T3 - A22 T4
//     C22 = A11 B11 + S2 T2 + S3 T3 + S1 T1
//
// The S are computed once for a block of tiles and a part of the terms. The T of two panels are computed while the two
// panels before them are multiplied, some vectors with each product, where the additions and stores fill what the
// multiply-adds leave free (one thread of a Zen 4, 196 x 512 x 1024: 125 to 128 GFLOP/s; 49 x 1024 x 2048, where they would cost as
// much as the eighth product: 116 to 124). For a Zen 5: see ck_strassen_suits.

enum { CK_S1, CK_S2, CK_S3, CK_S4, CK_A11, CK_A12, CK_A22 };
enum { CK_T1, CK_T2, CK_T3, CK_T4, CK_B11, CK_B21, CK_B22 };

// The products in the order in which they are computed.
static const struct {
    int a, b;
    bool adds;  // to the sums of the product before
    struct {
        int quarter;  // of the result, by rows: C11 C12 C21 C22; -1: none
        bool first;   // the quarter has nothing but the bias yet
        bool last;    // nothing more will come
        float sign;
    } to[2];
} ck_strassen_products[7] = {
    {CK_A11, CK_B11, false, {{0, true, false, 1}, {-1}}},
    {CK_S2, CK_T2, true, {{1, true, false, 1}, {-1}}},
    {CK_S3, CK_T3, true, {{2, true, false, 1}, {3, true, false, 1}}},
    {CK_A12, CK_B21, false, {{0, false, true, 1}, {-1}}},
    {CK_S1, CK_T1, false, {{1, false, false, 1}, {3, false, true, 1}}},
    {CK_S4, CK_B22, false, {{1, false, true, 1}, {-1}}},
    {CK_A22, CK_T4, false, {{2, false, true, -1}, {-1}}},
};

typedef struct {
    const float *const *rows;  // pointers to the inputs of the rows
    int64_t offset;            // floats from those pointers to the first input
    const float *weight;       // [length, width]
    bool adds;                 // to the sums of the product before
    int64_t next, next_end;    // the elements of the next panels' T that are computed meanwhile, a vector after every
    int64_t next_step;         // next_step terms
    struct {
        float *sums;         // [rows, 2 width], of which a half: start + sign sums; null: nothing
        const float *start;  // [rows, 2 width] as sums, or with start_step = 0 the same for all rows
        int64_t start_step;
        float sign;
        int result;  // number of the result where they go instead of to `sums`; -1: none
    } to[2];
} ck_strassen_product;

// The weights of two panels for a part of the terms and their T, `count` floats each.
typedef struct {
    const float *b11, *b21, *b12, *b22;
    float *t1, *t2, *t3, *t4;
    int64_t count;
} ck_strassen_weights;

typedef struct {
    ck_strassen_product products[7];
    int64_t length;            // of a product's sums
    ck_strassen_weights next;  // whose T are computed meanwhile
    ck_packed_result results[4];
    int64_t begin[4];          // the first of a result's rows that is stored
} ck_strassen_tile;

// Two tiles: the first rows of both, and the upper one's height, which is the lower one's too; the lower one's first row
// may be the upper one's last.
typedef struct {
    int64_t upper, lower, height;
} ck_strassen_pair;

static inline ck_strassen_pair ck_strassen_pair_at(const ck_packed_block *block, int64_t tile) {
    const int64_t upper = ck_packed_tile_row(block, tile), height = ck_packed_tile_row(block, tile + 1) - upper;
    return (ck_strassen_pair){upper, ck_packed_tile_row(block, tile + 2) - height, height};
}

// A part of a sum's terms: `half` from `first` on and as many behind them.
typedef struct {
    int64_t first, half;
    int64_t stride;  // floats from one row of the S to the next
    bool is_last;
} ck_strassen_part;

// The vector from element i on of each T.
#define add_weights CK_NAME(add_weights)
CK_INLINE void add_weights(const ck_strassen_weights *w, int64_t i) {
    const vf w12 = v_load(w->b12 + i), w22 = v_load(w->b22 + i), w1 = w12 - v_load(w->b11 + i), w2 = w22 - w1;
    v_store(w->t1 + i, w1);
    v_store(w->t2 + i, w2);
    v_store(w->t3 + i, w22 - w12);
    v_store(w->t4 + i, w2 - v_load(w->b21 + i));
}

// The same while others are multiplied: what will be read soon comes to the second-level cache.
#define add_weights_meanwhile CK_NAME(add_weights_meanwhile)
CK_INLINE void add_weights_meanwhile(const ck_strassen_weights *w, int64_t i) {
    const float *const from[] = {w->b11 + i, w->b21 + i, w->b12 + i, w->b22 + i};
    UNROLL for (int quarter = 0; quarter < 4; quarter++) __builtin_prefetch(from[quarter] + 8 * CK_VL, 0, 2);
    add_weights(w, i);
}

// A row of a result comes to the cache: rows are far apart, nothing else would fetch them before they are needed.
#define fetch_result CK_NAME(fetch_result)
CK_INLINE void fetch_result(const ck_packed_result *result, int64_t i) {
    const int64_t row = result->y_rows ? result->y_rows[i] : i;
    if (row < 0) return;
    const float *y = result->y + row * result->y_stride;
    __builtin_prefetch(y, 1);
    __builtin_prefetch(y + CK_VL, 1);
    if (!result->residual || result->residual == result->y) return;
    const float *residual = result->residual + row * result->residual_stride;
    __builtin_prefetch(residual);
    __builtin_prefetch(residual + CK_VL);
}

// All seven products; rows is a constant where this is inlined, and a panel 2 CK_VL wide.
#define strassen_tile CK_NAME(strassen_tile)
CK_INLINE void strassen_tile(const ck_strassen_tile *tile, const int rows) {
    const int64_t length = tile->length;
    vf sum[TILE_ROWS][2];
    for (int m = 0; m < 7; m++) {
        const ck_strassen_product *p = tile->products + m;
        const float *w = p->weight, *x[TILE_ROWS];
        UNROLL for (int i = 0; i < rows; i++) x[i] = p->rows[i] + p->offset;
        if (!p->adds) UNROLL for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = v_splat(0);
        int64_t next = p->next, due = 0;
        for (int64_t k = 0; k < length;) {
            // Four terms, and what is done meanwhile: at once it would wait (196 x 512 x 1024 with a residual from afar: 111
            // GFLOP/s, so 120).
            if (m < 4 && k < 4 * rows) fetch_result(tile->results + m, k / 4);
            for (; next < p->next_end && due <= k; next += CK_VL, due += p->next_step)
                add_weights_meanwhile(&tile->next, next);
            const int64_t end = ck_least(length, k + 4);
            for (; k < end; k++, w += 2 * CK_VL) {
                const vf w0 = v_load(w), w1 = v_load(w + CK_VL);
                UNROLL for (int i = 0; i < rows; i++) {
                    const float value = x[i][k];
                    sum[i][0] = value * w0 + sum[i][0];
                    sum[i][1] = value * w1 + sum[i][1];
                }
            }
        }
        for (; next < p->next_end; next += CK_VL) add_weights(&tile->next, next);
        for (int t = 0; t < 2 && p->to[t].sums; t++) {
            float *sums = p->to[t].sums;
            const float *start = p->to[t].start, sign = p->to[t].sign;
            const int64_t step = p->to[t].start_step;
            if (p->to[t].result < 0) {
                UNROLL for (int i = 0; i < rows; i++, sums += 4 * CK_VL, start += step) {
                    v_store(sums, sign * sum[i][0] + v_load(start));
                    v_store(sums + CK_VL, sign * sum[i][1] + v_load(start + CK_VL));
                }
                continue;
            }
            const ck_packed_result *result = tile->results + p->to[t].result;
            const float low = result->low, high = result->high;
            const int64_t begin = tile->begin[p->to[t].result];
            UNROLL for (int i = 0; i < rows; i++, start += step) {
                const int64_t row = result->y_rows ? result->y_rows[i] : i;
                if (i < begin || row < 0) continue;
                vf y0 = sign * sum[i][0] + v_load(start), y1 = sign * sum[i][1] + v_load(start + CK_VL);
                if (result->residual) {
                    const float *residual = result->residual + row * result->residual_stride;
                    y0 += v_load(residual);
                    y1 += v_load(residual + CK_VL);
                }
                float *y = result->y + row * result->y_stride;
                v_store(y, v_clamp(y0, low, high));
                v_store(y + CK_VL, v_clamp(y1, low, high));
            }
        }
    }
}

#define STRASSEN_FUNCTION(rows, width) \
    static void CK_NAME(strassen_tile_##rows)(const ck_strassen_tile *t) { strassen_tile(t, rows); }
#define STRASSEN_NAME(rows, width) CK_NAME(strassen_tile_##rows),

FOR_EACH_ROWS(STRASSEN_FUNCTION, )

// [rows - 1]
#define strassen_tiles CK_NAME(strassen_tiles)
static void (*const strassen_tiles[TILE_ROWS])(const ck_strassen_tile *) = {FOR_EACH_ROWS(STRASSEN_NAME, )};

// The S of a block's pairs of tiles for a part of the terms: [pair][S][row][half].
#define strassen_rows CK_NAME(strassen_rows)
static void strassen_rows(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end,
                          ck_strassen_part part) {
    const int64_t next = run->conv->tile * part.stride;
    float *sums = run->row_sums;
    const int64_t ahead = 2 * run->conv->strides.x;  // the row after the next one comes to the cache meanwhile
    for (int64_t t = block->tile; t < tile_end; t += 2, sums += 4 * next) {
        const ck_strassen_pair pair = ck_strassen_pair_at(block, t);
        for (int64_t i = 0; i < pair.height; i++) {
            const float *a11 = run->pointers[pair.upper - block->row + i] + part.first, *a12 = a11 + part.half;
            const float *a21 = run->pointers[pair.lower - block->row + i] + part.first, *a22 = a21 + part.half;
            float *to = sums + i * part.stride;
            V_EACH(k, part.half, lanes, {
                __builtin_prefetch(a11 + ahead + k);
                __builtin_prefetch(a12 + ahead + k);
                __builtin_prefetch(a21 + ahead + k);
                __builtin_prefetch(a22 + ahead + k);
                const vf x11 = v_load_n(a11 + k, lanes), x12 = v_load_n(a12 + k, lanes);
                const vf x21 = v_load_n(a21 + k, lanes), x22 = v_load_n(a22 + k, lanes);
                const vf s1 = x21 + x22, s2 = s1 - x11;
                v_store_n(to + CK_S1 * next + k, s1, lanes);
                v_store_n(to + CK_S2 * next + k, s2, lanes);
                v_store_n(to + CK_S3 * next + k, x11 - x21, lanes);
                v_store_n(to + CK_S4 * next + k, x12 - s2, lanes);
            });
        }
    }
}

// The two panels from `panel` on, of full width, for a part of the terms of a block of pairs of tiles, while the T of the
// next ones are computed if `adds_next`: sums[row of the block][2 width], which begin with the bias in the first part and
// are finished in the last.
#define strassen_panels CK_NAME(strassen_panels)
static void strassen_panels(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end,
                            ck_strassen_part part, ck_packed_panel panel, const ck_strassen_weights *these,
                            const ck_strassen_weights *next, bool adds_next, float *sums) {
    const ck_packed_conv *conv = run->conv;
    const int64_t width = 2 * CK_VL;
    const float *weights[] = {
        [CK_T1] = these->t1, [CK_T2] = these->t2, [CK_T3] = these->t3, [CK_T4] = these->t4,
        [CK_B11] = these->b11, [CK_B21] = these->b21, [CK_B22] = these->b22};
    const float *bias[] = {run->bias, run->bias};  // zeros
    if (run->operands->bias)
        for (int i = 0; i < 2; i++) bias[i] = run->operands->bias + panel.o + i * width;
    const bool stores = run->direct && part.is_last;
    const int64_t products = (tile_end - block->tile) / 2 * 7, vectors = adds_next ? next->count / CK_VL : 0;
    int64_t product = 0;
    for (int64_t t = block->tile; t < tile_end; t += 2) {
        const ck_strassen_pair pair = ck_strassen_pair_at(block, t);
        float *upper_sums = sums + (t - block->tile) * conv->tile * 2 * width;
        float *lower_sums = upper_sums + pair.height * 2 * width;
        float *quarters[] = {upper_sums, upper_sums + width, lower_sums, lower_sums + width};
        const float *row_sums[4][TILE_ROWS];
        for (int i = 0; i < 4; i++)
            for (int64_t r = 0; r < pair.height; r++)
                row_sums[i][r] = run->row_sums + ((2 * (t - block->tile) + i) * conv->tile + r) * part.stride;
        const float *const *upper = run->pointers + pair.upper - block->row;
        const float *const *lower = run->pointers + pair.lower - block->row;
        const float *const *rows[] = {
            [CK_S1] = row_sums[0], [CK_S2] = row_sums[1], [CK_S3] = row_sums[2], [CK_S4] = row_sums[3],
            [CK_A11] = upper, [CK_A12] = upper, [CK_A22] = lower};
        const int64_t offsets[] = {
            [CK_A11] = part.first, [CK_A12] = part.first + part.half, [CK_A22] = part.first + part.half};
        ck_strassen_tile tile = {.length = part.half, .next = *next};
        for (int m = 0; m < 7; m++, product++) {
            ck_strassen_product *p = tile.products + m;
            *p = (ck_strassen_product){
                .rows = rows[ck_strassen_products[m].a], .offset = offsets[ck_strassen_products[m].a],
                .weight = weights[ck_strassen_products[m].b], .adds = ck_strassen_products[m].adds,
                .next = vectors * product / products * CK_VL, .next_end = vectors * (product + 1) / products * CK_VL};
            p->next_step = ck_most(1, part.half / ck_most(1, (p->next_end - p->next) / CK_VL));
            for (int d = 0; d < 2; d++) {
                const int quarter = ck_strassen_products[m].to[d].quarter;
                if (quarter < 0) continue;
                const bool from_bias = part.first == 0 && ck_strassen_products[m].to[d].first;
                p->to[d].sums = quarters[quarter];
                p->to[d].start = from_bias ? bias[quarter % 2] : quarters[quarter];
                p->to[d].start_step = from_bias ? 0 : 2 * width;
                p->to[d].sign = ck_strassen_products[m].to[d].sign;
                p->to[d].result = stores && ck_strassen_products[m].to[d].last ? quarter : -1;
            }
        }
        // The lower tile's first row may be the upper one's too, which is stored with that one.
        const int64_t begin = pair.upper + pair.height, both = begin - pair.lower;
        for (int quarter = 0; quarter < 4; quarter++) {
            const int64_t row = quarter >= 2 ? pair.lower : pair.upper;
            tile.results[quarter] = packed_result(run, block, row, panel.o + quarter % 2 * width);
            tile.begin[quarter] = quarter >= 2 ? both : 0;
        }
        strassen_tiles[pair.height - 1](&tile);
        if (stores || !part.is_last) continue;
        finish(run, upper_sums, 2 * width, pair.upper, pair.height, tile.results[0].y_rows, panel.o, 2 * width);
        const int64_t *y_rows = tile.results[2].y_rows ? tile.results[2].y_rows + both : NULL;
        finish(run, lower_sums + both * 2 * width, 2 * width, begin, pair.height - both, y_rows, panel.o, 2 * width);
    }
}

#define strassen_part CK_NAME(strassen_part)
static ck_strassen_part strassen_part(const ck_packed_run *run, int64_t k) {
    const int64_t half = run->length / 2, begin = half * k / run->parts, end = half * (k + 1) / run->parts;
    return (ck_strassen_part){2 * begin, end - begin, ck_strassen_stride(run->conv), k == run->parts - 1};
}

// The weights of two panels for a part of the terms, and one of two places for their T.
#define strassen_weights CK_NAME(strassen_weights)
static ck_strassen_weights strassen_weights(const ck_packed_run *run, ck_strassen_part part, ck_packed_panel panel,
                                            int64_t place) {
    const int64_t width = 2 * CK_VL, count = part.half * width;
    const float *b11 = run->weights + panel.weights + part.first * width, *b12 = b11 + run->column * width;
    float *t1 = run->weight_sums + place * 4 * part.stride * width;
    return (ck_strassen_weights){b11, b11 + count, b12, b12 + count, t1, t1 + count, t1 + 2 * count, t1 + 3 * count, count};
}

// Pairs of full panels from panel_begin on, for a block of pairs of tiles; returns the panel behind them.
//
// The two places of the T take turns; behind the last panels come the first ones again, for the unit's next block of tiles.
#define strassen_block CK_NAME(strassen_block)
static int64_t strassen_block(const ck_packed_run *run, ck_packed_block *block, int64_t tile_end, int64_t panel_begin,
                              int64_t panel_end, ck_packed_panel *panel) {
    const int64_t pairs = (ck_least(run->full_panels, panel_end) - panel_begin) / 2, count = pairs * run->parts;
    if (pairs <= 0) return panel_begin;
    const ck_packed_panel first = *panel;
    const bool ends = tile_end == block->tiles;
    int64_t place = block->weight_sums;
    ck_strassen_weights next = strassen_weights(run, strassen_part(run, 0), first, place);
    if (block->tile == 0)
        for (int64_t i = 0; i < next.count; i += CK_VL) add_weights(&next, i);
    for (int64_t k = 0, number = 0; k < run->parts; k++) {
        const ck_strassen_part part = strassen_part(run, k);
        strassen_rows(run, block, tile_end, part);
        *panel = first;
        for (int64_t p = 0; p < pairs; p++) {
            // The sums of all panels are kept between parts.
            const int64_t kept = run->parts > 1 ? p * run->conv->tile_block * run->conv->tile * 4 * CK_VL : 0;
            const ck_packed_panel panels = *panel;
            const ck_strassen_weights these = next;
            for (int i = 0; i < 2; i++) *panel = ck_packed_panel_next(run->conv, run->group_outputs, run->column, *panel);
            const bool in_part = p + 1 < pairs, is_last = ++number == count;
            place = 1 - place;
            next = strassen_weights(run, strassen_part(run, in_part ? k : (k + 1) % run->parts),
                                    in_part ? *panel : first, place);
            strassen_panels(run, block, tile_end, part, panels, &these, &next, !(ends && is_last), run->sums + kept);
        }
    }
    block->weight_sums = place;
    return panel_begin + 2 * pairs;
}
