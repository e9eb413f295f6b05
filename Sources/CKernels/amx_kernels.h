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

// A part of the terms of a block of pairs of tiles: it is multiplied with all panels before the next turn.
typedef struct {
    int64_t begin, behind;      // pairs
    int64_t part, step, steps;  // of the terms: its first step and how many there are
} ck_amx_turn;

// Rows that are yet to be split. A pair of tiles in a turn is an item; there is room for a block's and one more.
typedef struct {
    int64_t item, most, end; // the first that is not split yet, the one behind those there is room for now, and behind the last
    ck_amx_turn turn;        // of the item
    int64_t pair, tile;      // of the item and its upper or lower tile
    bool is_pointed;         // whether there are pointers to this tile's rows
    int64_t rows, row;       // of the tile, and the one whose turn it is
    int64_t rest;            // so many steps of the part
    int64_t segment, term;   // where the first of them begins
    float *to;               // the parts of the tile's rows from there on
} ck_amx_rows;

// Sums that are yet to be finished.
typedef struct {
    const float *sums;      // [rows, width of a panel]
    const int64_t *y_rows;  // of the rows; null: row, row + 1, ...
    int64_t row, rows, finished;
    int64_t o, cols;
} ck_amx_results;

// A panel in a turn.
typedef struct {
    const float *weights, *bias;
    float *kept;  // sums that more terms will be added to, for each pair of the block
    int64_t o, cols;
} ck_amx_panel;

// What a call works on: some panels for some pairs of tiles. Rows are split, results finished and weights fetched between the
// products of tiles, a little at each opportunity: vectors have one port beside tiles, and where more waits for it than there is
// room for, the tiles wait behind it.
typedef struct {
    const ck_packed_run *run;
    ck_packed_block block;  // `tiles` behind the slice's last one
    int64_t pairs;          // behind the slice's last one
    int64_t panel_begin, panel_end;
    int64_t most_steps;     // of a part
    int64_t item;           // the first of the turn
    ck_amx_rows rows;
    ck_amx_results results;
    int64_t place;          // of the next results' sums
    // Thousandths of a row that is finished, and of CK_AMX_PIECE steps of a row that are split, at each opportunity.
    int64_t finish, finish_due, split, split_due;
    const float *next;  // weights that come to the second-level cache, next_lines of 16 floats at each opportunity
    int64_t next_lines;
} ck_amx_slice;

// Opportunities between the products of a step.
#define CK_AMX_OPPORTUNITIES 6
// The steps of a row that are split at a time.
#define CK_AMX_PIECE 2
// The floats of a tile's step and of a panel's.
#define CK_AMX_STEP (CK_AMX_PARTS * CK_AMX_TILE)
#define CK_AMX_PANEL_STEP (2 * CK_AMX_STEP)

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

// The turn of a part of the block from pair `begin` on.
static inline ck_amx_turn ck_amx_turn_at(const ck_amx_slice *s, int64_t begin, int64_t part) {
    const int64_t steps = s->run->amx_steps, parts = s->run->parts, step = steps * part / parts;
    return (ck_amx_turn){
        .begin = begin,
        .behind = ck_least(s->pairs, begin + s->run->conv->tile_block / 2),
        .part = part,
        .step = step,
        .steps = steps * (part + 1) / parts - step,
    };
}

static inline ck_amx_turn ck_amx_turn_after(const ck_amx_slice *s, ck_amx_turn turn) {
    const bool is_last = turn.part + 1 == s->run->parts;
    return ck_amx_turn_at(s, is_last ? turn.behind : turn.begin, is_last ? 0 : turn.part + 1);
}

// Where an item lies, [tile][step][part of a float][row].
static inline float *ck_amx_item(const ck_amx_slice *s, int64_t item) {
    const int64_t places = s->run->conv->tile_block / 2 + 1;
    return s->run->tiles + item % places * 2 * s->most_steps * CK_AMX_STEP;
}

// The first row of a tile, or where there is none, the row behind the last.
static inline int64_t ck_amx_row(const ck_amx_slice *s, int64_t tile) {
    return ck_packed_tile_row(&s->block, ck_least(tile, s->block.tiles));
}

