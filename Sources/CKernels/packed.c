// Packed convolution: what is chosen once per problem; see packed_kernels.h for the work.
#include <float.h>
#include <math.h>

#include "CKernels.h"
#include "epilogue.h"
#include "integers.h"

// Whether the rows of the product are rows of x: a Linear or a 1 x 1 convolution without stride.
static bool ck_packed_rows_of_x(const ck_packed_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    return s->kh == 1 && s->kw == 1 && s->stride_h == 1 && s->stride_w == 1 && s->pad_top == 0 && s->pad_left == 0 &&
           s->oh == s->h && s->ow == s->w;
}

static int64_t ck_packed_terms(const ck_packed_conv *conv) {
    return conv->shape.kh * conv->shape.kw * (conv->shape.c / conv->shape.groups);
}

// A row of the product reads so many segments of consecutive floats.
static int64_t ck_packed_segments(const ck_packed_conv *conv) {
    return conv->merged ? conv->shape.kh : conv->shape.kh * conv->shape.kw;
}

static int64_t ck_packed_length(const ck_packed_conv *conv) {
    return conv->merged ? conv->shape.kw * conv->shape.c : conv->shape.c / conv->shape.groups;
}

// A tile of AMX: 16 rows of 32 terms of a sum in bfloat16, of which a float is three. In floats' memory.
enum { CK_AMX_TERMS = 32, CK_AMX_ROWS = 16, CK_AMX_TILE = 256, CK_AMX_PARTS = 3 };

// Tiles of the terms of a row: a segment begins with a tile of its own.
static int64_t ck_amx_steps(const ck_packed_conv *conv) {
    return ck_packed_segments(conv) * (ck_up(ck_packed_length(conv), CK_AMX_TERMS) / CK_AMX_TERMS);
}

// Terms that are multiplied in pairs come in triples, of which so many terms are a chunk; where triples are pixels, a tile reads
// at most so many of a row of the image: see paired_kernels.h.
enum { CK_PAIRED_CHUNK = 48, CK_PAIRED_PIXELS = 64 };

static int64_t ck_paired_triples(int64_t terms) {
    return (terms + 2) / 3;
}

// Where a term's weights lie among a panel's.
static int64_t ck_paired_position(int64_t terms, int64_t k) {
    const int64_t chunk = k - k % CK_PAIRED_CHUNK, third = ck_paired_triples(ck_least(CK_PAIRED_CHUNK, terms - chunk));
    return chunk + (k - chunk) % third * 3 + (k - chunk) / third;
}

// The same for products of any kind but AMX's.
static int64_t ck_packed_position(const ck_packed_conv *conv, int64_t k) {
    return conv->paired && !conv->paired_pixels ? ck_paired_position(ck_packed_terms(conv), k) : k;
}

// Triples that follow each other with alternating signs, the first one positive.
static int64_t ck_paired_run(const ck_packed_conv *conv) {
    return conv->paired_pixels ? conv->shape.kw : CK_PAIRED_CHUNK / 3;
}

// The floats that a tile's pixels are: three planes for each row of the kernel.
static int64_t ck_paired_planes(const ck_packed_conv *conv) {
    return conv->shape.kh * 3 * CK_PAIRED_PIXELS;
}

// The distance of rows that lie in chunks, not a multiple of 4096 bytes: see ck_packed_copies.
static int64_t ck_paired_stride(const ck_packed_conv *conv) {
    const int64_t terms = ck_up(ck_packed_terms(conv), CK_PAIRED_CHUNK);
    return terms % 512 == 0 ? terms + 16 : terms;
}

// The floats of an output channel's packed weights. Behind those in triples lie two constants.
static int64_t ck_packed_column(const ck_packed_conv *conv) {
    if (conv->paired) return 3 * ck_paired_triples(ck_packed_terms(conv)) + 2;
    return conv->amx ? ck_amx_steps(conv) * CK_AMX_TERMS / 2 * CK_AMX_PARTS : ck_packed_terms(conv);
}

