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
// The S are computed once for a block of tiles and a part of the terms, the T once for two panels of these. For AVX-512
// alone: see ck_strassen_suits.

enum { CK_S1, CK_S2, CK_S3, CK_S4, CK_A11, CK_A12, CK_A22 };
enum { CK_T1, CK_T2, CK_T3, CK_T4, CK_B11, CK_B21, CK_B22 };

// The products in the order in which they are computed.
static const struct {
    int a, b;
    bool adds;  // to the sums of the product before
    struct {
        int quarter;  // of the result, by rows: C11 C12 C21 C22; -1: none
        bool first;   // the quarter has nothing but the bias yet
        float sign;
    } to[2];
} ck_strassen_products[7] = {
    {CK_A11, CK_B11, false, {{0, true, 1}, {-1}}},
    {CK_S2, CK_T2, true, {{1, true, 1}, {-1}}},
    {CK_S3, CK_T3, true, {{2, true, 1}, {3, true, 1}}},
    {CK_A12, CK_B21, false, {{0, false, 1}, {-1}}},
    {CK_S1, CK_T1, false, {{1, false, 1}, {3, false, 1}}},
    {CK_S4, CK_B22, false, {{1, false, 1}, {-1}}},
    {CK_A22, CK_T4, false, {{2, false, -1}, {-1}}},
};

typedef struct {
    const float *const *rows;  // pointers to the inputs of the rows
    int64_t offset;            // floats from those pointers to the first input
    const float *weight;       // [length, width]
    bool adds;                 // to the sums of the product before
    struct {
        float *y;            // [rows, 2 width], of which a half: y = start + sign sums; null: nothing
        const float *start;  // [rows, 2 width] as y, or with start_step = 0 the same for all rows
        int64_t start_step;
        float sign;
    } to[2];
} ck_strassen_product;

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

// All seven products; rows is a constant where this is inlined, and a panel 2 CK_VL wide.
#define strassen_tile CK_NAME(strassen_tile)
CK_INLINE void strassen_tile(const ck_strassen_product *products, const int64_t length, const int rows) {
    vf sum[TILE_ROWS][2];
    for (int m = 0; m < 7; m++) {
        const ck_strassen_product *p = products + m;
        const float *w = p->weight, *x[TILE_ROWS];
        UNROLL for (int i = 0; i < rows; i++) x[i] = p->rows[i] + p->offset;
        if (!p->adds) UNROLL for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = v_splat(0);
        for (int64_t k = 0; k < length; k++, w += 2 * CK_VL) {
            const vf w0 = v_load(w), w1 = v_load(w + CK_VL);
            UNROLL for (int i = 0; i < rows; i++) {
                const float value = x[i][k];
                sum[i][0] = value * w0 + sum[i][0];
                sum[i][1] = value * w1 + sum[i][1];
            }
        }
        for (int t = 0; t < 2 && p->to[t].y; t++) {
            float *y = p->to[t].y;
            const float *start = p->to[t].start, sign = p->to[t].sign;
            const int64_t step = p->to[t].start_step;
            UNROLL for (int i = 0; i < rows; i++, y += 4 * CK_VL, start += step) {
                v_store(y, sign * sum[i][0] + v_load(start));
                v_store(y + CK_VL, sign * sum[i][1] + v_load(start + CK_VL));
            }
        }
    }
}

