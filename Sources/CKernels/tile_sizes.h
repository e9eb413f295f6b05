// The tiles of products that stay in registers: up to TILE_ROWS rows times a panel of up to 2 CK_VL columns.

// 12 x 2 accumulators, two weights and a few inputs are AVX-512's 32 registers; 6 x 2 AVX2's 16.
#define TILE_ROWS (CK_VL == 16 ? 12 : CK_VL == 8 ? 6 : 4)

// The rest of a panel that is no multiple of AVX-512's 16: 8 lanes, two of which take the time of one of 16 on a Zen 4.
#define CK_HALF (CK_VL == 16 ? 8 : CK_VL)
#define vh CK_NAME(vh)
typedef float vh __attribute__((ext_vector_type(CK_HALF)));
#define vh_unaligned CK_NAME(vh_unaligned)
typedef float vh_unaligned __attribute__((ext_vector_type(CK_HALF), aligned(4), may_alias));

#if CK_VL == 16
// Eight columns of two rows in one vector.
#define load_halves CK_NAME(load_halves)
CK_INLINE vf load_halves(const float *a, const float *b) {
    const vh low = *(const vh_unaligned *)a, high = *(const vh_unaligned *)b;
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// Blended by a mask whose value is hidden: clang would permute by a constant, which takes the multiply-adds' ports.
#define splat_halves CK_NAME(splat_halves)
CK_INLINE vf splat_halves(float a, float b, uint16_t high_half) {
#if defined(CK_EMULATE_AVX512)
    (void)high_half;
    return __builtin_shufflevector(v_splat(a), v_splat(b), 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31);
#else
    return (vf)_mm512_mask_blend_ps(high_half, (__m512)v_splat(a), (__m512)v_splat(b));
#endif
}

#define store_low_half CK_NAME(store_low_half)
CK_INLINE void store_low_half(float *to, vf x) {
    *(vh_unaligned *)to = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);
}

#define store_high_half CK_NAME(store_high_half)
CK_INLINE void store_high_half(float *to, vf x) {
    *(vh_unaligned *)to = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
}
#endif

// Every height and width of a tile, for tables of functions: [width / grain - 1][rows - 1].
#undef FOR_EACH_ROWS
#undef FOR_EACH_WIDTH
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