// A panel of output channels, which belong to one group.
typedef struct {
    int64_t group, first;    // its group and its first channel within it
    int64_t o, cols, width;  // its first channel among all, its channels, and those with the padding
    int64_t weights;         // where its weights begin
} ck_packed_panel;

// AVX-512's tiles of 8 columns, which wait for their inputs, take as long as those of 16, and of 24 three quarters of 32: so 40
// is 24 + 16 and not 32 + 8 (784 x 120 x 40, one thread of a Zen 5: 37 and 31 us). But Strassen's panels come in pairs.
static bool ck_packed_evens_out(const ck_packed_conv *conv, int64_t og) {
    const int64_t rest = og % conv->panel, full = og / conv->panel;
    return conv->panel == 4 * conv->grain && rest > 0 && rest <= conv->grain && (full % 2 == 1 || full == 2);
}

// The columns of a panel, with so many from its first on.
static int64_t ck_packed_columns(const ck_packed_conv *conv, int64_t og, int64_t left) {
    const bool shortened = left > conv->panel && left <= conv->panel + conv->grain && ck_packed_evens_out(conv, og);
    return ck_least(conv->panel - (shortened ? conv->grain : 0), left);
}

// Full panels at the beginning of a group.
static int64_t ck_packed_full_panels(const ck_packed_conv *conv, int64_t og) {
    return og / conv->panel - (ck_packed_evens_out(conv, og) ? 1 : 0);
}

static ck_packed_panel ck_packed_panel_at(const ck_packed_conv *conv, int64_t p) {
    const int64_t og = conv->shape.o / conv->shape.groups, count = conv->panels / conv->shape.groups;
    ck_packed_panel panel = {.group = p / count, .first = p % count * conv->panel};
    if (p % count == count - 1 && ck_packed_evens_out(conv, og)) panel.first -= conv->grain;
    panel.o = panel.group * og + panel.first;
    panel.cols = ck_packed_columns(conv, og, og - panel.first);
    panel.width = ck_up(panel.cols, conv->grain);
    panel.weights = (panel.group * ck_up(og, conv->grain) + panel.first) * ck_packed_column(conv);
    return panel;
}

// The panel behind one, for groups of og output channels and `column` floats of weights a channel: without divisions, which
// would take as long as a small tile.
static inline ck_packed_panel ck_packed_panel_next(const ck_packed_conv *conv, int64_t og, int64_t column,
                                                   ck_packed_panel panel) {
    panel.weights += panel.width * column;
    panel.o += panel.cols;
    panel.first += panel.cols;
    if (panel.first == og) {
        panel.first = 0;
        panel.group++;
    }
    panel.cols = ck_packed_columns(conv, og, og - panel.first);
    panel.width = (panel.cols + conv->grain - 1) & -conv->grain;
    return panel;
}

// The first panel of a part: parts have about the same number of channels.
static int64_t ck_packed_panel_part(const ck_packed_conv *conv, int64_t part) {
    const int64_t og = ck_up(conv->shape.o / conv->shape.groups, conv->grain);
    const int64_t count = conv->panels / conv->shape.groups;
    const int64_t at = (og * conv->shape.groups * part + conv->panel_parts / 2) / conv->panel_parts;
    // The panel that begins nearest to channel `at`, counted with the padding.
    const int64_t group = at / og, rest = ck_least((at % og + conv->panel / 2) / conv->panel, count);
    return ck_least(group * count + rest, conv->panels);
}

// Whether rows are copied before they are multiplied: those that are a multiple of 4096 bytes apart share so few sets of the
// first-level cache that a tile's rows drive each other out (1024 to 256, one thread: 107 GFLOP/s, with copies 115).
static bool ck_packed_copies(const ck_packed_conv *conv) {
    if (conv->amx || conv->paired) return false;
    const ck_conv2d_shape *s = &conv->shape;
    // Of Strassen's seven products three read these rows, which is worth copying them for some panels only.
    const int64_t least = conv->strassen ? 8 * conv->panel * conv->panel_parts : 64;
    return conv->strides.x % 1024 == 0 && s->o >= least && s->groups == 1 && s->kh == 1 && s->kw == 1;
}

