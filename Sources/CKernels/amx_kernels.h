// Packed convolution with the tiles of Intel's AMX, which multiply bfloat16 and add float32: 16 x 16 sums of 32 terms in the
// time in which vectors do a sixteenth of that, or less.
//
// A float is the sum of three bfloat16, exactly: itself rounded to 8 binary digits, the rest rounded to 8, and the rest of that.
// Of the nine products of two floats' parts the six largest are added,
//
//     x w  =  x1 w1 + (x1 w2 + x2 w1) + (x1 w3 + x2 w2 + x3 w1)  +  what is left out
//
// What is left out is 2^-27.4 of a product (root mean square of two million; at most 2^-24.2), less than what a multiply-add
// rounds off (2^-25.2; at most 2^-24), and the sums of many products have fewer roundings. Numbers beyond float32's normal ones
// differ: subnormal ones count as 0 here as elsewhere, parts below 2^-126 are lost, and an infinite input or weight, or one that
// rounding to 8 digits makes infinite (from 3.396e38 on), makes NaN.
//
// Two tiles of rows times two of outputs are summed at a time: with four tiles for the sums, each of the other four serves two
// products. Weights are split into parts when they are packed, and the rows of a block once for all panels. What vectors have to
// do is done between the tiles' products, which take long and run beside it: finishing the results of the pair before, splitting
// the rows of the next one, fetching weights.
//
// A core's tiles serve both of its hardware threads. Where another process is busy on the other one they take 2.5 times as long,
// and still longer if many follow each other closely: hence the NOPs (one core, GFLOP/s of float32 products without and with
// them: 385 and 385 alone, 97 and 150 beside another process, where vectors reach 160).

// In tile registers 0 to 3 are the sums: upper and lower rows, left and right outputs; 4 and 5 upper and lower rows of a part, 6
// and 7 left and right weights of one.
#define AMX_LOAD(tile, base, at) "tileloadd " #at "(%[" #base "],%[line]), %%tmm" #tile "\n"
#define AMX_MULTIPLY(sums, rows, weights)                                     \
    "tdpbf16ps %%tmm" #weights ", %%tmm" #rows ", %%tmm" #sums "\n"           \
    "nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\n"
// For upper and lower, rows of 64 bytes and parts of 1024, and w, parts of 2048.
#define AMX(...)                                                                                                 \
    __asm__ volatile(__VA_ARGS__ : : [upper] "r"(upper), [lower] "r"(lower), [w] "r"(w), [line] "r"((int64_t)64) \
                     : "memory")

#ifndef CK_AMX_KERNELS_H
#define CK_AMX_KERNELS_H

// Sums of a pair of tiles' rows that are yet to be finished.
typedef struct {
    const float *sums;      // [rows, width of a panel]
    const int64_t *y_rows;  // of the rows; null: row, row + 1, ...
    int64_t row, rows, finished;
    int64_t o, cols;
} ck_amx_results;

// A panel of weights for a part of the terms.
typedef struct {
    const float *weights, *bias;
    float *kept;  // sums that more terms will be added to, for each pair of a block's tiles
    int64_t o, cols;
} ck_amx_panel;

// A part of the terms of a pair of tiles is an item. All items before `item` have been split, and of this one the upper tile if
// `tile` is 1, and of a tile the steps before `step`; of the terms from `first` to `end` of a segment those of the rows before
// `row`, and of this row those before `term`.
typedef struct {
    int64_t item, items;                 // items: how many there is room for now
    int64_t part, pair, begin, behind;   // of the item; the first pair of its block, and the one behind its last
    int64_t tile, step, steps;           // steps: the one behind the part
    int64_t segment, first, end, row, term;
    int64_t rows;                        // of the tile
    const float *x;                      // the row's segment
    float *to;                           // where the terms of the tile's rows from `first` on go
} ck_amx_splitting;