// Where the tile's rows are, and which of their terms are the first.
#define amx_point CK_NAME(amx_point)
static void amx_point(ck_amx_slice *s) {
    ck_amx_rows *r = &s->rows;
    const ck_packed_run *run = s->run;
    const int64_t tile = 2 * r->pair + r->tile, row = ck_amx_row(s, tile), in_segment = run->amx_steps / run->segments;
    r->rows = ck_amx_row(s, tile + 1) - row;
    point_at_tile(run, row, r->rows, 0);
    r->row = 0;
    r->rest = r->turn.steps;
    r->segment = r->turn.step / in_segment;
    r->term = r->turn.step % in_segment * CK_AMX_TERMS;
    r->to = ck_amx_item(s, r->item) + r->tile * s->most_steps * CK_AMX_STEP;
    r->is_pointed = true;
}

// Splits CK_AMX_PIECE steps of a row at most, and all rows of a tile before its next steps.
#define amx_split_rows CK_NAME(amx_split_rows)
static void amx_split_rows(ck_amx_slice *s) {
    ck_amx_rows *r = &s->rows;
    const ck_packed_run *run = s->run;
    if (!r->is_pointed) amx_point(s);
    const int64_t rest = run->length - r->term;
    const int64_t steps = ck_least(ck_least(CK_AMX_PIECE, r->rest), (rest + CK_AMX_TERMS - 1) / CK_AMX_TERMS);
    if (r->rows > 0) {
        const float *x = run->pointers[r->segment * r->rows + r->row] + r->term;
        float *to = r->to + r->row * CK_AMX_TERMS / 2;
        for (int64_t i = 0, lanes = rest; i < steps; i++, x += CK_AMX_TERMS, lanes -= CK_AMX_TERMS, to += CK_AMX_STEP) {
            if (lanes >= CK_AMX_TERMS)
                amx_split(v_load(x), v_load(x + CK_VL), to, CK_AMX_TILE);
            else
                amx_split(v_load_part(x, ck_least(lanes, CK_VL)), v_load_part(x + CK_VL, ck_most(lanes - CK_VL, 0)), to,
                          CK_AMX_TILE);
        }
    }
    if (++r->row < r->rows) return;
    r->row = 0;
    r->rest -= steps;
    r->to += steps * CK_AMX_STEP;
    r->term += steps * CK_AMX_TERMS;
    if (r->term >= run->length) {
        r->term = 0;
        r->segment++;
    }
    if (r->rest > 0 && r->rows > 0) return;
    r->is_pointed = false;
    r->tile = 1 - r->tile;
    if (r->tile == 1) return;
    r->item++;
    if (++r->pair < r->turn.behind) return;
    r->turn = ck_amx_turn_after(s, r->turn);
    r->pair = r->turn.begin;
}

// Finishes at most so many of the rows of sums.
#define amx_finish CK_NAME(amx_finish)
static void amx_finish(const ck_packed_run *run, ck_amx_results *results, int64_t most) {
    const int64_t at = results->finished, rows = ck_least(most, results->rows - at), width = run->conv->panel;
    if (rows <= 0) return;
    results->finished += rows;
    finish(run, results->sums + at * width, width, results->row + at, rows,
           results->y_rows ? results->y_rows + at : NULL, results->o, results->cols);
}

#define amx_meanwhile CK_NAME(amx_meanwhile)
static void amx_meanwhile(ck_amx_slice *s) {
    for (int64_t i = 0; i < s->next_lines; i++, s->next += 16) __builtin_prefetch(s->next, 0, 2);
    s->finish_due += s->finish;
    if (s->finish_due >= 1000 && s->results.finished < s->results.rows) {
        amx_finish(s->run, &s->results, s->finish_due / 1000);
        s->finish_due %= 1000;
    }
    for (s->split_due += s->split; s->split_due >= 1000; s->split_due -= 1000)
        if (s->rows.item < s->rows.most) amx_split_rows(s);
}