// Whether something happens to rows before they are multiplied.
static bool ck_packed_changes_rows(const ck_packed_conv *conv) {
    return conv->prologue != CK_PROLOGUE_NONE && !conv->scales_weights;
}

// Whether the rows that are multiplied are those of x as they are, one behind the other (unless x_rows says otherwise).
static bool ck_packed_has_even_rows(const ck_packed_conv *conv) {
    return ck_packed_rows_of_x(conv) && !ck_packed_changes_rows(conv) && !ck_packed_copies(conv);
}

// The distance of rows that were copied, or that a prologue has made.
static int64_t ck_packed_copy_stride(const ck_packed_conv *conv) {
    return conv->shape.c % 1024 == 0 ? conv->shape.c + 16 : conv->shape.c;
}

// With panels as the innermost loop, so many panels' sums are kept before they are finished.
#define CK_PACKED_SUMS 4

// The sums of two tiles of AMX's rows and a panel.
#define CK_AMX_SUMS (2 * CK_AMX_ROWS * 2 * CK_AMX_ROWS)

// The parts of a sum's terms, each at most a block of them.
static int64_t ck_packed_parts(const ck_packed_conv *conv, int64_t length) {
    return (length + conv->k_block - 1) / conv->k_block;
}

// Tiles of rows that they may have in common.
static int64_t ck_packed_tiles(const ck_packed_conv *conv, int64_t rows) {
    return ck_most(1, (rows + conv->tile - 1) / conv->tile);
}

// The same where they come in pairs.
static int64_t ck_packed_paired_tiles(const ck_packed_conv *conv, int64_t rows) {
    const int64_t tiles = ck_packed_tiles(conv, rows);
    return tiles + tiles % 2;
}

// The rows, of so many, that tiles may have in common: all, an image's where tiles are mixed, or those that are one row of it.
static int64_t ck_packed_image_rows(const ck_packed_conv *conv, int64_t rows) {
    const ck_conv2d_shape *s = &conv->shape;
    if (conv->paired_pixels) return s->ow;
    return conv->strassen ? ck_least(rows, s->oh * s->ow) : rows;
}

// Rows of the product that are not divided among units.
static int64_t ck_packed_together(const ck_packed_conv *conv) {
    return conv->paired_pixels ? conv->shape.ow : 1;
}

static int64_t ck_packed_image_tiles(const ck_packed_conv *conv, int64_t rows) {
    return conv->strassen ? ck_packed_paired_tiles(conv, rows) : ck_packed_tiles(conv, rows);
}

// The distance of rows of half a part's terms, for Strassen's sums: not a multiple of 4096 bytes, as in ck_packed_copies.
static int64_t ck_strassen_stride(const ck_packed_conv *conv) {
    const int64_t parts = ck_packed_parts(conv, conv->shape.c), half = ck_up((conv->shape.c / 2 + parts - 1) / parts, 16);
    return half % 512 == 0 ? half + 16 : half;
}

// Where the parts of the scratch begin, in floats, each on a cache line; the padding is first.
typedef struct {
    int64_t segments, length;
    int64_t pointers, y_rows, inputs, sums, bias, weights, row_sums, weight_sums, tiles;
    int64_t paired_rows, paired_products, paired_inverses, end;
} ck_packed_scratch;

