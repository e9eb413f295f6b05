// Reductions and softmax of one instruction-set level.
#include "columns.h"

// The sum of x[i] * y[i], or of x[i] if y is null (a constant where this is inlined): blocks of 1024 elements in four
// vectors, the blocks in double.
#define blocked_sum CK_NAME(blocked_sum)
CK_INLINE double blocked_sum(const float *x, const float *y, int64_t n) {
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += 1024) {
        const int64_t end = n - begin < 1024 ? n : begin + 1024;
        vf part[4] = {v_splat(0), v_splat(0), v_splat(0), v_splat(0)};
        int64_t i = begin;
        for (; i + 4 * CK_VL <= end; i += 4 * CK_VL) {
            for (int k = 0; k < 4; k++) {
                const vf v = v_load(x + i + k * CK_VL);
                part[k] = y ? v * v_load(y + i + k * CK_VL) + part[k] : v + part[k];
            }
        }
        for (; i < end; i += CK_VL) {
            const int64_t lanes = end - i < CK_VL ? end - i : CK_VL;
            const vf v = v_load_n(x + i, lanes);
            part[0] = y ? v * v_load_n(y + i, lanes) + part[0] : v + part[0];
        }
        total += v_sum((part[0] + part[1]) + (part[2] + part[3]));
    }
    return total;
}

static double CK_NAME(ck_sum_f32)(const float *x, int64_t n) { return blocked_sum(x, NULL, n); }

static double CK_NAME(ck_dot_f32)(const float *x, const float *y, int64_t n) { return blocked_sum(x, y, n); }

// The larger of a and b, NaN if either is.
#define max_or_nan CK_NAME(max_or_nan)
CK_INLINE vf max_or_nan(vf a, vf b) { return a != a ? a : v_max(a, b); }

static float CK_NAME(ck_max_f32)(const float *x, int64_t n) {
    if (n < CK_VL) {
        float largest = -INFINITY;
        for (int64_t i = 0; i < n; i++)
            if (!(x[i] <= largest) && largest == largest) largest = x[i];
        return largest;
    }
    // A last vector that overlaps changes no maximum.
    vf largest = v_load(x + n - CK_VL);
    for (int64_t i = 0; i + CK_VL <= n; i += CK_VL) largest = max_or_nan(largest, v_load(x + i));
    float result = largest[0];
    for (int i = 1; i < CK_VL; i++)
        if (!(largest[i] <= result) && result == result) result = largest[i];
    return result;
}

static void CK_NAME(ck_sum_columns_f32)(const float *x, int64_t rows, int64_t cols, double *y) {
    const ck_column_operands o = {.a = x, .rows = rows, .cols = cols};
    column_sums(CK_SUM_A, CK_IDENTITY, &o, y, NULL);
}

static void CK_NAME(ck_dot_columns_f32)(const float *a, const float *b, int64_t rows, int64_t cols, double *y) {
    const ck_column_operands o = {.a = a, .b = b, .rows = rows, .cols = cols};
    column_sums(CK_SUM_AB, CK_IDENTITY, &o, y, NULL);
}

static void CK_NAME(ck_sum_rows_f32)(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++) y[r] = (float)blocked_sum(x + r * cols, NULL, cols);
}

static void CK_NAME(ck_norm_rows_f32)(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++) y[r] = (float)sqrt(blocked_sum(x + r * cols, x + r * cols, cols));
}

// The sum of exp(x - largest) over a row; the terms go to y unless it is null.
#define exp_row CK_NAME(exp_row)
CK_INLINE float exp_row(const float *x, float largest, int64_t cols, float *y) {
    vf sum = v_splat(0);
    int64_t c = 0;
    for (; c + CK_VL <= cols; c += CK_VL) {
        const vf e = v_exp(v_load(x + c) - largest);
        if (y) v_store(y + c, e);
        sum = sum + e;
    }
    if (c < cols) {
        const vf e = v_exp(v_load_part(x + c, cols - c) - largest);
        float lanes[CK_VL];
        v_store(lanes, e);
        if (y) v_store_part(y + c, e, cols - c);
        // The lanes beyond hold exp(-largest), which may be infinite: only add the valid ones.
        sum = sum + v_load_part(lanes, cols - c);
    }
    return v_sum(sum);
}

static void CK_NAME(ck_softmax_forward_f32)(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
        const float scale = 1.0f / exp_row(x, CK_NAME(ck_max_f32)(x, cols), cols, y);
        V_EACH(c, cols, lanes, v_store_n(y + c, v_load_n(y + c, lanes) * scale, lanes););
    }
}

static void CK_NAME(ck_softmax_backward_f32)(const float *y, const float *dy, int64_t rows, int64_t cols, float *dx) {
    for (int64_t r = 0; r < rows; r++, y += cols, dy += cols, dx += cols) {
        const float dot = (float)blocked_sum(y, dy, cols);
        V_EACH(c, cols, lanes, {
            v_store_n(dx + c, v_load_n(y + c, lanes) * (v_load_n(dy + c, lanes) - dot), lanes);
        });
    }
}

static void CK_NAME(ck_log_softmax_forward_f32)(const float *x, int64_t rows, int64_t cols, float *y) {
    for (int64_t r = 0; r < rows; r++, x += cols, y += cols) {
        const float largest = CK_NAME(ck_max_f32)(x, cols);
        const float log_sum = logf(exp_row(x, largest, cols, NULL));
        V_EACH(c, cols, lanes, v_store_n(y + c, v_load_n(x + c, lanes) - largest - log_sum, lanes););
    }
}

static void CK_NAME(ck_log_softmax_backward_f32)(const float *y, const float *dy, int64_t rows, int64_t cols,
                                                 float *dx) {
    for (int64_t r = 0; r < rows; r++, y += cols, dy += cols, dx += cols) {
        const float sum = (float)blocked_sum(dy, NULL, cols);
        V_EACH(c, cols, lanes, {
            v_store_n(dx + c, v_load_n(dy + c, lanes) - v_exp(v_load_n(y + c, lanes)) * sum, lanes);
        });
    }
}
