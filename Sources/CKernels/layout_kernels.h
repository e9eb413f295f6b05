// Transposition, strided copies and conversions of one instruction-set level.

// Tiles of 4 x 4 with four lanes, of 8 x 8 otherwise: 16 x 16 would need all of AVX-512's registers and saves little.
#define TILE (CK_VL == 4 ? 4 : 8)
#define row_vector CK_NAME(row_vector)
typedef float row_vector __attribute__((ext_vector_type(TILE)));
#define row_unaligned CK_NAME(row_unaligned)
typedef float row_unaligned __attribute__((ext_vector_type(TILE), aligned(4), may_alias));

// y[c * y_row + r] = x[r * x_row + c] for one tile, or += if `add`, a constant where this is inlined.
#define transpose_tile CK_NAME(transpose_tile)
CK_INLINE void transpose_tile(const float *x, int64_t x_row, float *y, int64_t y_row, bool add) {
    row_vector a[TILE], b[TILE];
    for (int i = 0; i < TILE; i++) a[i] = *(const row_unaligned *)(x + i * x_row);
#if CK_VL == 4
    // Interleave rows 0 and 2, 1 and 3, and then what came out.
    b[0] = __builtin_shufflevector(a[0], a[2], 0, 4, 1, 5);
    b[1] = __builtin_shufflevector(a[0], a[2], 2, 6, 3, 7);
    b[2] = __builtin_shufflevector(a[1], a[3], 0, 4, 1, 5);
    b[3] = __builtin_shufflevector(a[1], a[3], 2, 6, 3, 7);
    for (int i = 0; i < 2; i++) {
        a[2 * i] = __builtin_shufflevector(b[i], b[i + 2], 0, 4, 1, 5);
        a[2 * i + 1] = __builtin_shufflevector(b[i], b[i + 2], 2, 6, 3, 7);
    }
#else
    // Pairs of rows, pairs of pairs within the 128-bit halves, and then the halves.
    for (int i = 0; i < 8; i += 2) {
        b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4) {
        a[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        a[i + 1] = __builtin_shufflevector(b[i], b[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        a[i + 2] = __builtin_shufflevector(b[i + 1], b[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        a[i + 3] = __builtin_shufflevector(b[i + 1], b[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        b[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        b[i + 4] = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int i = 0; i < 8; i++) a[i] = b[i];
#endif
    for (int i = 0; i < TILE; i++) {
        row_unaligned *to = (row_unaligned *)(y + i * y_row);
        *to = add ? *to + a[i] : a[i];
    }
}

#define transpose_matrix CK_NAME(transpose_matrix)
CK_INLINE void transpose_matrix(const float *x, int64_t x_row, int64_t rows, int64_t cols, float *y, int64_t y_row,
                                bool add) {
    // 16 rows at a time, so that a cache line of y is written in one go.
    const int64_t full_cols = cols / TILE * TILE;
    for (int64_t r0 = 0; r0 < rows; r0 += 16) {
        const int64_t end = rows - r0 < 16 ? rows : r0 + 16, full_end = r0 + (end - r0) / TILE * TILE;
        for (int64_t c = 0; c < full_cols; c += TILE) {
            for (int64_t r = r0; r < full_end; r += TILE)
                transpose_tile(x + r * x_row + c, x_row, y + c * y_row + r, y_row, add);
        }
        for (int64_t r = full_end; r < end; r++)
            for (int64_t c = 0; c < full_cols; c++)
                y[c * y_row + r] = add ? y[c * y_row + r] + x[r * x_row + c] : x[r * x_row + c];
        for (int64_t c = full_cols; c < cols; c++)
            for (int64_t r = r0; r < end; r++)
                y[c * y_row + r] = add ? y[c * y_row + r] + x[r * x_row + c] : x[r * x_row + c];
    }
}

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

#undef TILE
