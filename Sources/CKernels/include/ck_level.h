// The instruction-set level that the kernels run at, and whose cores the choices between them are made for: found once, when
// the first kernel is called.
#ifndef CK_LEVEL_H
#define CK_LEVEL_H

typedef enum {
    CK_LEVEL_PORTABLE = 0,  // what the target's baseline has (SSE2 on x86-64, NEON on arm64)
    CK_LEVEL_AVX2 = 1,      // AVX2 and FMA
    CK_LEVEL_AVX512 = 2,    // AVX-512 F, BW, DQ, VL
    CK_LEVEL_AMX = 3,       // AVX-512, and AMX tiles of bfloat16 for products of matrices: see amx_kernels.h
} ck_level;

// The best level that this processor and operating system support.
ck_level ck_level_supported(void);

// The level in use on the calling thread: RECOGNITE_ISA (portable, avx2, avx512, amx) lowers it below the supported one, never above.
ck_level ck_level_current(void);

// Sets the level in use on the calling thread, clamped to the supported one; returns what was set. For tests: the pool's
// workers and other threads, where other tests may be running, keep theirs.
ck_level ck_level_set(ck_level level);

const char *ck_level_name(ck_level level);

// Which kernel or block size is fastest depends on the kind of the cores; what is possible, and how packed weights lie, do not.
typedef enum {
    // AMD's Zen until Zen 4: half of a multiply-add of 512 bits for each of two units a cycle, beside which additions run. What
    // is not known counts as this.
    CK_CORES_ZEN4 = 0,
    // AMD's Zen 5: as Zen 4 with whole multiply-adds. What comes from the caches, and what surrounds the products, takes as long
    // as there, and so twice as large a part of the time.
    CK_CORES_ZEN5 = 1,
    // Xeon: two multiply-adds of 512 bits a cycle, which share their ports with all other arithmetic; 2 MB of second-level
    // cache a core, and a third level that takes three times as long as a Zen's.
    CK_CORES_INTEL = 2,
} ck_cores;

// The cores that choices on the calling thread are made for: those of this processor, or RECOGNITE_CORES (zen4, zen5, intel).
ck_cores ck_cores_current(void);

// Makes choices on the calling thread for such cores. For tests.
void ck_cores_set(ck_cores cores);

const char *ck_cores_name(ck_cores cores);

#endif