// What is done between the products of tiles, a little at each opportunity: vectors have one port beside tiles, and where more
// waits for it than there is room for, the tiles wait behind it.
typedef struct {
    ck_amx_results results;
    ck_amx_splitting splitting;
    // Thousandths of a row that is finished at an opportunity, and of CK_AMX_PIECE terms of a row that are split.
    int64_t finish, finish_due, split, split_due;
    const float *next;  // weights that come to the second-level cache, next_lines of 16 floats at each opportunity
    int64_t next_lines;
} ck_amx_meanwhile;

// Opportunities between the products of a step.
#define CK_AMX_OPPORTUNITIES 6
#define CK_AMX_PIECE (2 * CK_AMX_TERMS)
// So many terms of all of a tile's rows are split before the next ones that what is written stays in the first-level cache.
#define CK_AMX_SPLIT (8 * CK_AMX_TERMS)

// What is in the tile registers: all 16 rows of 64 bytes.
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t columns[16];
    uint8_t rows[16];
} ck_amx_configuration;

static inline void ck_amx_begin(void) {
    static const ck_amx_configuration all = {
        .palette = 1,
        .columns = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    __asm__ volatile("ldtilecfg %0" : : "m"(all));
}

static inline void ck_amx_end(void) { __asm__ volatile("tilerelease"); }

// Subnormal numbers are numbers until `before` is restored, which this returns: so that parts of weights add up to these.
static inline unsigned ck_amx_with_subnormals(void) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before & ~0x8040u);
    return before;
}

#endif

#define vu CK_NAME(vu)
typedef uint32_t vu __attribute__((ext_vector_type(CK_VL)));

// The parts of 32 numbers, at to, to + part and to + 2 part: each word holds a number of the first vector in its lower half and
// of the second in its upper one.
#define amx_split CK_NAME(amx_split)
CK_INLINE void amx_split(vf first, vf second, float *to, int64_t part) {
    UNROLL for (int i = 0; i < CK_AMX_PARTS; i++) {
        // The last part has no more than 8 digits. Its being left as it is keeps the NaNs that the rounding carries over to 0.
        const vu high = (vu)(0xffff0000), half = (vu)(i == CK_AMX_PARTS - 1 ? 0 : 0x8000);
        const vu a = (vu)first + half, b = (vu)second + half;
        v_store(to + i * part, (vf)((a >> 16) | (b & high)));
        first -= (vf)(a & high);
        second -= (vf)(b & high);
    }
}

// The first step of a part.
static inline int64_t ck_amx_part(const ck_packed_run *run, int64_t part) { return run->amx_steps * part / run->parts; }

// Where an item lies, [tile][step][part of a float][row]: there is room for a block's pairs and one more.
static inline float *ck_amx_item(const ck_packed_run *run, int64_t item) {
    const int64_t places = run->conv->tile_block / 2 + 1, most = (run->amx_steps + run->parts - 1) / run->parts;
    return run->tiles + item % places * 2 * most * CK_AMX_PARTS * CK_AMX_TILE;
}

// Goes on with the terms from s->first on, as many as are split together.
static inline void ck_amx_split_from(const ck_packed_run *run, ck_amx_splitting *s) {
    const int64_t part = (s->steps - s->step) * CK_AMX_TERMS;
    s->end = ck_least(run->length, s->first + ck_least(CK_AMX_SPLIT, part));
}

// Where to go on behind a row's terms up to s->end.
static inline void ck_amx_split_next(const ck_packed_run *run, ck_amx_splitting *s) {
    if (++s->row >= s->rows) {
        const int64_t steps = (s->end - s->first + CK_AMX_TERMS - 1) / CK_AMX_TERMS;
        s->row = 0;
        s->to += steps * CK_AMX_PARTS * CK_AMX_TILE;
        s->step += steps;
        if (s->step == s->steps || s->rows == 0) {
            s->segment = -1;
            s->item += s->tile;
            s->pair += s->tile;
            s->tile = 1 - s->tile;
            return;
        }
        s->segment += s->end == run->length;
        s->first = s->end == run->length ? 0 : s->end;
        ck_amx_split_from(run, s);
    }
    s->term = s->first;
    s->x = run->pointers[s->segment * s->rows + s->row];
}