// The sums of two tiles of rows and a panel for some steps; `height` rows after the upper tile's first come the lower one's. They
// start from `start`, whose rows are start_step floats apart.
#define amx_tiles CK_NAME(amx_tiles)
static void amx_tiles(ck_amx_slice *s, int64_t steps, const float *upper, const float *lower, const float *w,
                      const float *start, int64_t start_step, int64_t height, float *sums) {
    __asm__ volatile("tileloadd (%0,%2), %%tmm0\n tileloadd 64(%0,%2), %%tmm1\n"
                     "tileloadd (%1,%2), %%tmm2\n tileloadd 64(%1,%2), %%tmm3\n"
                     : : "r"(start), "r"(start + height * start_step), "r"(start_step * (int64_t)sizeof(float)) : "memory");
    AMX(AMX_LOAD(4, upper, 0) AMX_LOAD(6, w, 0) AMX_LOAD(7, w, 1024) AMX_LOAD(5, lower, 0));
    for (int64_t k = 1; k <= steps; k++) {
        // x1 w1
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 2048)
            AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(7, w, 3072));
        amx_meanwhile(s);
        // x1 w2
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 4096)
            AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(7, w, 5120));
        amx_meanwhile(s);
        // x1 w3
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_LOAD(4, upper, 1024)
            AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 2048) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(5, lower, 1024) AMX_LOAD(7, w, 3072));
        amx_meanwhile(s);
        // x2 w2
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 0)
            AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(7, w, 1024));
        amx_meanwhile(s);
        // x2 w1
        AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_LOAD(4, upper, 2048)
            AMX_MULTIPLY(2, 5, 6) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(5, lower, 2048));
        amx_meanwhile(s);
        // x3 w1
        if (k < steps)
            AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_LOAD(4, upper, 3072)
                AMX_MULTIPLY(2, 5, 6) AMX_LOAD(6, w, 6144) AMX_MULTIPLY(3, 5, 7) AMX_LOAD(5, lower, 3072) AMX_LOAD(7, w, 7168));
        else
            AMX(AMX_MULTIPLY(0, 4, 6) AMX_MULTIPLY(1, 4, 7) AMX_MULTIPLY(2, 5, 6) AMX_MULTIPLY(3, 5, 7));
        amx_meanwhile(s);
        upper += CK_AMX_STEP;
        lower += CK_AMX_STEP;
        w += CK_AMX_PANEL_STEP;
    }
    // The lower tile over those rows of the upper one that are none.
    const int64_t width = s->run->conv->panel;
    __asm__ volatile("tilestored %%tmm0, (%0,%2)\n tilestored %%tmm1, 64(%0,%2)\n"
                     "tilestored %%tmm2, (%1,%2)\n tilestored %%tmm3, 64(%1,%2)\n"
                     : : "r"(sums), "r"(sums + height * width), "r"(width * (int64_t)sizeof(float)) : "memory");
}

