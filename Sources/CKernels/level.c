// The choice of the instruction-set level and of the cores.
//
// A machine without AVX-512 can still run the 16-lane code: built with CK_EMULATE_AVX512 the avx512 level is compiled
// for AVX2 (each 16-lane vector becomes two of 8) and counts as supported wherever AVX2 is:
//     swift test -c release -Xcc -DCK_EMULATE_AVX512 --scratch-path .build-emulate --filter CKernelsTests
#define _GNU_SOURCE
#include "dispatch.h"
#include "ck_setting.h"

#if CK_X86_LEVELS
#include <cpuid.h>
#endif
#if CK_X86_LEVELS && defined(__linux__) && !defined(CK_EMULATE_AVX512)
#include <sys/syscall.h>
#include <unistd.h>

// Whether the processor has AMX tiles of bfloat16, and the operating system lets this process use them, which it has to ask
// for: a thread's tiles are 8 KB that are kept when another one runs.
static bool amx_supported(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const unsigned bf16_and_tiles = 1u << 22 | 1u << 24;
    if ((d & bf16_and_tiles) != bf16_and_tiles) return false;
    const long arch_req_xcomp_perm = 0x1023, xtiledata = 18;
    return syscall(SYS_arch_prctl, arch_req_xcomp_perm, xtiledata) == 0;
}
#else
static bool amx_supported(void) { return false; }
#endif

static const char *const level_names[] = {"portable", "avx2", "avx512", "amx"};
static const char *const cores_names[] = {"zen4", "zen5", "intel"};

atomic_int ck_level_in_use = -1;
_Thread_local int ck_level_here = -1;

ck_level ck_level_supported(void) {
#if CK_X86_LEVELS
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
        return CK_LEVEL_PORTABLE;
#ifdef CK_EMULATE_AVX512
    return CK_LEVEL_AVX512;
#else
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return amx_supported() ? CK_LEVEL_AMX : CK_LEVEL_AVX512;
    return CK_LEVEL_AVX2;
#endif
#else
    return CK_LEVEL_PORTABLE;
#endif
}

ck_level ck_level_current(void) {
    if (ck_level_here >= 0) return (ck_level)ck_level_here;
    int level = atomic_load_explicit(&ck_level_in_use, memory_order_relaxed);
    if (level >= 0) return (ck_level)level;
    // Two threads may both get here; they compute the same.
    int chosen = (int)ck_level_supported();
    const int wish = ck_setting("RECOGNITE_ISA", level_names, sizeof level_names / sizeof *level_names);
    if (wish >= 0 && wish < chosen) chosen = wish;
    int unset = -1;
    atomic_compare_exchange_strong(&ck_level_in_use, &unset, chosen);
    return (ck_level)(unset < 0 ? chosen : unset);
}

ck_level ck_level_set(ck_level level) {
    ck_level supported = ck_level_supported();
    if (level > supported) level = supported;
    ck_level_here = (int)level;
    return level;
}

const char *ck_level_name(ck_level level) { return level_names[level]; }

#if CK_X86_LEVELS
// The number by which a maker's designs differ: 0x19 for AMD's Zen 3 and 4, 0x1a for Zen 5.
static unsigned processor_family(void) {
    unsigned a = 0, b, c, d;
    __get_cpuid(1, &a, &b, &c, &d);
    const unsigned family = a >> 8 & 0xf;
    return family < 0xf ? family : family + (a >> 20 & 0xff);
}
#endif

static atomic_int cores_in_use = -1;
static _Thread_local int cores_here = -1;

ck_cores ck_cores_current(void) {
    if (cores_here >= 0) return (ck_cores)cores_here;
    int cores = atomic_load_explicit(&cores_in_use, memory_order_relaxed);
    if (cores >= 0) return (ck_cores)cores;
    // Two threads may both get here; they find the same.
    cores = CK_CORES_ZEN4;
#if CK_X86_LEVELS
    __builtin_cpu_init();
    if (__builtin_cpu_is("intel")) cores = CK_CORES_INTEL;
    if (__builtin_cpu_is("amd") && processor_family() >= 0x1a) cores = CK_CORES_ZEN5;
#endif
    const int wish = ck_setting("RECOGNITE_CORES", cores_names, sizeof cores_names / sizeof *cores_names);
    if (wish >= 0) cores = wish;
    atomic_store_explicit(&cores_in_use, cores, memory_order_relaxed);
    return (ck_cores)cores;
}

void ck_cores_set(ck_cores cores) { cores_here = (int)cores; }

const char *ck_cores_name(ck_cores cores) { return cores_names[cores]; }
