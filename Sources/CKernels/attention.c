// Attention for inference: see attention_kernels.h.
#include "CKernels.h"

#include <math.h>

static const float CK_LOG2_E = 1.44269504088896341f;

// Rows of scores and of addends are padded to whole cache lines at every level, so that addends fit all of them.
static int64_t ck_padded(int64_t n) { return (n + 15) / 16 * 16; }

// The row stride of the scores: an odd number of cache lines, or the rows of a tile would share few sets of the cache.
static int64_t ck_scores_stride(int64_t tokens) { return ck_padded(tokens) | 16; }

// The places in scratch, in floats from its start.
typedef struct {
    int64_t keys, values, queries, scores, end;
} ck_attention_layout;

enum { CK_ATTENTION_ROWS = 12 };  // the most rows of a tile at any level

static ck_attention_layout ck_attention_places(const ck_attention *s) {
    ck_attention_layout p;
    const int64_t tokens = ck_padded(s->tokens), depth = ck_padded(s->depth);
    p.keys = 0;
    p.values = p.keys + tokens * depth;
    p.queries = p.values + tokens * depth;
    p.scores = p.queries + CK_ATTENTION_ROWS * depth;
    p.end = p.scores + CK_ATTENTION_ROWS * ck_scores_stride(s->tokens);
    return p;
}

// The addends: H biases or, where there is no bias, one row of zeros; then W flags, whether the mask has anything but
// zeros; then W masks. The columns beyond L of bias (or the row of zeros) are -infinity, which keeps the padding out of
// the softmax.
static int64_t ck_bias_floats(const ck_attention *s) {
    return (s->has_bias ? s->heads * s->tokens : 1) * ck_padded(s->tokens);
}

// The operands of one tile: a block of rows of a times a panel of b.
typedef struct {
    const float *a, *b;
    int64_t a_stride, depth;
    // Scores: what the sums start from, mask null for none, and each row's largest score so far, a vector a row.
    const float *bias, *mask;
    int64_t bias_stride, mask_stride;
    float *largest;
    // Values: what each row is multiplied by (null: scores are wanted), and the columns to be stored.
    const float *factors;
    int64_t lanes;
    float *y;
    int64_t y_stride;
} ck_attention_tile;

#define CK_FAMILY "attention_kernels.h"
#include "each_level.h"

int64_t ck_attention_addends(const ck_attention *s) {
    if (!s->has_mask) return ck_bias_floats(s);
    return ck_bias_floats(s) + ck_padded(s->windows) + s->windows * s->tokens * ck_padded(s->tokens);
}

void ck_attention_pack(const ck_attention *s, const float *bias, const float *mask, float *addends) {
    const int64_t tokens = s->tokens, stride = ck_padded(tokens);
    const int64_t rows = s->has_bias ? s->heads * tokens : 1;
    for (int64_t r = 0; r < rows; r++, addends += stride)
        for (int64_t c = 0; c < stride; c++)
            addends[c] = c >= tokens ? -INFINITY : s->has_bias ? bias[r * tokens + c] * CK_LOG2_E : 0;
    if (!s->has_mask) return;
    float *flags = addends;
    addends += ck_padded(s->windows);
    for (int64_t w = 0; w < ck_padded(s->windows); w++) flags[w] = 0;
    for (int64_t w = 0; w < s->windows; w++) {
        for (int64_t r = 0; r < tokens; r++, addends += stride, mask += tokens) {
            for (int64_t c = 0; c < stride; c++) {
                addends[c] = c < tokens ? mask[c] * CK_LOG2_E : 0;
                if (!(addends[c] == 0)) flags[w] = 1;
            }
        }
    }
}

void ck_attention_prepare(ck_attention *s, int64_t threads) {
    s->level = ck_level_current();
    const int64_t pairs = s->batch * s->heads, most = (s->tokens + CK_ATTENTION_ROWS - 1) / CK_ATTENTION_ROWS;
    // Whole heads, unless they leave a thread idle for more than an eighth of the time; a split packs its keys again.
    s->splits = 1;
    while (s->splits < most && s->splits < 2 * threads) {
        const int64_t units = pairs * s->splits, rounds = (units + threads - 1) / threads;
        if (rounds * threads * 8 <= units * 9) break;
        s->splits++;
    }
    s->units = pairs * s->splits;
    s->scratch = ck_attention_places(s).end;
}

void ck_attention_run(const ck_attention *attention, const float *x, const float *factors, const float *addends,
                      float *y, int64_t begin, int64_t end, float *scratch) {
    typedef void run(const ck_attention *, const float *, const float *, const float *, float *, int64_t, int64_t,
                     float *);
    static run *const table[] = CK_TABLE(ck_attention_run);
    table[attention->level](attention, x, factors, addends, y, begin, end, scratch);
}