#define STRASSEN_FUNCTION(rows, width) \
    static void CK_NAME(strassen_tile_##rows)(const ck_strassen_product *p, int64_t n) { strassen_tile(p, n, rows); }
#define STRASSEN_NAME(rows, width) CK_NAME(strassen_tile_##rows),

FOR_EACH_ROWS(STRASSEN_FUNCTION, )

// [rows - 1]
#define strassen_tiles CK_NAME(strassen_tiles)
static void (*const strassen_tiles[TILE_ROWS])(const ck_strassen_product *, int64_t) = {
    FOR_EACH_ROWS(STRASSEN_NAME, )};

// The S of a block's pairs of tiles for a part of the terms: [pair][S][row][half].
#define strassen_rows CK_NAME(strassen_rows)
static void strassen_rows(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end,
                          ck_strassen_part part) {
    const int64_t next = run->conv->tile * part.stride;
    float *sums = run->row_sums;
    for (int64_t t = block->tile; t < tile_end; t += 2, sums += 4 * next) {
        const ck_strassen_pair pair = ck_strassen_pair_at(block, t);
        for (int64_t i = 0; i < pair.height; i++) {
            const float *a11 = run->pointers[pair.upper - block->row + i] + part.first, *a12 = a11 + part.half;
            const float *a21 = run->pointers[pair.lower - block->row + i] + part.first, *a22 = a21 + part.half;
            float *to = sums + i * part.stride;
            V_EACH(k, part.half, lanes, {
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

// The two panels from `panel` on, of full width, for a part of the terms of a block of pairs of tiles:
// sums[row of the block][2 width], which begin with the bias in the first part and are finished in the last.
#define strassen_panels CK_NAME(strassen_panels)
static void strassen_panels(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end,
                            ck_strassen_part part, ck_packed_panel panel, float *sums) {
    const ck_packed_conv *conv = run->conv;
    const int64_t width = 2 * CK_VL, count = part.half * width;
    const float *b11 = run->weights + panel.weights + part.first * width, *b21 = b11 + count;
    const float *b12 = b11 + run->terms * width, *b22 = b12 + count;
    float *t1 = run->weight_sums, *t2 = t1 + count, *t3 = t2 + count, *t4 = t3 + count;
    for (int64_t i = 0; i < count; i += CK_VL) {
        const vf w12 = v_load(b12 + i), w22 = v_load(b22 + i), w1 = w12 - v_load(b11 + i), w2 = w22 - w1;
        v_store(t1 + i, w1);
        v_store(t2 + i, w2);
        v_store(t3 + i, w22 - w12);
        v_store(t4 + i, w2 - v_load(b21 + i));
    }
    const float *weights[] = {
        [CK_T1] = t1, [CK_T2] = t2, [CK_T3] = t3, [CK_T4] = t4, [CK_B11] = b11, [CK_B21] = b21, [CK_B22] = b22};
    const float *bias[] = {run->bias, run->bias};  // zeros
    if (run->operands->bias)
        for (int i = 0; i < 2; i++) bias[i] = run->operands->bias + panel.o + i * width;
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
        ck_strassen_product products[7];
        for (int m = 0; m < 7; m++) {
            const int a = ck_strassen_products[m].a, b = ck_strassen_products[m].b;
            products[m] = (ck_strassen_product){
                .rows = rows[a], .offset = offsets[a], .weight = weights[b], .adds = ck_strassen_products[m].adds};
            for (int d = 0; d < 2; d++) {
                const int quarter = ck_strassen_products[m].to[d].quarter;
                if (quarter < 0) continue;
                const bool from_bias = part.first == 0 && ck_strassen_products[m].to[d].first;
                products[m].to[d].y = quarters[quarter];
                products[m].to[d].start = from_bias ? bias[quarter % 2] : quarters[quarter];
                products[m].to[d].start_step = from_bias ? 0 : 2 * width;
                products[m].to[d].sign = ck_strassen_products[m].to[d].sign;
            }
        }
        strassen_tiles[pair.height - 1](products, part.half);
        if (!part.is_last) continue;
        const int64_t *y_rows = run->extras->y_rows ? run->y_rows + pair.upper - block->row : NULL;
        finish(run, upper_sums, 2 * width, pair.upper, pair.height, y_rows, panel.o, 2 * width);
        // The lower tile without the row that may be the upper one's too.
        const int64_t begin = pair.upper + pair.height, both = begin - pair.lower;
        finish(run, lower_sums + both * 2 * width, 2 * width, begin, pair.height - both,
               y_rows ? y_rows + pair.height : NULL, panel.o, 2 * width);
    }
}

// Pairs of full panels from panel_begin on, for a block of pairs of tiles; returns the panel behind them.
#define strassen_block CK_NAME(strassen_block)
static int64_t strassen_block(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end,
                              int64_t panel_begin, int64_t panel_end, ck_packed_panel *panel) {
    const int64_t pairs = (ck_least(run->full_panels, panel_end) - panel_begin) / 2;
    if (pairs <= 0) return panel_begin;
    const ck_packed_panel first = *panel;
    for (int64_t k = 0; k < run->parts; k++) {
        const int64_t half = run->length / 2, begin = half * k / run->parts, end = half * (k + 1) / run->parts;
        const ck_strassen_part part = {
            2 * begin, end - begin, ck_strassen_stride(run->conv), k == run->parts - 1};
        strassen_rows(run, block, tile_end, part);
        *panel = first;
        for (int64_t p = 0; p < pairs; p++) {
            // The sums of all panels are kept between parts.
            const int64_t kept = run->parts > 1 ? p * run->conv->tile_block * run->conv->tile * 4 * CK_VL : 0;
            strassen_panels(run, block, tile_end, part, *panel, run->sums + kept);
            for (int i = 0; i < 2; i++) *panel = ck_packed_panel_next(run->conv, run->group_outputs, run->terms, *panel);
        }
    }
    return panel_begin + 2 * pairs;
}
