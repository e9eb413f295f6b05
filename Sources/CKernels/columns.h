// Sums over the rows of a [rows, cols] array, per column, in double; for the families that need them, after vector.h.
// Blocks of 64 rows are added up in float, in a strip of columns that stays in the first-level cache, and the strip then
// goes into the doubles: few terms per float sum, and the memory is read in long runs.
#include "activations.h"

#define column_sums CK_NAME(column_sums)
#define column_terms CK_NAME(column_terms)

#ifndef CK_COLUMNS_H
#define CK_COLUMNS_H

enum { CK_COLUMN_STRIP = 512, CK_ROW_BLOCK = 64 };

typedef enum {
    CK_SUM_A,         // a
    CK_SUM_AB,        // a b
    CK_SUM_MOMENTS,   // a - mean[c], and its square
    CK_SUM_B_AND_BA,  // b f'(scale[c] a + shift[c]), and that times a - mean[c]
    CK_SUM_B_AND_BX,  // b, and b (a - row_mean[r]) row_rstd[r]
} ck_column_kind;

typedef struct {
    const float *a, *b, *mean, *row_mean, *row_rstd;
    const float *scale, *shift;  // not for f = CK_IDENTITY
    int64_t rows, cols;
} ck_column_operands;

#endif

// The terms of one row; kind and f are constants where this is inlined.
CK_INLINE void column_terms(ck_column_kind kind, ck_activation f, const ck_column_operands *o, int64_t r, int64_t c, int64_t lanes,
                            vf *first, vf *second) {
    const vf a = v_load_n(o->a + r * o->cols + c, lanes);
    *second = v_splat(0);
    if (kind == CK_SUM_A) {
        *first = a;
        return;
    }
    if (kind == CK_SUM_MOMENTS) {
        *first = a - v_load_n(o->mean + c, lanes);
        *second = *first * *first;
        return;
    }
    vf b = v_load_n(o->b + r * o->cols + c, lanes);
    if (kind == CK_SUM_AB) {
        *first = a * b;
        return;
    }
    if (f != CK_IDENTITY)
        b = v_activation_backward(f, a * v_load_n(o->scale + c, lanes) + v_load_n(o->shift + c, lanes), b);
    *first = b;
    if (kind == CK_SUM_B_AND_BA)
        *second = b * (a - v_load_n(o->mean + c, lanes));
    else
        *second = b * ((a - o->row_mean[r]) * o->row_rstd[r]);
}

// first[c] += and, for the kinds that have two sums, second[c] += over all rows.
CK_INLINE void column_sums(ck_column_kind kind, ck_activation f, const ck_column_operands *o, double *first,
                           double *second) {
    float sum[2][CK_COLUMN_STRIP];
    const int sums = kind == CK_SUM_A || kind == CK_SUM_AB ? 1 : 2;
    for (int64_t c0 = 0; c0 < o->cols; c0 += CK_COLUMN_STRIP) {
        const int64_t cols = o->cols - c0 < CK_COLUMN_STRIP ? o->cols - c0 : CK_COLUMN_STRIP;
        for (int64_t r0 = 0; r0 < o->rows; r0 += CK_ROW_BLOCK) {
            const int64_t end = o->rows - r0 < CK_ROW_BLOCK ? o->rows : r0 + CK_ROW_BLOCK;
            for (int64_t c = 0; c < cols; c++) sum[0][c] = sum[1][c] = 0;
            int64_t r = r0;
            for (; r + 4 <= end; r += 4) {
                V_EACH(c, cols, lanes, {
                    vf t[4], u[4];
                    for (int i = 0; i < 4; i++) column_terms(kind, f, o, r + i, c0 + c, lanes, &t[i], &u[i]);
                    v_store_n(sum[0] + c, v_load_n(sum[0] + c, lanes) + ((t[0] + t[1]) + (t[2] + t[3])), lanes);
                    if (sums == 2)
                        v_store_n(sum[1] + c, v_load_n(sum[1] + c, lanes) + ((u[0] + u[1]) + (u[2] + u[3])), lanes);
                });
            }
            for (; r < end; r++) {
                V_EACH(c, cols, lanes, {
                    vf t, u;
                    column_terms(kind, f, o, r, c0 + c, lanes, &t, &u);
                    v_store_n(sum[0] + c, v_load_n(sum[0] + c, lanes) + t, lanes);
                    if (sums == 2) v_store_n(sum[1] + c, v_load_n(sum[1] + c, lanes) + u, lanes);
                });
            }
            for (int64_t c = 0; c < cols; c++) first[c0 + c] += sum[0][c];
            if (sums == 2)
                for (int64_t c = 0; c < cols; c++) second[c0 + c] += sum[1][c];
        }
    }
}