static void ck_packed_scratch_parts(const ck_packed_conv *conv, ck_packed_scratch *parts) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t rows = conv->tile * conv->tile_block, in_pointer = sizeof(int64_t) / sizeof(float);
    // AMX's tiles are prepared one after the other, and only two pairs of them have sums at a time.
    const int64_t prepared = conv->amx ? conv->tile : rows;
    parts->segments = ck_packed_segments(conv);
    parts->length = ck_packed_length(conv);
    parts->pointers = ck_up(ck_most(s->c, parts->length), 16);
    parts->y_rows = parts->pointers + ck_up(prepared * parts->segments * in_pointer, 16);
    parts->inputs = parts->y_rows + ck_up((conv->amx ? 4 * CK_AMX_ROWS : rows) * in_pointer, 16);
    parts->sums = parts->inputs;
    if (ck_packed_changes_rows(conv) || ck_packed_copies(conv))
        parts->sums += ck_up(prepared * ck_packed_copy_stride(conv), 16);
    else if (conv->merged)
        parts->sums += ck_up(prepared * parts->segments * parts->length, 16);
    int64_t panels = conv->rows_first ? CK_PACKED_SUMS : 1;
    if (conv->strassen) panels = ck_packed_parts(conv, parts->length) > 1 ? conv->panels : 2;
    const int64_t amx_steps = ck_amx_steps(conv), amx_parts = ck_packed_parts(conv, amx_steps * CK_AMX_TERMS);
    int64_t sums = rows * conv->panel * panels;
    if (conv->amx) sums = (2 + (amx_parts > 1 ? conv->panels * conv->tile_block / 2 : 0)) * CK_AMX_SUMS;
    parts->bias = parts->sums + sums;
    parts->weights = parts->bias + ck_up(conv->panel, 16);
    parts->row_sums = parts->weights + (conv->scales_weights ? ck_up(ck_packed_conv_weights(conv), 16) : 0);
    parts->weight_sums = parts->tiles = parts->paired_rows = parts->end = parts->row_sums;
    if (conv->strassen) {
        parts->weight_sums += 4 * rows / 2 * ck_strassen_stride(conv);
        parts->end = parts->weight_sums + 2 * 4 * ck_strassen_stride(conv) * conv->panel;
    }
    const int64_t paired = conv->paired_pixels ? conv->tile_block * ck_paired_planes(conv) : rows * ck_paired_stride(conv);
    parts->paired_products = parts->paired_rows + (conv->paired ? paired : 0);
    // A tile's are written as one vector.
    parts->paired_inverses = parts->paired_products + (conv->paired ? ck_up(rows + 16, 16) : 0);
    if (conv->paired) parts->end = parts->paired_inverses + ck_up(rows + 16, 16);
    if (conv->amx)
        parts->end += (conv->tile_block + 2) * ((amx_steps + amx_parts - 1) / amx_parts) * CK_AMX_PARTS * CK_AMX_TILE;
}

#define CK_FAMILY "packed_kernels.h"
#include "each_level.h"

// Whether Strassen's seven products are possible and faster than eight, for so many rows in a unit. An eighth of the time
// is saved; sums of rows and of weights, and the results of products, take some of it. A Zen 5 multiplies so fast that sums and
// results, which come from the caches, must be few beside the products: there rows must be many and panels not few (one
// thread, weights from afar, rows x terms x outputs, the time of eight products over that of seven: 49 x 512 x 2048 0.97,
// x 2048 x 512 0.93; 98 x 384 x 1536 1.04, x 1536 x 384 0.98; 196 x 256 x 1024 1.02, x 128 x 512 0.99, x 256 x 128 0.95, x 768 x
// 3072 1.04; 784 x 512 x 512 1.03; 3136 x 128 x 512 0.99, x 256 x 128 0.98, x 256 x 256 1.02). Within models gains are smaller; of a
// single image's 14 x 14 they are losses up to 512 terms (Swin-T 1 %, Swin-v2-S 1 %, Swin-B 2 to 4 %).
//
// With the smaller tiles of 16 registers, whose sums pass through the caches more often, never (Zen 3: 196 x 256 x 1024 90 to
// 76 GFLOP/s). Nor where the additions take the multiply-adds' ports (Xeon of 2023, GFLOP/s of seven and of eight: 196 x 1024 x
// 256 142 and 165, 197 x 768 x 3072 156 and 174, 49 x 2048 x 512 113 and 180; 180 would be the most without any sums of rows and
// weights). A Zen 4 does more with its additions: see ck_paired_suits.
static bool ck_strassen_suits(const ck_packed_conv *conv, int64_t rows) {
    const ck_conv2d_shape *s = &conv->shape;
    if (conv->level != CK_LEVEL_AVX512 || ck_cores_current() != CK_CORES_ZEN5 || !conv->mixes_rows) return false;
    if (s->kh != 1 || s->kw != 1 || s->groups != 1 || s->c % 2 != 0) return false;
    // Only rows of the same image are mixed.
    if (s->n > 1 && s->n % conv->row_parts != 0) return false;
    const int64_t image_rows = ck_least(rows, s->oh * s->ow), height = image_rows / ck_packed_paired_tiles(conv, image_rows);
    const int64_t pairs = s->o / (2 * conv->panel * conv->panel_parts);
    return height >= 8 && pairs >= 4 && rows >= 160 && s->c >= (rows < 300 ? 768 : 192);
}