// The same sums of one tile of rows and two panels, in the same order. All their rows of weights and sums are 16.
#define amx_tile CK_NAME(amx_tile)
static void amx_tile(ck_amx_slice *s, int64_t steps, const float *rows, const float *const w[2],
                     const float *const start[2], int64_t start_step, float *const sums[2]) {
    static const int row_parts[CK_AMX_OPPORTUNITIES] = {0, 0, 0, 1, 1, 2}, weight_parts[] = {0, 1, 2, 1, 0, 0};
    __asm__ volatile("tileloadd (%0,%2), %%tmm0\n tileloadd 64(%0,%2), %%tmm1\n"
                     "tileloadd (%1,%2), %%tmm2\n tileloadd 64(%1,%2), %%tmm3\n"
                     : : "r"(start[0]), "r"(start[1]), "r"(start_step * (int64_t)sizeof(float)) : "memory");
    for (int64_t k = 0; k < steps; k++) {
        UNROLL for (int i = 0; i < CK_AMX_OPPORTUNITIES; i++) {
            const float *upper = rows + k * CK_AMX_STEP + row_parts[i] * CK_AMX_TILE;
            const int64_t at = k * CK_AMX_PANEL_STEP + weight_parts[i] * 2 * CK_AMX_TILE;
            __asm__ volatile(AMX_LOAD(4, upper, 0) AMX_LOAD(5, left, 0) AMX_LOAD(6, left, 1024) AMX_LOAD(7, right, 0)
                             AMX_MULTIPLY(0, 4, 5) AMX_LOAD(5, right, 1024)
                             AMX_MULTIPLY(1, 4, 6) AMX_MULTIPLY(2, 4, 7) AMX_MULTIPLY(3, 4, 5)
                             : : [upper] "r"(upper), [left] "r"(w[0] + at), [right] "r"(w[1] + at), [line] "r"((int64_t)64)
                             : "memory");
            amx_meanwhile(s);
        }
    }
    __asm__ volatile("tilestored %%tmm0, (%0,%2)\n tilestored %%tmm1, 64(%0,%2)\n"
                     "tilestored %%tmm2, (%1,%2)\n tilestored %%tmm3, 64(%1,%2)\n"
                     : : "r"(sums[0]), "r"(sums[1]), "r"(s->run->conv->panel * (int64_t)sizeof(float)) : "memory");
}

// A pair of tiles, the i-th of the block, and the panel `right`, or a single tile and both panels.
#define amx_pair CK_NAME(amx_pair)
static void amx_pair(ck_amx_slice *s, const ck_amx_turn *turn, int64_t i, const ck_amx_panel *left, const ck_amx_panel *right) {
    const ck_packed_run *run = s->run;
    const int64_t width = run->conv->panel, tile = 2 * (turn->begin + i);
    const int64_t row = ck_amx_row(s, tile), lower = ck_amx_row(s, tile + 1), behind = ck_amx_row(s, tile + 2);
    const bool is_first = turn->part == 0, is_last = turn->part == run->parts - 1;
    while (s->rows.item <= s->item + i && s->rows.item < s->rows.end) amx_split_rows(s);
    const float *rows = ck_amx_item(s, s->item + i);
    float *kept = right->kept + i * CK_AMX_SUMS, *sums = is_last ? run->sums + s->place * CK_AMX_SUMS : kept;
    float *left_sums = NULL;
    if (left) {
        float *left_kept = left->kept + i * CK_AMX_SUMS;
        left_sums = is_last ? sums + CK_AMX_SUMS / 2 : left_kept;
        amx_tile(s, turn->steps, rows, (const float *[]){left->weights, right->weights},
                 (const float *[]){is_first ? left->bias : left_kept, is_first ? right->bias : kept}, is_first ? 0 : width,
                 (float *[]){left_sums, sums});
    } else {
        amx_tiles(s, turn->steps, rows, rows + s->most_steps * CK_AMX_STEP, right->weights, is_first ? right->bias : kept,
                  is_first ? 0 : width, lower - row, sums);
    }
    amx_finish(run, &s->results, s->results.rows);
    if (!is_last) return;
    s->results = (ck_amx_results){.sums = sums, .row = row, .rows = behind - row, .o = right->o, .cols = right->cols};
    if (run->extras->y_rows) {
        int64_t *y_rows = run->y_rows + s->place * 2 * CK_AMX_ROWS;
        s->results.y_rows = y_rows;
        for (int64_t r = 0; r < s->results.rows; r++) y_rows[r] = run->extras->y_rows[row + r];
    }
    if (left) {
        ck_amx_results results = s->results;
        results.sums = left_sums;
        results.o = left->o;
        results.cols = left->cols;
        amx_finish(run, &results, results.rows);
    }
    s->place = 1 - s->place;
}