// The first row of a tile, or where there is none, the row behind the last.
static inline int64_t ck_amx_row(const ck_packed_block *block, int64_t tile) {
    return ck_packed_tile_row(block, ck_least(tile, block->tiles));
}

// Splits at most CK_AMX_PIECE of a row's terms.
#define amx_split_piece CK_NAME(amx_split_piece)
static void amx_split_piece(const ck_packed_run *run, const ck_packed_block *block, ck_amx_splitting *s) {
    const int64_t step = CK_AMX_PARTS * CK_AMX_TILE;
    if (s->segment < 0) {
        // The next tile: of the same item, pair, part or block.
        if (s->pair == s->behind && ++s->part == run->parts) {
            s->part = 0;
            s->begin = s->behind;
            s->behind = ck_least((block->tiles + 1) / 2, s->begin + run->conv->tile_block / 2);
        }
        if (s->pair == s->behind || s->pair < s->begin) s->pair = s->begin;
        const int64_t t = 2 * s->pair + s->tile, row = ck_amx_row(block, t);
        const int64_t most = (run->amx_steps + run->parts - 1) / run->parts, in_segment = run->amx_steps / run->segments;
        s->rows = ck_amx_row(block, t + 1) - row;
        s->to = ck_amx_item(run, s->item) + s->tile * most * step;
        point_at_tile(run, row, s->rows, 0);
        s->step = ck_amx_part(run, s->part);
        s->steps = ck_amx_part(run, s->part + 1);
        s->segment = s->step / in_segment;
        s->term = s->first = s->step % in_segment * CK_AMX_TERMS;
        s->row = 0;
        s->x = run->pointers[s->segment * s->rows];
        ck_amx_split_from(run, s);
    }
    if (s->rows > 0) {
        float *to = s->to + (s->term - s->first) / CK_AMX_TERMS * step + s->row * CK_AMX_TERMS / 2;
        const int64_t end = ck_least(s->end, s->term + CK_AMX_PIECE);
        for (; s->term + CK_AMX_TERMS <= end; s->term += CK_AMX_TERMS, to += step)
            amx_split(v_load(s->x + s->term), v_load(s->x + s->term + CK_VL), to, CK_AMX_TILE);
        const int64_t rest = end - s->term;
        if (rest > 0) {
            const float *x = s->x + s->term;
            const vf high = rest > CK_VL ? v_load_part(x + CK_VL, rest - CK_VL) : v_splat(0);
            amx_split(v_load_n(x, ck_least(rest, CK_VL)), high, to, CK_AMX_TILE);
            s->term = end;
        }
        if (end < s->end) return;
    }
    ck_amx_split_next(run, s);
}

#define amx_finish CK_NAME(amx_finish)
static void amx_finish(const ck_packed_run *run, ck_amx_results *results, int64_t most) {
    const int64_t at = results->finished, rows = ck_least(most, results->rows - at), width = run->conv->panel;
    results->finished += rows;
    finish(run, results->sums + at * width, width, results->row + at, rows,
           results->y_rows ? results->y_rows + at : NULL, results->o, results->cols);
}

#define amx_meanwhile CK_NAME(amx_meanwhile)
static void amx_meanwhile(const ck_packed_run *run, const ck_packed_block *block, ck_amx_meanwhile *m) {
    for (int64_t i = 0; i < m->next_lines; i++, m->next += 16) __builtin_prefetch(m->next, 0, 2);
    m->finish_due += m->finish;
    if (m->finish_due >= 1000 && m->results.finished < m->results.rows) {
        amx_finish(run, &m->results, m->finish_due / 1000);
        m->finish_due %= 1000;
    }
    for (m->split_due += m->split; m->split_due >= 1000; m->split_due -= 1000)
        if (m->splitting.item < m->splitting.items) amx_split_piece(run, block, &m->splitting);
}

