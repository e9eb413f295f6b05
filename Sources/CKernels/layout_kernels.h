// Transposition, strided copies and conversions of one instruction-set level.
#include "transpose.h"

static void CK_NAME(ck_transpose_f32)(const float *x, int64_t batch, int64_t rows, int64_t cols, float *y) {
    for (int64_t n = 0; n < batch; n++, x += rows * cols, y += rows * cols)
        transpose_matrix(x, cols, rows, cols, y, rows, false);
}

static void CK_NAME(ck_gather_strided_f32)(const float *x, int64_t rank, const int64_t *sizes, const int64_t *strides,
                                           float *y) {
    ck_strided s;
    if (!ck_simplify(rank, sizes, strides, &s)) return;
    if (s.rank == 0) {
        *y = *x;
        return;
    }
    int64_t index[8] = {0}, offset = 0;
    const int64_t n = s.sizes[s.rank - 1], step = s.strides[s.rank - 1];
    if (s.rank > 1 && step > 1 && s.strides[s.rank - 2] == 1) {
        // The last two dimensions are a matrix that lies the other way round.
        const int64_t cols = s.sizes[s.rank - 2];
        do {
            transpose_matrix(x + offset, step, n, cols, y, n, false);
            y += n * cols;
        } while (ck_advance(&s, s.rank - 2, index, &offset));
        return;
    }
    do {
        const float *from = x + offset;
        if (step == 1) {
            v_copy(y, from, n);
        } else if (step == 0) {
            const vf value = v_splat(*from);
            V_EACH(i, n, lanes, v_store_n(y + i, value, lanes););
        } else {
            for (int64_t i = 0; i < n; i++) y[i] = from[i * step];
        }
        y += n;
    } while (ck_advance(&s, s.rank - 1, index, &offset));
}

static void CK_NAME(ck_scatter_add_strided_f32)(const float *y, int64_t rank, const int64_t *sizes,
                                                const int64_t *strides, float *x) {
    ck_strided s;
    if (!ck_simplify(rank, sizes, strides, &s)) return;
    if (s.rank == 0) {
        *x += *y;
        return;
    }
    int64_t index[8] = {0}, offset = 0;
    const int64_t n = s.sizes[s.rank - 1], step = s.strides[s.rank - 1];
    if (s.rank > 1 && step > 1 && s.strides[s.rank - 2] == 1) {
        const int64_t rows = s.sizes[s.rank - 2];
        do {
            transpose_matrix(y, n, rows, n, x + offset, step, true);
            y += rows * n;
        } while (ck_advance(&s, s.rank - 2, index, &offset));
        return;
    }
    do {
        float *to = x + offset;
        if (step == 1) {
            V_EACH(i, n, lanes, v_store_n(to + i, v_load_n(to + i, lanes) + v_load_n(y + i, lanes), lanes););
        } else if (step == 0) {
            vf sum = v_splat(0);
            V_EACH(i, n, lanes, sum = sum + v_load_n(y + i, lanes););
            *to += v_sum(sum);
        } else {
            for (int64_t i = 0; i < n; i++) to[i * step] += y[i];
        }
        y += n;
    } while (ck_advance(&s, s.rank - 1, index, &offset));
}

// The compiler vectorizes these.
static void CK_NAME(ck_f16_to_f32)(const uint16_t *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        // Shifted into float32's place the exponent lacks 112; the multiplication adds it, also to subnormals.
        // Infinity and NaN are exponent 31 here and get 255.
        const uint32_t magnitude = (uint32_t)(x[i] & 0x7fff) << 13, sign = (uint32_t)(x[i] & 0x8000) << 16;
        const float scaled = ck_float_of_bits(magnitude) * 0x1p112f;
        uint32_t bits;
        memcpy(&bits, &scaled, sizeof bits);
        y[i] = ck_float_of_bits((magnitude >= 0x0f800000 ? magnitude | 0x7f800000 : bits) | sign);
    }
}

static void CK_NAME(ck_bf16_to_f32)(const uint16_t *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = ck_float_of_bits((uint32_t)x[i] << 16);
}

static void CK_NAME(ck_f64_to_f32)(const double *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = (float)x[i];
}
