// Transposition, for the families that need it, after vector.h.

// Tiles of 4 x 4 with four lanes, of 8 x 8 otherwise: 16 x 16 would need all of AVX-512's registers and saves little.
#define TRANSPOSE_TILE (CK_VL == 4 ? 4 : 8)
#define row_vector CK_NAME(row_vector)
typedef float row_vector __attribute__((ext_vector_type(TRANSPOSE_TILE)));
#define row_unaligned CK_NAME(row_unaligned)
typedef float row_unaligned __attribute__((ext_vector_type(TRANSPOSE_TILE), aligned(4), may_alias));

// y[c * y_row + r] = x[r * x_row + c] for one tile, or += if `add`, a constant where this is inlined.
#define transpose_tile CK_NAME(transpose_tile)
CK_INLINE void transpose_tile(const float *x, int64_t x_row, float *y, int64_t y_row, bool add) {
    row_vector a[TRANSPOSE_TILE], b[TRANSPOSE_TILE];
    for (int i = 0; i < TRANSPOSE_TILE; i++) a[i] = *(const row_unaligned *)(x + i * x_row);
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
    for (int i = 0; i < TRANSPOSE_TILE; i++) {
        row_unaligned *to = (row_unaligned *)(y + i * y_row);
        *to = add ? *to + a[i] : a[i];
    }
}

#define transpose_matrix CK_NAME(transpose_matrix)
CK_INLINE void transpose_matrix(const float *x, int64_t x_row, int64_t rows, int64_t cols, float *y, int64_t y_row,
                                bool add) {
    // 16 rows at a time, so that a cache line of y is written in one go.
    const int64_t full_cols = cols / TRANSPOSE_TILE * TRANSPOSE_TILE;
    for (int64_t r0 = 0; r0 < rows; r0 += 16) {
        const int64_t end = rows - r0 < 16 ? rows : r0 + 16, full_end = r0 + (end - r0) / TRANSPOSE_TILE * TRANSPOSE_TILE;
        for (int64_t c = 0; c < full_cols; c += TRANSPOSE_TILE) {
            for (int64_t r = r0; r < full_end; r += TRANSPOSE_TILE)
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