// The sums of two tiles of rows and a panel for some steps; `height` rows after the upper tile's first come the lower one's. They
// start from `start`, whose rows are start_step floats apart.
#define amx_tiles CK_NAME(amx_tiles)
static void amx_tiles(const ck_packed_run *run, const ck_packed_block *block, int64_t steps, const float *upper,
                      const float *lower, const float *w, const float *start, int64_t start_step, int64_t height,
                      float *sums, ck_amx_meanwhile *m) {
    __asm__ volatile("tileloadd (%0,%2), %%tmm0\n tileloadd 64(%0,%2), %%tmm1\n"
                     "tileloadd (%1,%2), %%tmm2\n tileloadd 64(%1,%2), %%tmm3\n"
                     : : "r"(start), "r"(start + height * start_step), "r"(start_step * (int64_t)sizeof(float)) : "memory");
    AMX(AMX_LOAD(4, upper, 0) AMX_LOAD(6, w, 0) AMX_LOAD(7, w, 1024) AMX_LOAD(5, lower, 0));
    for (int64_t k = 1; k <= steps; k++) {
        // x1 w1
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 2048)
            AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(7, w, 3072));
        amx_meanwhile(run, block, m);
        // x1 w2
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 4096)
            AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(7, w, 5120));
        amx_meanwhile(run, block, m);
        // x1 w3
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_LOAD(4, upper, 1024)
            AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 2048) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(5, lower, 1024) AMX_LOAD(7, w, 3072));
        amx_meanwhile(run, block, m);
        // x2 w2
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 0)
            AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(7, w, 1024));
        amx_meanwhile(run, block, m);
        // x2 w1
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_LOAD(4, upper, 2048)
            AMX_MULTIPLY(2, 5, 6) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(5, lower, 2048));
        amx_meanwhile(run, block, m);
        // x3 w1
        if (k < steps)
            AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_LOAD(4, upper, 3072)
                AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 6144) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(5, lower, 3072) AMX_LOAD(7, w, 7168));
        else
            AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(2, 5, 6) AMX_MULTIPLY(3, 5, 7));
        amx_meanwhile(run, block, m);
        upper += CK_AMX_PARTS * CK_AMX_TILE;
        lower += CK_AMX_PARTS * CK_AMX_TILE;
        w += CK_AMX_PARTS * 2 * CK_AMX_TILE;
    }
    // The lower tile over those rows of the upper one that are none.
    const int64_t width = run->conv->panel;
    __asm__ volatile("tilestored %%tmm0, (%0,%2)\n tilestored %%tmm1, 64(%0,%2)\n"
                     "tilestored %%tmm2, (%1,%2)\n tilestored %%tmm3, 64(%1,%2)\n"
                     : : "r"(sums), "r"(sums + height * width), "r"(width * (int64_t)sizeof(float)) : "memory");
}

