// The tiles of products that stay in registers: up to TILE_ROWS rows times a panel of up to 2 CK_VL columns.

// 12 x 2 accumulators, two weights and a few inputs are AVX-512's 32 registers; 6 x 2 AVX2's 16.
#define TILE_ROWS (CK_VL == 16 ? 12 : CK_VL == 8 ? 6 : 4)

// The rest of a panel that is no multiple of AVX-512's 16: 8 lanes, two of which take the time of one of 16 on a Zen 4.
#define CK_HALF (CK_VL == 16 ? 8 : CK_VL)
#define vh CK_NAME(vh)
typedef float vh __attribute__((ext_vector_type(CK_HALF)));
#define vh_unaligned CK_NAME(vh_unaligned)
typedef float vh_unaligned __attribute__((ext_vector_type(CK_HALF), aligned(4), may_alias));

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