// Whether products of AMX's tiles are possible and faster than multiply-adds of vectors, for so many rows in all. For few rows
// there must be much to multiply (two threads of a Xeon of 2023, vectors and AMX, in quiet moments and medians of changing ones:
// 361 x 96 x 576 209 and 129 us, 270 and 250; 196 x 384 x 1536 782 and 560, 1000 and 870; 196 x 256 x 1024 353 and 300, 463 and
// 400; but 196 x 112 x 672 125 and 155, 187 and 240), and by each of several threads for more outputs than inputs, of which each
// splits all (196 x 1536 x 384 780 and 770, 980 and 1130; 196 x 1024 x 256 380 and 410, 512 and 640). Fewer rows leave too much of
// the last tiles empty, and wait for weights, half as many bytes again as a vector's (49 x 2048 x 512 400 and 500, 580 and 800).
static bool ck_amx_suits(const ck_packed_conv *conv, int64_t rows, int64_t threads) {
    const ck_conv2d_shape *s = &conv->shape;
    if (conv->level != CK_LEVEL_AMX || s->groups != 1 || conv->weight_layout == CK_WEIGHTS_VECTORS) return false;
    if (conv->weight_layout == CK_WEIGHTS_AMX) return true;
    // Terms and outputs that fill up a step and a panel are multiplied too. A sum of one step takes longer to begin and end (one
    // thread, 1568 rows, GFLOP/s of vectors and of AMX: 32 to 192 143 and 139), and rows are split for few outputs (64 to 64 153
    // and 148, 64 to 160 158 and 191, 96 to 96 160 and 198, 160 to 64 164 and 190, 192 to 384 164 and 261).
    const int64_t length = ck_packed_length(conv), outputs = s->o, panel = 2 * CK_AMX_ROWS;
    const int64_t all = ck_up(length, CK_AMX_TERMS) * ck_up(outputs, panel);
    const int64_t terms = ck_packed_terms(conv);
    if (length * outputs * 4 < all * 3 || length < 64 || terms * outputs < 8192) return false;
    if (rows >= 384) return true;
    return rows >= 192 && rows * terms * outputs >= 18 << 20 && (threads == 1 || outputs >= 2 * terms);
}

// Whether terms are multiplied in pairs: see paired_kernels.h. It depends on the weights' shape alone, so that images of every
// size share them, and rows and outputs must be long and many enough to pay for what is done to rows and results (one thread of a
// Zen 4, 784 rows x terms x outputs, GFLOP/s of direct products and in pairs: x 24 x 96 106 and 103, x 24 x 128 107 and 110;
// x 32 x 64 107 and 105, x 32 x 96 109 and 115; x 64 x 40 98 and 91, x 64 x 64 112 and 123; x 96 x 32 111 and 121; x 256 x 16 112
// and 102, x 256 x 192 116 and 159; two threads, 49 x 2048 x 1024 229 and 321, 196 x 512 x 1024 230 and 331, 14 x 14 outputs of
// 3 x 3 x 256 and stride 2 228 and 306).
static bool ck_paired_suits(const ck_packed_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    if (conv->level != CK_LEVEL_AVX512 || s->groups != 1) return false;
    if (conv->weight_layout != CK_WEIGHTS_ANY) return conv->weight_layout == CK_WEIGHTS_PAIRED;
    const int64_t terms = ck_packed_terms(conv);
    return ck_cores_current() == CK_CORES_ZEN4 && terms >= 24 && s->o >= 32 && terms * s->o >= 3072;
}

