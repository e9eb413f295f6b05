// Winograd convolution: the choice of tiles and blocks, and the walk over a block's tiles; the rest is in
// winograd_kernels.h.
#include "CKernels.h"
#include "integers.h"

static inline int64_t ck_winograd_grain(const ck_winograd_conv *conv) {
    return conv->paired ? 16 : conv->level == CK_LEVEL_PORTABLE ? 4 : 8;
}
static inline int64_t ck_winograd_widest(ck_level level) {
    return level >= CK_LEVEL_AVX512 ? 32 : 8 << (int)level;
}

// Kernels of 7 taps in one direction take m = 4 outputs of a row or a column from 10 points.
enum { CK_LINE_TAPS = 7, CK_LINE_POINTS = 10 };

static inline bool ck_winograd_is_line(const ck_conv2d_shape *s) { return s->kh == 1 || s->kw == 1; }

// The outputs of a whole tile down and along.
static inline int64_t ck_winograd_tile_h(const ck_winograd_conv *conv) { return conv->shape.kh == 1 ? 1 : conv->m; }
static inline int64_t ck_winograd_tile_w(const ck_winograd_conv *conv) { return conv->shape.kw == 1 ? 1 : conv->m; }

// The points of a tile: so many matrix products.
static inline int64_t ck_winograd_planes(const ck_winograd_conv *conv) {
    return ck_winograd_is_line(&conv->shape) ? CK_LINE_POINTS : (conv->m + 2) * (conv->m + 2);
}

// The rows of a plane's weights of a panel: one for each input channel, and two of constants with pairs.
static inline int64_t ck_winograd_rows(const ck_winograd_conv *conv) {
    return conv->shape.c / conv->shape.groups + (conv->paired ? 2 : 0);
}

// Which of them is a channel's: pairs' come in triples, from vectors of 16 channels of which each three have one lane each,
// and of what is left lanes j, j + 5 and j + 10, and the last one by itself.
static inline int64_t ck_winograd_position(const ck_winograd_conv *conv, int64_t c) {
    if (!conv->paired) return c;
    const int64_t vector = c / 16, lane = c % 16;
    if (vector < conv->shape.c / 16 / 3 * 3) return vector / 3 * 48 + 3 * lane + vector % 3;
    return lane == 15 ? c : vector * 16 + lane % 5 * 3 + lane / 5;
}

// A panel of output channels, which belong to one group.
typedef struct {
    int64_t group, first;       // its group and its first channel within it
    int64_t o, columns, width;  // its first channel among all, its channels, and those with the padding
    int64_t weights;            // where its weights begin: [planes, ck_winograd_rows, width]
} ck_winograd_panel;

static ck_winograd_panel ck_winograd_panel_at(const ck_winograd_conv *conv, int64_t p) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t outputs = s->o / s->groups, count = conv->panels / s->groups;
    const int64_t widest = ck_winograd_widest(conv->level), grain = ck_winograd_grain(conv);
    ck_winograd_panel panel = {.group = p / count, .first = p % count * widest};
    panel.o = panel.group * outputs + panel.first;
    panel.columns = ck_least(widest, outputs - panel.first);
    panel.width = ck_up(panel.columns, grain);
    panel.weights =
        (panel.group * ck_up(outputs, grain) + panel.first) * ck_winograd_rows(conv) * ck_winograd_planes(conv);
    return panel;
}

// Offsets in scratch, the distance of planes in the two arrays and of rows among the products; of each plane, where its
// points are in a table of 6 x 6 with the infinite ones last (or of a line's 10), and which of a walk's counts is the number of its rows.
typedef struct {
    int64_t inputs, products, pairs, inverses, input_plane, product_plane, columns, size;
    int64_t planes;
    uint8_t slot[36], count[36];
} ck_winograd_layout;

// The fewest outputs with which a tile has point i: the points 0, A and infinity are in all.
static inline int64_t ck_winograd_fewest(int64_t i, int64_t m) { return i == 0 || i == m + 1 ? 1 : i; }