// The same sums of one tile of rows and two panels, in the same order. All their rows of weights and sums are 16.
#define amx_tile CK_NAME(amx_tile)
static void amx_tile(const ck_packed_run *run, const ck_packed_block *block, int64_t steps, const float *rows,
                     const float *const w[2], const float *const start[2], int64_t start_step, float *const sums[2],
                     ck_amx_meanwhile *m) {
    static const int row_parts[CK_AMX_OPPORTUNITIES] = {0, 0, 0, 1, 1, 2}, weight_parts[] = {0, 1, 2, 1, 0, 0};
    __asm__ volatile("tileloadd (%0,%2), %%tmm0\n tileloadd 64(%0,%2), %%tmm1\n"
                     "tileloadd (%1,%2), %%tmm2\n tileloadd 64(%1,%2), %%tmm3\n"
                     : : "r"(start[0]), "r"(start[1]), "r"(start_step * (int64_t)sizeof(float)) : "memory");
    for (int64_t k = 0; k < steps; k++) {
        UNROLL for (int i = 0; i < CK_AMX_OPPORTUNITIES; i++) {
            const float *upper = rows + (k * CK_AMX_PARTS + row_parts[i]) * CK_AMX_TILE;
            const int64_t at = (k * CK_AMX_PARTS + weight_parts[i]) * 2 * CK_AMX_TILE;
            __asm__ volatile(AMX_LOAD(4, upper, 0) AMX_LOAD(5, left, 0) AMX_LOAD(6, left, 1024) AMX_LOAD(7, right, 0)
                             AMX_MULTIPLY(0, 4, 5) AMX_LOAD(5, right, 1024)
                             AMX_MULTIPLY(1, 4, 6) AMX_MULTIPLY(2, 4, 7) AMX_MULTIPLY(3, 4, 5)
                             : : [upper] "r"(upper), [left] "r"(w[0] + at), [right] "r"(w[1] + at), [line] "r"((int64_t)64)
                             : "memory");
            amx_meanwhile(run, block, m);
        }
    }
    __asm__ volatile("tilestored %%tmm0, (%0,%2)\n tilestored %%tmm1, 64(%0,%2)\n"
                     "tilestored %%tmm2, (%1,%2)\n tilestored %%tmm3, 64(%1,%2)\n"
                     : : "r"(sums[0]), "r"(sums[1]), "r"(run->conv->panel * (int64_t)sizeof(float)) : "memory");
}

