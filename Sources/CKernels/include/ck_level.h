// The instruction-set level that the kernels run at: chosen once, when the first kernel is called.
#ifndef CK_LEVEL_H
#define CK_LEVEL_H

typedef enum {
    CK_LEVEL_PORTABLE = 0,  // what the target's baseline has (SSE2 on x86-64, NEON on arm64)
    CK_LEVEL_AVX2 = 1,      // AVX2 and FMA
    CK_LEVEL_AVX512 = 2,    // AVX-512 F, BW, DQ, VL
} ck_level;

// The best level that this processor and operating system support.
ck_level ck_level_supported(void);

// The level in use on the calling thread: RECOGNITE_ISA (portable, avx2, avx512) lowers it below the supported one, never above.
ck_level ck_level_current(void);

// Sets the level in use on the calling thread, clamped to the supported one; returns what was set. For tests: the pool's
// workers and other threads, where other tests may be running, keep theirs.
ck_level ck_level_set(ck_level level);

const char *ck_level_name(ck_level level);

#endif
