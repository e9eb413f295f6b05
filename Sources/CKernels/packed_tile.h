// The micro-kernel of the packed convolution: a tile of rows times a panel of output channels stays in registers while
// the row's inputs go by. Rows are pointers, one per segment of consecutive floats: a tap's channels, or a whole row of
// the kernel.

// Rows x vectors of a tile: 12 x 2 accumulators, two weights and a few inputs are AVX-512's 32 registers; 6 x 2 AVX2's 16.
#define PACKED_ROWS (CK_VL == 16 ? 12 : CK_VL == 8 ? 6 : 4)

#ifndef CK_PACKED_TILE_H
#define CK_PACKED_TILE_H

typedef struct {
    const float *const *rows;  // [segments, rows]
    int64_t offset;            // floats from those pointers to the first input
    int64_t segments, length;
    const float *weight;       // [segments, length, width]
    const float *start;        // [width] or, with start_step = width, [rows, width]: what the sums start from
    int64_t start_step;
    float *sums;               // [rows, width] for the sums; null: y = clamp(sums + residual)
    float low, high;
    const float *residual;     // may be null
    float *y;
    int64_t residual_stride, y_stride;
    const int64_t *y_rows;     // null: 0, 1, 2, ...; negative: nowhere
    const char *ahead;         // what will be read next, to be fetched at ahead_step bytes per input
    int64_t ahead_step;
} ck_packed_tile;

#endif

// The rest of a panel that is no multiple of AVX-512's 16: 8 lanes, two of which take the time of one of 16 on a Zen 4.
#define CK_HALF (CK_VL == 16 ? 8 : CK_VL)
#define vh CK_NAME(vh)
typedef float vh __attribute__((ext_vector_type(CK_HALF)));
#define vh_unaligned CK_NAME(vh_unaligned)
typedef float vh_unaligned __attribute__((ext_vector_type(CK_HALF), aligned(4), may_alias));

#define UNROLL _Pragma("clang loop unroll(full)")

// rows and width are constants where this is inlined; width = 2 CK_VL at most.
#define packed_tile CK_NAME(packed_tile)
CK_INLINE void packed_tile(const ck_packed_tile *t, const int rows, const int width) {
    const int full = width / CK_VL;
    const bool half = width % CK_VL != 0;
    vf sum[PACKED_ROWS][2];
    vh rest[PACKED_ROWS];
    UNROLL for (int i = 0; i < rows; i++) {
        const float *start = t->start + i * t->start_step;
        UNROLL for (int v = 0; v < full; v++) sum[i][v] = v_load(start + v * CK_VL);
        if (half) rest[i] = *(const vh_unaligned *)(start + full * CK_VL);
    }
    const float *w = t->weight;
    const float *const *pointers = t->rows;
    const int64_t length = t->length, offset = t->offset;
    for (int64_t s = t->segments; s > 0; s--, pointers += rows) {
        const float *x[PACKED_ROWS];
        UNROLL for (int i = 0; i < rows; i++) x[i] = pointers[i] + offset;
        for (int64_t k = 0; k < length; k++, w += width) {
            vf weights[2];
            vh weights_rest;
            UNROLL for (int v = 0; v < full; v++) weights[v] = v_load(w + v * CK_VL);
            if (half) weights_rest = *(const vh_unaligned *)(w + full * CK_VL);
            UNROLL for (int i = 0; i < rows; i++) {
                const float value = x[i][k];
                UNROLL for (int v = 0; v < full; v++) sum[i][v] = value * weights[v] + sum[i][v];
                if (half) rest[i] = value * weights_rest + rest[i];
            }
        }
    }
    if (t->sums) {
        UNROLL for (int i = 0; i < rows; i++) {
            UNROLL for (int v = 0; v < full; v++) v_store(t->sums + i * width + v * CK_VL, sum[i][v]);
            if (half) *(vh_unaligned *)(t->sums + i * width + full * CK_VL) = rest[i];
        }
        return;
    }
    const float low = t->low, high = t->high;
    UNROLL for (int i = 0; i < rows; i++) {
        const int64_t row = t->y_rows ? t->y_rows[i] : i;
        if (row < 0) continue;
        float *y = t->y + row * t->y_stride;
        if (t->residual) {
            const float *r = t->residual + row * t->residual_stride;
            UNROLL for (int v = 0; v < full; v++) sum[i][v] += v_load(r + v * CK_VL);
            if (half) rest[i] += *(const vh_unaligned *)(r + full * CK_VL);
        }
        UNROLL for (int v = 0; v < full; v++) v_store(y + v * CK_VL, v_clamp(sum[i][v], low, high));
        if (half) {
            // As v_clamp, whose NaNs stay.
            const vh bottom = (vh)(low), top = (vh)(high);
            vh value = bottom > rest[i] ? bottom : rest[i];
            value = top < value ? top : value;
            *(vh_unaligned *)(y + full * CK_VL) = value;
        }
    }
}

#if CK_VL == 16
#define FOR_EACH_ROWS(F, width)                                                                                  \
    F(1, width) F(2, width) F(3, width) F(4, width) F(5, width) F(6, width) F(7, width) F(8, width) F(9, width) \
    F(10, width) F(11, width) F(12, width)
#define FOR_EACH_WIDTH(G, F) G(F, 8) G(F, 16) G(F, 24) G(F, 32)
#elif CK_VL == 8
#define FOR_EACH_ROWS(F, width) F(1, width) F(2, width) F(3, width) F(4, width) F(5, width) F(6, width)
#define FOR_EACH_WIDTH(G, F) G(F, 8) G(F, 16)
#else
#define FOR_EACH_ROWS(F, width) F(1, width) F(2, width) F(3, width) F(4, width)
#define FOR_EACH_WIDTH(G, F) G(F, 4) G(F, 8)
#endif

#define TILE_FUNCTION(rows, width) \
    static void CK_NAME(packed_tile_##rows##_##width)(const ck_packed_tile *t) { packed_tile(t, rows, width); }
#define TILE_NAME(rows, width) CK_NAME(packed_tile_##rows##_##width),
#define TILE_ROW(F, width) {FOR_EACH_ROWS(F, width)},

FOR_EACH_WIDTH(FOR_EACH_ROWS, TILE_FUNCTION)

// [width / grain - 1][rows - 1]
#define packed_tiles CK_NAME(packed_tiles)
static void (*const packed_tiles[4][PACKED_ROWS])(const ck_packed_tile *) = {FOR_EACH_WIDTH(TILE_ROW, TILE_NAME)};

#undef FOR_EACH_ROWS
#undef FOR_EACH_WIDTH