static ck_winograd_layout ck_winograd_layout_of(const ck_winograd_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    const int64_t n = conv->m + 2, planes = ck_winograd_planes(conv), groups = (s->groups + conv->chunks - 1) / conv->chunks;
    const int64_t channels = ck_up(groups * (s->c / s->groups), 16);
    ck_winograd_layout layout = {.planes = planes};
    // All tiles of a line have all points: at its end, some of the outputs are computed for nothing.
    for (int64_t i = 0; i < planes && ck_winograd_is_line(s); i++) layout.slot[i] = (uint8_t)i;
    for (int64_t i = 0; i < n && !ck_winograd_is_line(s); i++)
        for (int64_t j = 0; j < n; j++) {
            layout.slot[i * n + j] = (uint8_t)((i < n - 1 ? i : 5) * 6 + (j < n - 1 ? j : 5));
            layout.count[i * n + j] =
                (uint8_t)((ck_winograd_fewest(i, conv->m) - 1) * 4 + ck_winograd_fewest(j, conv->m) - 1);
        }
    // A panel is written with its padding, over which the next one writes.
    const int64_t widest = ck_winograd_widest(conv->level), outputs = s->o / s->groups;
    const int64_t padding = ck_up(outputs, ck_winograd_grain(conv)) - outputs;
    layout.columns = ck_up(ck_least(conv->panel_group * widest, groups * outputs + padding), widest);
    layout.input_plane = channels * conv->block_tiles + 16;
    layout.product_plane = conv->block_tiles * layout.columns + 16;
    layout.inputs = channels;
    layout.products = layout.inputs + planes * layout.input_plane;
    // For each row of each plane, if channels are paired.
    layout.pairs = layout.products + planes * layout.product_plane;
    layout.inverses = layout.pairs + (conv->paired ? planes * conv->block_tiles : 0);
    layout.size = layout.inverses + (conv->paired ? planes * conv->block_tiles : 0);
    return layout;
}

typedef struct {
    int64_t image, h, w;  // in tiles
    int64_t r_h, r_w;     // outputs that it has: m, or fewer at the bottom and at the right
} ck_winograd_tile;

// Goes through the tiles of a block. A plane has a row for every tile that takes part in it: those with
// r_h >= a and r_w >= b, for the a and b of the plane's points; rows[4 (a - 1) + b - 1] have been passed so far.
typedef struct {
    ck_winograd_tile tile;
    int64_t left;
    int64_t rows[16];
} ck_winograd_walk;

static void ck_winograd_set_extent(const ck_winograd_conv *conv, ck_winograd_tile *tile) {
    const int64_t m_h = ck_winograd_tile_h(conv), m_w = ck_winograd_tile_w(conv);
    tile->r_h = ck_least(m_h, conv->shape.oh - tile->h * m_h);
    tile->r_w = ck_least(m_w, conv->shape.ow - tile->w * m_w);
}

static ck_winograd_walk ck_winograd_start(const ck_winograd_conv *conv, int64_t block) {
    const int64_t tiles = conv->shape.n * conv->tiles_h * conv->tiles_w;
    const int64_t first = block * tiles / conv->blocks;
    ck_winograd_walk walk = {.left = (block + 1) * tiles / conv->blocks - first};
    walk.tile.w = first % conv->tiles_w;
    walk.tile.h = first / conv->tiles_w % conv->tiles_h;
    walk.tile.image = first / conv->tiles_w / conv->tiles_h;
    ck_winograd_set_extent(conv, &walk.tile);
    return walk;
}

static void ck_winograd_next(const ck_winograd_conv *conv, ck_winograd_walk *walk) {
    ck_winograd_tile *tile = &walk->tile;
    for (int64_t a = 0; a < tile->r_h; a++)
        for (int64_t b = 0; b < tile->r_w; b++) walk->rows[4 * a + b]++;
    walk->left--;
    if (++tile->w == conv->tiles_w) {
        tile->w = 0;
        if (++tile->h == conv->tiles_h) {
            tile->h = 0;
            tile->image++;
        }
    }
    ck_winograd_set_extent(conv, tile);
}

#define CK_FAMILY "winograd_kernels.h"
#include "each_level.h"

// Pairs of an input and an output channel.
static int64_t ck_winograd_pairs(const ck_conv2d_shape *s) { return s->c / s->groups * s->o; }

