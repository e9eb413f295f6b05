// Includes CK_FAMILY, a file of kernels, once per instruction-set level. Within it CK_NAME(x) is x with the level's
// suffix and CK_VL the level's float lanes. No include guard: every family includes this once.
#include "dispatch.h"
#if CK_X86_LEVELS
// Before any target attribute is pushed: system headers must not be compiled under one.
#include <immintrin.h>
#endif

#define CK_NAME(x) x##_portable
#define CK_VL 4
#include "vector.h"
#include CK_FAMILY
#undef CK_NAME
#undef CK_VL

#if CK_X86_LEVELS

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define CK_NAME(x) x##_avx2
#define CK_VL 8
#include "vector.h"
#include CK_FAMILY
#undef CK_NAME
#undef CK_VL
#pragma clang attribute pop

#ifdef CK_EMULATE_AVX512
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#endif
#define CK_NAME(x) x##_avx512
#define CK_VL 16
#include "vector.h"
#include CK_FAMILY
#undef CK_NAME
#undef CK_VL
#pragma clang attribute pop

#endif
#undef CK_FAMILY