// All panels [panel_begin, panel_end) for all tiles of a slice, [block->tile, tile_end): a part of the terms of a block of tiles is
// multiplied with all panels before the next part's turn. is_split: the rows have been split before.
#define amx_slice CK_NAME(amx_slice)
static void amx_slice(const ck_packed_run *run, const ck_packed_block *slice, int64_t tile_end, int64_t panel_begin,
                      int64_t panel_end, bool is_split) {
    const ck_packed_conv *conv = run->conv;
    const int64_t width = conv->panel, most = conv->tile_block / 2, begin = slice->tile / 2, end = (tile_end + 1) / 2;
    const int64_t most_steps = (run->amx_steps + run->parts - 1) / run->parts, step = CK_AMX_PARTS * CK_AMX_TILE;
    const int64_t opportunities = CK_AMX_OPPORTUNITIES * ck_most(1, run->amx_steps / run->parts);
    ck_packed_block block = *slice;
    block.tiles = tile_end;
    // An item is split while the one before is multiplied: with one panel, or all where a block is one pair.
    const int64_t pieces = 2 * CK_AMX_ROWS * ((most_steps * CK_AMX_TERMS + CK_AMX_PIECE - 1) / CK_AMX_PIECE);
    const int64_t chances = opportunities * (most == 1 ? panel_end - panel_begin : 1);
    ck_amx_meanwhile m = {
        .splitting = {.pair = begin, .begin = begin, .behind = ck_least(end, begin + most), .segment = -1},
        .finish = (2 * CK_AMX_ROWS * 1000 + opportunities - 1) / opportunities,
        .split = (pieces * 1000 + chances - 1) / chances,
    };
    const int64_t all = (end - begin) * run->parts;
    if (is_split && run->parts == 1) m.splitting.item = all;
    int64_t place = 0, item = 0;
    ck_amx_begin();
    for (int64_t first = begin; first < end; first += most) {
        const int64_t pairs = ck_least(end - first, most);
        for (int64_t part = 0; part < run->parts; part++, item += pairs) {
            const int64_t from = ck_amx_part(run, part), steps = ck_amx_part(run, part + 1) - from;
            const bool is_first = part == 0, is_last = part == run->parts - 1;
            ck_packed_panel panel = run->first_panel;
            m.splitting.items = ck_least(all, item + pairs + 1);
            ck_amx_panel left;
            for (int64_t p = panel_begin; p < panel_end; p++) {
                ck_amx_panel right = {
                    .weights = run->weights + panel.weights + from * 2 * step,
                    .bias = run->bias,
                    .kept = run->sums + (2 + (p - panel_begin) * most) * CK_AMX_SUMS,
                    .o = panel.o,
                    .cols = panel.cols,
                };
                if (run->operands->bias && panel.cols == panel.width)
                    right.bias = run->operands->bias + panel.o;
                else if (run->operands->bias)
                    v_copy(run->bias, run->operands->bias + panel.o, panel.cols);
                // Of two panels for the last tile, if that is a single one, this is the second.
                const bool is_second = (p - panel_begin) % 2 == 1;
                // Weights that the second-level cache has no room for come while those before are multiplied.
                const int64_t lines = steps * 2 * step / 16, calls = CK_AMX_OPPORTUNITIES * steps * pairs;
                m.next = right.weights + width * run->column;
                m.next_lines = (most == 1 && first > begin) || p + 1 == panel_end ? 0 : (lines + calls - 1) / calls;
                for (int64_t i = 0; i < pairs; i++) {
                    const int64_t row = ck_amx_row(&block, 2 * (first + i)), lower = ck_amx_row(&block, 2 * (first + i) + 1);
                    const int64_t behind = ck_amx_row(&block, 2 * (first + i) + 2);
                    const bool is_single = lower == behind;
                    if (is_single && !is_second && p + 1 < panel_end) continue;
                    while (m.splitting.item <= item + i) amx_split_piece(run, &block, &m.splitting);
                    const float *rows = ck_amx_item(run, item + i);
                    float *kept = right.kept + i * CK_AMX_SUMS, *sums = is_last ? run->sums + place * CK_AMX_SUMS : kept;
                    float *left_sums = NULL;
                    if (is_single && is_second) {
                        float *left_kept = left.kept + i * CK_AMX_SUMS;
                        left_sums = is_last ? sums + CK_AMX_SUMS / 2 : left_kept;
                        amx_tile(run, &block, steps, rows, (const float *[]){left.weights, right.weights},
                                 (const float *[]){is_first ? left.bias : left_kept, is_first ? right.bias : kept},
                                 is_first ? 0 : width, (float *[]){left_sums, sums}, &m);
                    } else {
                        amx_tiles(run, &block, steps, rows, rows + most_steps * step, right.weights,
                                  is_first ? right.bias : kept, is_first ? 0 : width, lower - row, sums, &m);
                    }
                    if (m.results.finished < m.results.rows) amx_finish(run, &m.results, m.results.rows);
                    if (!is_last) continue;
                    m.results = (ck_amx_results){
                        .sums = sums, .row = row, .rows = behind - row, .o = right.o, .cols = right.cols};
                    if (run->extras->y_rows) {
                        int64_t *y_rows = run->y_rows + place * 2 * CK_AMX_ROWS;
                        m.results.y_rows = y_rows;
                        for (int64_t r = 0; r < m.results.rows; r++) y_rows[r] = run->extras->y_rows[row + r];
                    }
                    if (left_sums) {
                        ck_amx_results results = m.results;
                        results.sums = left_sums;
                        results.o = left.o;
                        results.cols = left.cols;
                        amx_finish(run, &results, results.rows);
                    }
                    place = 1 - place;
                }
                left = right;
                panel = ck_packed_panel_next(conv, run->group_outputs, run->column, panel);
            }
        }
    }
    ck_amx_end();
    if (m.results.finished < m.results.rows) amx_finish(run, &m.results, m.results.rows);
}