// Few tiles and many weights: what counts is the memory that the weights take.
static bool ck_winograd_is_heavy(const ck_conv2d_shape *s) {
    return s->n * s->oh * s->ow <= 64 && ck_winograd_pairs(s) >= 96 * 128;
}

// GFLOP/s counted direct, one thread and two, weights from afar, with m = 2, 3, 4 and without Winograd:
//     7 x 7, 512 -> 512   182 179 121 112   256 235 181 215
//     7 x 7, 160 -> 320   170 172 116 112   293 279 213 220
//     7 x 7,  96 -> 128   145 179 135 113   263 311 229 215
//     7 x 7,  64 ->  64   139 182 234 113   220 276 374 218
//     6 x 6, 128 -> 256   188 133  89 111   292 233 164 213
//   10 x 10, 160 -> 256   186 220 241 114   311 362 397 224
// For two images of 7 x 7, 4 is the best, but for 256 -> 256 on one thread; it is for all that is larger.
static int64_t ck_winograd_tile_size(const ck_conv2d_shape *s) {
    if (!ck_winograd_is_heavy(s)) return 4;
    return s->n * s->oh * s->ow <= 36 || ck_winograd_pairs(s) >= 256 * 256 ? 2 : 3;
}

bool ck_winograd_suits(const ck_conv2d_shape *s) {
    const bool is_line = (s->kh == 1 && s->kw == CK_LINE_TAPS) || (s->kh == CK_LINE_TAPS && s->kw == 1);
    if ((!is_line && (s->kh != 3 || s->kw != 3)) || s->stride_h != 1 || s->stride_w != 1 || s->dilation_h != 1 ||
        s->dilation_w != 1 || s->pad_top < 0 || s->pad_top >= s->kh || s->pad_left < 0 || s->pad_left >= s->kw)
        return false;
    const int64_t pixels = s->n * s->oh * s->ow, inputs = s->c / s->groups, outputs = s->o / s->groups;
    // Few pixels: ten planes of weights take longer to come than seven. A line of one or two: most of a tile would be for
    // nothing.
    if (is_line)
        return s->groups == 1 && inputs >= 16 && outputs >= 16 && pixels > 128 && (s->kh == 1 ? s->ow : s->oh) >= 3;
    // One image of 4 x 4 x 512, weights from afar: 79 and 86 GFLOP/s counted direct with m = 2,
    // 98 and 101 without Winograd.
    if (pixels <= 16 && ck_winograd_is_heavy(s)) return false;
    if (s->groups == 1) return inputs >= 16 && outputs >= 16;
    // Groups of 8 channels, one thread: 109 GFLOP/s at 28 x 28 x 256, 94 at 14 x 14 x 440; without Winograd 63 and 68.
    // Groups of 4: 45 at 56 x 56 x 64, 91 by ck_grouped_conv. One image of 7 x 7, weights from afar, two threads: groups
    // of 16, 146 and 176; of 24, 131 and 176; of 48, 233 and 208; of 64, 260 and 210.
    const int64_t least = pixels > 64 ? 8 : 32;
    return inputs >= least && outputs >= least;
}

// Whether channels are paired: where there are enough of them, and outputs, to pay for what is done to inputs and products (two
// threads of a Zen 4, 28 x 28, GFLOP/s counted direct without pairs and with them: 48 to 32 638 and 578, to 64 695 and 708, to 256
// 762 and 866; 64 to 64 732 and 786, to 256 791 and 928; 128 to 32 705 and 730, to 128 810 and 979; 256 to 256 850 and 1061;
// but 14 x 14, 128 to 32 599 and 582). For weights of a shape always or never, so that plans share them.
static bool ck_winograd_pairs_channels(const ck_winograd_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    return conv->level == CK_LEVEL_AVX512 && ck_cores_current() == CK_CORES_ZEN4 && s->groups == 1 && s->c % 16 == 0 &&
           s->c >= 48 && s->o >= 48 && ck_winograd_pairs(s) >= 4096;
}

