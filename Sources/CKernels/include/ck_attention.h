// Multi-head attention for inference: y = softmax(similarity(q, k) + bias + mask) v in each head, in blocks of rows of the
// score matrix, which never exists as a whole.
//
// Letters: B sequences (or windows), L tokens, H heads, D channels of a head, W masks.
//
//     ck_attention attention = {.batch = ..., .tokens = ..., ...};
//     ck_attention_prepare(&attention, threads);
//     ck_attention_pack(&attention, bias, mask, addends);   // once, ck_attention_addends(&attention) floats
//     ck_attention_run(&attention, x, factors, addends, y, begin, end, scratch);  // ranges that cover 0 ..< units
#ifndef CK_ATTENTION_H
#define CK_ATTENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "ck_level.h"

typedef struct {
    int64_t batch, tokens, heads, depth;
    int64_t x_stride;  // floats from one token to the next in x, at least 3 H D
    int64_t y_stride;  // and in y, at least H D
    bool cosine;       // factors[h] cos(q, k), with norms below 1e-12 taken as that, instead of scale q k
    float scale;
    bool has_bias, has_mask;
    int64_t windows;   // W; sequence b takes mask b mod W

    // Set by ck_attention_prepare.
    ck_level level;    // that ck_attention_run uses
    int64_t units;     // of work; units are independent of each other
    int64_t splits;    // of the rows of one head of one sequence into units
    int64_t scratch;   // floats that each concurrent ck_attention_run needs, 64-byte aligned
} ck_attention;

void ck_attention_prepare(ck_attention *attention, int64_t threads);

// The floats that ck_attention_pack writes.
int64_t ck_attention_addends(const ck_attention *attention);

// What is added to the scores: from bias [H, L, L] and mask [W, L, L], each null where there is none, to padded rows.
void ck_attention_pack(const ck_attention *attention, const float *bias, const float *mask, float *addends);

// Units [begin, end). x: queries, keys and values [B, L, 3, H, D]; factors: [H], for cosines only; y: [B, L, H D].
void ck_attention_run(const ck_attention *attention, const float *x, const float *factors, const float *addends,
                      float *y, int64_t begin, int64_t end, float *scratch);

// The whole of it as the formula reads, without scratch or preparation.
void ck_attention_f32_ref(const ck_attention *attention, const float *x, const float *factors, const float *bias,
                          const float *mask, float *y);

#endif