// Whether a pixel's three channels are a triple, and planes of them what the rows of a tile have in common: then little is done
// to the rows of an image's first layer (one thread of a Zen 4, 224 x 224 pixels, row by row and by pixels: 7 x 7 to 64 with stride
// 2 2050 and 1630 us, 11 x 11 to 64 with stride 4 1170 and 1000, 4 x 4 to 96 with stride 4 272 and 257; 3 x 3 to 32 with stride
// 2, too short, 390 and 263, directly 250).
static bool ck_paired_pixels_suit(const ck_packed_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    return s->c == 3 && s->groups == 1 && s->kw > 1 && s->dilation_w == 1 && conv->mixes_rows &&
           (conv->tile - 1) * s->stride_w + s->kw <= CK_PAIRED_PIXELS && ck_packed_terms(conv) <= 1024;
}

void ck_packed_conv_prepare(ck_packed_conv *conv, int64_t threads) {
    static const int64_t tiles[] = {4, 6, 12, 12}, panels[] = {8, 16, 32, 32}, grains[] = {4, 8, 8, 8};
    const ck_conv2d_shape *s = &conv->shape;
    threads = ck_most(threads, 1);
    conv->level = (ck_level)ck_level_index();
    conv->tile = tiles[conv->level];
    conv->panel = panels[conv->level];
    conv->grain = grains[conv->level];
    const int64_t og = s->o / s->groups, terms = ck_packed_terms(conv), rows = s->n * s->oh * s->ow;
    conv->merged = s->kw > 1 && s->groups == 1 && s->dilation_w == 1 && conv->strides.x == s->c && s->c < 16;
    conv->amx = ck_amx_suits(conv, rows, threads);
    if (conv->amx) {
        conv->tile = CK_AMX_ROWS;
        conv->panel = conv->grain = 2 * CK_AMX_ROWS;
    }
    conv->paired = ck_paired_suits(conv);
    if (conv->paired) conv->grain = 16;
    conv->paired_pixels = conv->paired && ck_paired_pixels_suit(conv);
    const int64_t together = ck_packed_together(conv);
    conv->panels = s->groups * ((og + conv->panel - 1) / conv->panel);

    // Rows or panels are split among the threads, whichever makes the slowest thread's work shorter: the products of its
    // rows and columns, and the floats of weights and of input that it has to bring in from afar. Where what another core wrote
    // takes longest to come (a Xeon of 2023: 20 GB/s, and nothing hides it), rows, of which the step before made the
    // same part here; weights come ahead of time, even all of them to each thread (two threads, panels and rows: 196 x 96 x 576
    // 76 to 66 us, 196 x 1024 x 256 359 to 297, 49 x 400 x 400 60 to 50; but 9 x 512 x 512 25 to 38). Not where weights that no
    // second-level cache holds come slower than so few rows are multiplied with them (ResNet-50's, rows and panels: 49 x 2048 x
    // 512 592 to 493 us, 64 x 512 x 2048 583 to 486, 81 x 512 x 2048 647 to 583; 100 x 2048 x 512 748 and 774).
    const bool by_rows = ck_cores_current() == CK_CORES_INTEL && !conv->amx && rows / threads >= conv->tile &&
                         (rows / threads >= 48 || terms * s->o <= 512 * 1024);
    double best = 0;
    for (int64_t parts = 1; parts <= threads; parts++) {
        if (threads % parts != 0 || parts > conv->panels || (by_rows && parts > 1)) continue;
        conv->panel_parts = parts;
        int64_t widest = 0;
        for (int64_t part = 0; part < parts; part++) {
            int64_t columns = 0;
            for (int64_t p = ck_packed_panel_part(conv, part); p < ck_packed_panel_part(conv, part + 1); p++)
                columns += ck_packed_panel_at(conv, p).width;
            widest = ck_most(widest, columns);
        }
        const int64_t row_parts = ck_most(1, ck_least(threads / parts, rows / together));
        const int64_t most_rows = (rows / together + row_parts - 1) / row_parts * together;
        double products = (double)most_rows * (double)widest * (double)terms / 16;
        // AMX multiplies whole tiles, and splits every row.
        if (conv->amx) products = (double)ck_up(most_rows, CK_AMX_ROWS) * (double)(widest + 48) * (double)terms / 16;
        // Each thread normalizes all of its rows (DenseNet's last layers, 49 x 512 x 128, panels and rows: 24.6 and 22.6 us); a mere
        // factor costs less than rows of which each thread reads all weights (49 x 440 x 440: 43 and 50).
        const bool normalizes =
            (ck_packed_changes_rows(conv) && conv->prologue != CK_PROLOGUE_IMAGE_SCALE) || conv->paired;
        const double floats = (double)widest * (double)terms + (double)most_rows * (double)(normalizes ? 4 * s->c : s->c);
        const double cost = products + floats / 4;
        if (parts > 1 && cost >= best) continue;
        best = cost;
        conv->row_parts = row_parts;
        conv->units = parts;
    }
    conv->panel_parts = conv->units;

    const int64_t weights = ck_packed_conv_weights(conv) / conv->panel_parts;
    const int64_t unit_rows = (rows / together + conv->row_parts - 1) / conv->row_parts * together;
    conv->strassen = !conv->amx && !conv->paired && ck_strassen_suits(conv, unit_rows);
    // A scaled copy of the weights where one of the rows would take longer (12544 x 32 to 16, one thread: 158 us, with scaled
    // rows 205; 196 x 240 to 80: 77 and 74).
    conv->scales_weights = conv->prologue == CK_PROLOGUE_IMAGE_SCALE && s->n == 1 && !conv->strassen && !conv->amx &&
                           !conv->paired && unit_rows >= 8 * s->o;
    const int64_t image_rows = ck_packed_image_rows(conv, unit_rows);
    const int64_t most_tiles = ck_packed_image_tiles(conv, image_rows) * (unit_rows / ck_most(1, image_rows));
    // Where few tiles go by, weights from afar take longest to come: better panel by panel, with the next one on its way (one
    // thread of a Zen 3, 49 x 300 x 400: 238 us with rows first, 164 so; 49 x 256 x 256: 90 and 73; 196 x 300 x 400: the same).
    conv->rows_first = !conv->strassen && !conv->amx && !conv->paired && weights <= (most_tiles <= 20 ? 16 : 128) * 1024;
    if (conv->rows_first) {
        // A call for every tile would take a good part of a short sum's time; but what is kept for the tiles of a block should
        // stay in the first-level cache. Where there is nothing to prepare for them, 32 (one thread of a Zen 5, 8 and 32: 12544 x
        // 32 x 16 75 and 70 us, 3136 x 72 x 24 48 and 45).
        const bool keeps_rows = ck_packed_changes_rows(conv) || ck_packed_copies(conv);
        float low, high;
        const bool keeps_sums = !ck_epilogue_clamps(&conv->epilogue, &low, &high);
        const int64_t kept = conv->tile * ((keeps_rows ? s->c : 0) + (keeps_sums ? CK_PACKED_SUMS * conv->panel : 0));
        conv->tile_block = ck_most(1, ck_least(ck_packed_has_even_rows(conv) ? 32 : 8, 6144 / ck_most(1, kept)));
        conv->k_block = terms;
    } else if (conv->paired) {
        // Half of the second-level cache for rows (no other division is more than 2 % faster).
        const int64_t floats = conv->paired_pixels ? ck_paired_planes(conv) : conv->tile * terms;
        conv->tile_block = ck_most(1, ck_least(24, 128 * 1024 / floats));
        conv->k_block = 1536;
    } else if (conv->strassen) {
        // More rows' sums would not stay in the second-level cache (one thread of a Zen 4, 3136 x 256 x 256: 119 GFLOP/s with 128
        // tiles a block, 122 with 8 to 24). A megabyte of sums of weights comes late (a Zen 5, 196 x 2048 x 512 240 in one part and
        // 265 in two, x 1536 x 384 245 and 266, x 1280 x 1280 277 and 271).
        conv->tile_block = 24;
        conv->k_block = 1280;
    } else if (conv->amx) {
        // As many tiles as the second-level cache has room for beside a panel: also where it has room for all weights, if these
        // come from afar for so few tiles that all are in the block, and are worth splitting the tiles' rows with the first panel
        // (196 x 256 x 512, GFLOP/s with 2 and 13 tiles a block: 219 and 235, 196 x 1024 x 128 200 and 187).
        const bool is_one = most_tiles <= 14 && conv->panels >= 8 * conv->panel_parts;
        conv->tile_block = weights > 256 * 1024 || is_one ? 14 : 2;
        // 197 x 3072 x 384: 216 with parts of 768, 233 with 512; 196 x 768 x 1536 better in one.
        conv->k_block = ck_amx_steps(conv) * CK_AMX_TERMS <= 768 ? 768 : 512;
    } else {
        // 197 x 3072 times 768, weights from afar: 98 GFLOP/s with 1 or 2 tiles a block, 102 with 6, 106 with 17.
        conv->tile_block = ck_most(1, ck_least(20, 640 * 1024 / (conv->tile * s->c)));
        conv->k_block = 1024;
    }
    // Blocks of about the same size: a last one of one tile would read all weights for itself.
    const int64_t blocks = (most_tiles + conv->tile_block - 1) / conv->tile_block;
    conv->tile_block = (most_tiles + blocks - 1) / blocks;
    if (conv->strassen || conv->amx) conv->tile_block += conv->tile_block % 2;
    // Slices of some microseconds, so that a faster thread can take some of a slower one's. Strassen's sums of weights would be
    // computed for each.
    conv->slices = 1;
    if (threads > 1 && !conv->strassen) {
        const int64_t work = unit_rows * (s->o / conv->panel_parts) * terms;
        // Of AMX's slices each splits all its rows, or the first ones before anything is multiplied.
        int64_t most = conv->panels / conv->panel_parts / (conv->amx ? 4 : 1);
        if (blocks > 1)
            most = rows / conv->row_parts / (conv->tile * ck_most(conv->tile_block, conv->amx ? 8 : 1));
        else if (conv->rows_first)
            most = 1;
        conv->slices = ck_most(1, ck_least(ck_least(work >> 20, 8), most));
    }
    conv->units = conv->row_parts * conv->panel_parts * conv->slices;
    ck_packed_scratch parts;
    ck_packed_scratch_parts(conv, &parts);
    conv->scratch = parts.end;
}