void ck_winograd_prepare(ck_winograd_conv *conv, int64_t threads) {
    const ck_conv2d_shape *s = &conv->shape;
    conv->level = ck_level_current();
    conv->paired = ck_winograd_pairs_channels(conv);
    const bool is_line = ck_winograd_is_line(s);
    if (is_line) conv->m = 4;
    if (conv->m < 2 || conv->m > 4) conv->m = ck_winograd_tile_size(s);
    const int64_t m_h = ck_winograd_tile_h(conv), m_w = ck_winograd_tile_w(conv);
    const int64_t planes = ck_winograd_planes(conv), panel = ck_winograd_widest(conv->level);
    const int64_t channels = s->c / s->groups, outputs = s->o / s->groups;
    threads = ck_most(1, threads);
    conv->panels = s->groups * ((outputs + panel - 1) / panel);
    conv->tiles_h = (s->oh + m_h - 1) / m_h;
    conv->tiles_w = (s->ow + m_w - 1) / m_w;
    const int64_t tiles = ck_most(1, s->n * conv->tiles_h * conv->tiles_w);
    const int64_t most = is_line ? 72 : 24;  // so that what is transformed stays in the second-level cache
    const int64_t blocks = (tiles + most - 1) / most;
    // Groups that together have as many channels as the transforms need to be efficient, and whole vectors of them.
    int64_t chunk = (64 + channels - 1) / channels;
    while (chunk * channels % 16 != 0 && chunk * channels < 128) chunk++;
    conv->chunks = ck_most(1, s->groups / chunk);
    if (blocks * conv->chunks % threads != 0) conv->chunks = ck_least(s->groups, ck_up(conv->chunks, threads));
    conv->blocks = conv->chunks >= threads ? blocks : ck_least(tiles, ck_up(blocks, threads));
    conv->panel_splits = 1;
    if (s->groups == 1 && tiles < threads * 12 && conv->panels >= threads) {
        conv->blocks = 1;
        conv->panel_splits = threads;
    }
    conv->block_tiles = (tiles + conv->blocks - 1) / conv->blocks;
    const int64_t group_panels = (s->groups + conv->chunks - 1) / conv->chunks * (conv->panels / s->groups);
    conv->panel_group = ck_most(1, ck_least(group_panels, 65536 / (planes * ck_least(panel, outputs) * conv->block_tiles)));
    conv->units = conv->blocks * conv->chunks * conv->panel_splits;
    conv->scratch = ck_winograd_layout_of(conv).size;
}

int64_t ck_winograd_weights(const ck_winograd_conv *conv) {
    const ck_conv2d_shape *s = &conv->shape;
    return ck_up(s->o / s->groups, ck_winograd_grain(conv)) * s->groups * ck_winograd_rows(conv) * ck_winograd_planes(conv);
}

void ck_winograd_pack(const ck_winograd_conv *conv, const float *weight, int64_t begin, int64_t end, float *packed) {
    static void (*const table[])(const ck_winograd_conv *, const float *, int64_t, int64_t, float *) =
        CK_TABLE(ck_winograd_pack);
    table[conv->level](conv, weight, begin, end, packed);
}

void ck_winograd_pack_view(const ck_winograd_conv *conv, const ck_weight_view *view, int64_t begin, int64_t end,
                           float *packed) {
    static void (*const table[])(const ck_winograd_conv *, const ck_weight_view *, int64_t, int64_t, float *) =
        CK_TABLE(ck_winograd_pack_view);
    table[conv->level](conv, view, begin, end, packed);
}

void ck_winograd_unpack(const ck_winograd_conv *conv, const float *packed, int64_t begin, int64_t end, float *weight) {
    static void (*const table[])(const ck_winograd_conv *, const float *, int64_t, int64_t, float *) =
        CK_TABLE(ck_winograd_unpack);
    table[conv->level](conv, packed, begin, end, weight);
}

void ck_winograd_run(const ck_winograd_conv *conv, const ck_operands *operands, int64_t begin, int64_t end,
                     float *scratch) {
    static void (*const table[])(const ck_winograd_conv *, const ck_operands *, int64_t, int64_t, float *) =
        CK_TABLE(ck_winograd_run);
    table[conv->level](conv, operands, begin, end, scratch);
}