// The weights of panels [begin, end), from their own layout or as `view` says, split into [step][part][left or right
// outputs][term][output]; a word holds a term in its lower half and the one 16 behind it in its upper one, as amx_split has it.
#define amx_pack CK_NAME(amx_pack)
static void amx_pack(const ck_packed_conv *conv, const float *weight, const ck_weight_view *view, float *packed,
                     int64_t begin, int64_t end) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t terms = ck_packed_terms(conv), length = ck_packed_length(conv), width = conv->panel;
    const unsigned before = ck_amx_with_subnormals();
    float block[CK_AMX_TERMS * 2 * CK_AMX_ROWS];
    for (int64_t p = begin; p < end; p++) {
        const ck_packed_panel panel = ck_packed_panel_at(conv, p);
        float *to = packed + panel.weights;
        for (int64_t first = 0; first < terms; first += length) {
            for (int64_t c = 0; c < length; c += CK_AMX_TERMS) {
                const int64_t count = ck_least(CK_AMX_TERMS, length - c);
                for (int64_t i = 0; i < CK_AMX_TERMS * width; i++) block[i] = 0;
                if (weight)
                    transpose_matrix(weight + panel.o * terms + first + c, terms, panel.cols, count, block, width, false);
                for (int64_t k = 0; view && k < count; k++) {
                    const int64_t tap = (first + c + k) / s->c, input = (first + c + k) % s->c;
                    const float *from = view->first + tap / s->kw * view->kh + tap % s->kw * view->kw + input * view->input;
                    v_copy(block + k * width, from + panel.first, panel.cols);
                }
                for (int64_t side = 0; side < width; side += CK_VL)
                    for (int64_t k = 0; k < CK_AMX_TERMS / 2; k++) {
                        const float *low = block + k * width + side, *high = low + CK_AMX_TERMS / 2 * width;
                        amx_split(v_load(low), v_load(high), to + side / CK_VL * CK_AMX_TILE + k * CK_VL, 2 * CK_AMX_TILE);
                    }
                to += CK_AMX_PARTS * 2 * CK_AMX_TILE;
            }
        }
    }
    _mm_setcsr(before);
}

// Back to the weights' own layout, to the bit but for parts below 2^-133 and weights that rounding made infinite.
#define amx_unpack CK_NAME(amx_unpack)
static void amx_unpack(const ck_packed_conv *conv, const float *packed, float *weight, int64_t begin, int64_t end) {
    const int64_t terms = ck_packed_terms(conv), length = ck_packed_length(conv), width = conv->panel;
    const unsigned before = ck_amx_with_subnormals();
    float block[CK_AMX_TERMS * 2 * CK_AMX_ROWS];
    for (int64_t p = begin; p < end; p++) {
        const ck_packed_panel panel = ck_packed_panel_at(conv, p);
        const float *from = packed + panel.weights;
        for (int64_t first = 0; first < terms; first += length) {
            for (int64_t c = 0; c < length; c += CK_AMX_TERMS) {
                for (int64_t side = 0; side < width; side += CK_VL)
                    for (int64_t k = 0; k < CK_AMX_TERMS / 2; k++) {
                        vf low = v_splat(0), high = low;
                        // The smallest part first: then no sum has to be rounded.
                        for (int i = CK_AMX_PARTS - 1; i >= 0; i--) {
                            const vu both = (vu)v_load(from + i * 2 * CK_AMX_TILE + side / CK_VL * CK_AMX_TILE + k * CK_VL);
                            low += (vf)(both << 16);
                            high += (vf)(both & (vu)(0xffff0000));
                        }
                        v_store(block + k * width + side, low);
                        v_store(block + (k + CK_AMX_TERMS / 2) * width + side, high);
                    }
                const int64_t count = ck_least(CK_AMX_TERMS, length - c);
                transpose_matrix(block, width, count, panel.cols, weight + panel.o * terms + first + c, terms, false);
                from += CK_AMX_PARTS * 2 * CK_AMX_TILE;
            }
        }
    }
    _mm_setcsr(before);
}

#undef AMX_LOAD
#undef AMX_MULTIPLY
#undef AMX