int64_t ck_packed_conv_weights(const ck_packed_conv *conv) {
    return ck_packed_column(conv) * ck_up(conv->shape.o / conv->shape.groups, conv->grain) * conv->shape.groups;
}

void ck_packed_conv_pack_panels(const ck_packed_conv *conv, const float *weight, float *packed, int64_t begin,
                                int64_t end) {
    static void (*const table[])(const ck_packed_conv *, const float *, float *, int64_t, int64_t) =
        CK_TABLE(ck_packed_conv_pack_panels);
    table[conv->level](conv, weight, packed, begin, end);
}

void ck_packed_conv_unpack_panels(const ck_packed_conv *conv, const float *packed, float *weight, int64_t begin,
                                  int64_t end) {
    static void (*const table[])(const ck_packed_conv *, const float *, float *, int64_t, int64_t) =
        CK_TABLE(ck_packed_conv_unpack_panels);
    table[conv->level](conv, packed, weight, begin, end);
}

void ck_packed_conv_pack_view(const ck_packed_conv *conv, const ck_weight_view *view, float *packed, int64_t begin,
                              int64_t end) {
    static void (*const table[])(const ck_packed_conv *, const ck_weight_view *, float *, int64_t, int64_t) =
        CK_TABLE(ck_packed_conv_pack_view);
    table[conv->level](conv, view, packed, begin, end);
}

void ck_packed_conv_pack(const ck_packed_conv *conv, const float *weight, float *packed) {
    ck_packed_conv_pack_panels(conv, weight, packed, 0, conv->panels);
}

void ck_packed_conv_run(const ck_packed_conv *conv, const ck_operands *operands, const ck_packed_extras *extras,
                        int64_t begin, int64_t end, float *scratch) {
    static void (*const table[])(const ck_packed_conv *, const ck_operands *, const ck_packed_extras *, int64_t,
                                 int64_t, float *) = CK_TABLE(ck_packed_conv_run);
    table[conv->level](conv, operands, extras, begin, end, scratch);
}
