// How a public function reaches the variant of the level in use. A kernel family lives in <family>_kernels.h, whose
// functions are named CK_NAME(ck_...); <family>.c compiles that file once per level (each_level.h) and then declares
// the public functions with the macros below.
#ifndef CK_DISPATCH_H
#define CK_DISPATCH_H

#include <stdatomic.h>

#include "CKernels.h"

#if defined(__x86_64__) && defined(__clang__)
#define CK_X86_LEVELS 1
// Of AMX there is only what amx_kernels.h has, which the functions for AVX-512 call.
#define CK_TABLE(name) {name##_portable, name##_avx2, name##_avx512, name##_avx512}
#else
#define CK_X86_LEVELS 0
#define CK_TABLE(name) {name##_portable}
#endif

extern atomic_int ck_level_in_use;  // -1 until the first kernel runs
extern _Thread_local int ck_level_here;  // set by ck_level_set on this thread; -1 if it never was

static inline int ck_level_index(void) {
    if (ck_level_here >= 0) return ck_level_here;
    int level = atomic_load_explicit(&ck_level_in_use, memory_order_relaxed);
    return level >= 0 ? level : (int)ck_level_current();
}

#define CK_DISPATCH(name, parameters, arguments)          \
    void name parameters {                                \
        static void (*const table[]) parameters = CK_TABLE(name); \
        table[ck_level_index()] arguments;                \
    }

#define CK_DISPATCH_RESULT(type, name, parameters, arguments) \
    type name parameters {                                    \
        static type (*const table[]) parameters = CK_TABLE(name); \
        return table[ck_level_index()] arguments;             \
    }

#endif