// A part of the terms of a block of pairs with all panels.
#define amx_turn CK_NAME(amx_turn)
static void amx_turn(ck_amx_slice *s, const ck_amx_turn *turn) {
    const ck_packed_run *run = s->run;
    const int64_t pairs = turn->behind - turn->begin, most = run->conv->tile_block / 2;
    // Weights that the second-level cache has no room for come while those before are multiplied.
    const int64_t lines = turn->steps * CK_AMX_PANEL_STEP / 16, calls = CK_AMX_OPPORTUNITIES * turn->steps * pairs;
    const bool fetches = most > 1 || turn->begin == s->block.tile / 2;
    const bool ends_single = ck_amx_row(s, 2 * turn->behind - 1) == ck_amx_row(s, 2 * turn->behind);
    ck_packed_panel panel = run->first_panel;
    ck_amx_panel left, right;
    s->rows.most = ck_least(s->rows.end, s->item + pairs + 1);
    for (int64_t p = s->panel_begin; p < s->panel_end; p++) {
        right = (ck_amx_panel){
            .weights = run->weights + panel.weights + turn->step * CK_AMX_PANEL_STEP,
            .bias = run->bias,
            .kept = run->sums + (2 + (p - s->panel_begin) * most) * CK_AMX_SUMS,
            .o = panel.o,
            .cols = panel.cols,
        };
        if (run->operands->bias && panel.cols == panel.width)
            right.bias = run->operands->bias + panel.o;
        else if (run->operands->bias)
            v_copy(run->bias, run->operands->bias + panel.o, panel.cols);
        s->next = right.weights + panel.width * run->column;
        s->next_lines = fetches && p + 1 < s->panel_end ? (lines + calls - 1) / calls : 0;
        // A single last tile meets two panels at a time, or the last one alone.
        const bool is_second = (p - s->panel_begin) % 2 == 1, meets_single = is_second || p + 1 == s->panel_end;
        for (int64_t i = 0; i < pairs; i++) {
            const bool is_single = ends_single && i + 1 == pairs;
            if (!is_single || meets_single) amx_pair(s, turn, i, is_single && is_second ? &left : NULL, &right);
        }
        left = right;
        panel = ck_packed_panel_next(run->conv, run->group_outputs, run->column, panel);
    }
    s->item += pairs;
}

// All panels [panel_begin, panel_end) for all tiles of a slice, [block->tile, tile_end): a part of the terms of a block of tiles is
// multiplied with all panels before the next part's turn. is_split: the rows have been split before.
#define amx_slice CK_NAME(amx_slice)
static void amx_slice(const ck_packed_run *run, const ck_packed_block *block, int64_t tile_end, int64_t panel_begin,
                      int64_t panel_end, bool is_split) {
    const int64_t begin = block->tile / 2, end = (tile_end + 1) / 2, most = run->conv->tile_block / 2;
    ck_amx_slice s = {
        .run = run,
        .block = *block,
        .pairs = end,
        .panel_begin = panel_begin,
        .panel_end = panel_end,
        .most_steps = (run->amx_steps + run->parts - 1) / run->parts,
        .rows = {.pair = begin},
    };
    s.block.tiles = tile_end;
    ck_amx_turn turn = s.rows.turn = ck_amx_turn_at(&s, begin, 0);
    if (!is_split || run->parts > 1) s.rows.end = (end - begin) * run->parts;
    // An item is split while the one before is multiplied: with one panel, or all where a block is one pair.
    const int64_t opportunities = CK_AMX_OPPORTUNITIES * ck_most(1, run->amx_steps / run->parts);
    const int64_t chances = opportunities * (most == 1 ? panel_end - panel_begin : 1);
    const int64_t pieces = 2 * CK_AMX_ROWS * ((s.most_steps + CK_AMX_PIECE - 1) / CK_AMX_PIECE);
    s.split = (pieces * 1000 + chances - 1) / chances;
    s.finish = (2 * CK_AMX_ROWS * 1000 + opportunities - 1) / opportunities;
    ck_amx_begin();
    for (; turn.begin < end; turn = ck_amx_turn_after(&s, turn)) amx_turn(&s, &turn);
    ck_amx_end();
    amx_finish(run, &s.results, s.results.rows);
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
                to += CK_AMX_PANEL_STEP;
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
                from += CK_AMX_PANEL_STEP;
            }
        }
    }
    _mm_setcsr(before);
}

#undef AMX_LOAD
#undef AMX_MULTIPLY
#undef AMX
