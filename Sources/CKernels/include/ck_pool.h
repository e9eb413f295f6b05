// The thread pool: one static-chunk parallel-for at a time.
#ifndef CK_POOL_H
#define CK_POOL_H

#include <stdbool.h>
#include <stdint.h>

// Called with a half-open range of indices and the number of the chunk (0 ..< ck_pool_threads()).
typedef void (*ck_pool_body)(void *context, int64_t begin, int64_t end, int64_t chunk);

// The number of threads that a parallel-for uses, the caller among them. At first: RECOGNITE_NUM_THREADS, or else (0)
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

// Units of work that the parts of a loop share: each begins with the units of its own, one behind the other, and when those are
// gone takes what others have not begun, from the end. So a part whose processor is slower than others (whose other
// hardware thread computes for somebody else, say) does less. Use it where a result does not depend on who computes it.
//
//     ck_pool_share *share = memory;                 // ck_pool_share_size(parts) bytes, 64-byte aligned
//     ck_pool_share_units(share, units, parts);      // at most 2^32 - 1 units
//     int64_t begin, end;                            // then, in each part:
//     while (ck_pool_share_take(share, part, most, &begin, &end)) ...
typedef struct ck_pool_share ck_pool_share;

int64_t ck_pool_share_size(int64_t parts);
void ck_pool_share_units(ck_pool_share *share, int64_t units, int64_t parts);

// At most `most` units that nobody has taken; false if there are none left.
bool ck_pool_share_take(ck_pool_share *share, int64_t part, int64_t most, int64_t *begin, int64_t *end);

#endif
