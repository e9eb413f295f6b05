// Vectors of CK_VL floats for the level that is being compiled; included once per level by each_level.h, so that each
// level has its own types and functions. Written with clang's vector types: an operation on a 16-lane vector becomes
// one AVX-512 instruction, two of AVX2 or four of SSE and NEON. a * b + c becomes a fused multiply-add where there is one.
#define vf CK_NAME(ck_vf)
#define vi CK_NAME(ck_vi)
#define vf_unaligned CK_NAME(ck_vf_unaligned)
#define v_load CK_NAME(ck_v_load)
#define v_store CK_NAME(ck_v_store)
#define v_load_part CK_NAME(ck_v_load_part)
#define v_store_part CK_NAME(ck_v_store_part)
#define v_load_n CK_NAME(ck_v_load_n)
#define v_store_n CK_NAME(ck_v_store_n)
#define v_splat CK_NAME(ck_v_splat)
#define v_max CK_NAME(ck_v_max)
#define v_min CK_NAME(ck_v_min)
#define v_abs CK_NAME(ck_v_abs)
#define v_sum CK_NAME(ck_v_sum)
#define v_copy CK_NAME(ck_v_copy)

typedef float vf __attribute__((ext_vector_type(CK_VL)));
typedef int32_t vi __attribute__((ext_vector_type(CK_VL)));
typedef float vf_unaligned __attribute__((ext_vector_type(CK_VL), aligned(4), may_alias));

#ifndef CK_VECTOR_H
#define CK_VECTOR_H

#define CK_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

// Runs the body for i = 0, CK_VL, 2 CK_VL, ... with `lanes` = CK_VL, a constant, and once more with the rest.
#define V_EACH(i, n, lanes, ...)                        \
    do {                                                \
        int64_t i = 0;                                  \
        for (; i + CK_VL <= (n); i += CK_VL) {          \
            const int64_t lanes = CK_VL;                \
            __VA_ARGS__                                 \
        }                                               \
        if (i < (n)) {                                  \
            const int64_t lanes = (n) - i;              \
            __VA_ARGS__                                 \
        }                                               \
    } while (0)

#if CK_X86_LEVELS
// Eight lanes from &ck_lane_mask[8 - n] on: n of them set.
static const int32_t ck_lane_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
#endif

#endif

CK_INLINE vf v_splat(float x) { return (vf)(x); }
CK_INLINE vf v_load(const float *p) { return *(const vf_unaligned *)p; }
CK_INLINE void v_store(float *p, vf x) { *(vf_unaligned *)p = x; }

// The first n < CK_VL lanes, the others 0, without touching memory beyond them.
CK_INLINE vf v_load_part(const float *p, int64_t n) {
#if CK_VL == 4
    vf x = v_splat(0);
    if (n > 0) x[0] = p[0];
    if (n > 1) x[1] = p[1];
    if (n > 2) x[2] = p[2];
    return x;
#elif CK_VL == 8
    __m256i mask = _mm256_loadu_si256((const __m256i *)(ck_lane_mask + 8 - n));
    return (vf)_mm256_maskload_ps(p, mask);
#elif !defined(CK_EMULATE_AVX512)
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    union { vf x; __m256 half[2]; } u;
    int64_t low = n < 8 ? n : 8, high = n - low;
    u.half[0] = _mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(ck_lane_mask + 8 - low)));
    u.half[1] = _mm256_maskload_ps(p + low, _mm256_loadu_si256((const __m256i *)(ck_lane_mask + 8 - high)));
    return u.x;
#endif
}

CK_INLINE void v_store_part(float *p, vf x, int64_t n) {
#if CK_VL == 4
    if (n > 0) p[0] = x[0];
    if (n > 1) p[1] = x[1];
    if (n > 2) p[2] = x[2];
#elif CK_VL == 8
    _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i *)(ck_lane_mask + 8 - n)), (__m256)x);
#elif !defined(CK_EMULATE_AVX512)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#else
    union { vf x; __m256 half[2]; } u = {x};
    int64_t low = n < 8 ? n : 8, high = n - low;
    _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i *)(ck_lane_mask + 8 - low)), u.half[0]);
    _mm256_maskstore_ps(p + low, _mm256_loadu_si256((const __m256i *)(ck_lane_mask + 8 - high)), u.half[1]);
#endif
}

CK_INLINE vf v_load_n(const float *p, int64_t lanes) { return lanes == CK_VL ? v_load(p) : v_load_part(p, lanes); }
CK_INLINE void v_store_n(float *p, vf x, int64_t lanes) {
    if (lanes == CK_VL)
        v_store(p, x);
    else
        v_store_part(p, x, lanes);
}

// As the x86 instructions: b if either is NaN. So v_max(v_splat(0), x) keeps a NaN of x.
CK_INLINE vf v_max(vf a, vf b) { return a > b ? a : b; }
CK_INLINE vf v_min(vf a, vf b) { return a < b ? a : b; }
CK_INLINE vf v_abs(vf x) { return (vf)((vi)x & 0x7fffffff); }

// The sum of all lanes: of halves, one after the other.
CK_INLINE float v_sum(vf x) {
    typedef float quarters __attribute__((ext_vector_type(4)));
#if CK_VL == 4
    const quarters four = x;
#elif CK_VL == 8
    const quarters four = x.lo + x.hi;
#else
    const quarters four = (x.lo + x.hi).lo + (x.lo + x.hi).hi;
#endif
    return (four.x + four.z) + (four.y + four.w);
}

// Copies n floats; for the short runs where calling memcpy costs more than the copying. The last vector overlaps the
// one before.
CK_INLINE void v_copy(float *to, const float *from, int64_t n) {
    if (n < CK_VL) {
        v_store_part(to, v_load_part(from, n), n);
        return;
    }
    int64_t i = 0;
    for (; i + CK_VL <= n; i += CK_VL) v_store(to + i, v_load(from + i));
    if (i < n) v_store(to + n - CK_VL, v_load(from + n - CK_VL));
}
