// The thread pool: one static-chunk parallel-for at a time.
#ifndef CK_POOL_H
#define CK_POOL_H

#include <stdint.h>

// Called with a half-open range of indices and the number of the chunk (0 ..< ck_pool_threads()).
typedef void (*ck_pool_body)(void *context, int64_t begin, int64_t end, int64_t chunk);

// The number of threads that a parallel-for uses, the caller among them. At first: RECOGNITE_NUM_THREADS, or else
// the processors that the process may run on (its affinity mask and its cgroup quota).
int64_t ck_pool_threads(void);

// Sets that number, at most 1024; 0 restores the initial one. Waits for a parallel-for that is under way; without effect
// from inside a chunk.
void ck_pool_set_threads(int64_t threads);

// Splits 0 ..< count into at most ck_pool_threads() contiguous chunks of at least `grain` indices and runs `body` on
// each, the first one on the calling thread; returns when all are done. The chunks depend on count, grain and the
// number of threads only. A call from inside one of several chunks, or while another thread's parallel-for is under way,
// runs the same chunks one after the other on the calling thread; from inside a single chunk it is split as usual.
// Workers spin briefly for the next call and then sleep. On x86, arithmetic within `body` takes subnormal numbers (below
// 1.2e-38) for 0 and gives 0 instead of them, on every thread; the calling thread's own mode is as before afterwards.
void ck_pool_run(int64_t count, int64_t grain, ck_pool_body body, void *context);

// The chunk count that ck_pool_run would use.
int64_t ck_pool_chunks(int64_t count, int64_t grain);

#endif
