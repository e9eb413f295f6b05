// The thread pool. Each worker has a mailbox of its own: the caller raises the tickets of the workers that a loop
// needs, runs chunk 0 itself, then the chunks that no worker has begun (`claimed`), and waits until `pending` is 0. So a
// worker that does not get a processor, since another process has it, costs the caller that worker's share and not its wait:
// shufflenet_v2_x0_5 on two processors, beside a process that computes on one, took 180 ms without that and takes 2.4 (1.5
// with both processors to itself).
//
// Both sides spin for a while and then sleep on a condition variable. Whoever is about to sleep says so (`asleep`) and then
// looks once more; whoever has news writes it first and then looks at `asleep`; both in sequential consistency, so that one
// of the two always sees the other.
#define _GNU_SOURCE
#include "ck_pool.h"
#include "ck_setting.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "processors.h"

#if defined(__x86_64__)
#include <immintrin.h>
// As inputs and as results.
#define SUBNORMALS_ARE_ZERO (_MM_DENORMALS_ZERO_ON | _MM_FLUSH_ZERO_ON)
#endif

enum {
    MAX_THREADS = 1024,
    // How long to spin. Loops of one network follow each other within some tens of microseconds; waking a sleeping
    // thread costs about as much. Every few microseconds a worker offers its processor, on which the caller may be queued.
    // The caller does not: what it waits for has begun, and another process would keep the processor for milliseconds.
    SPIN_NANOSECONDS = 40000,
    POLLS = 128,  // between two looks at the clock
    // A worker does not step aside again for so long.
    STEP_ASIDE_NANOSECONDS = 1000000,
};

typedef struct {
    _Alignas(64) atomic_uint ticket;  // raised once per loop, and to stop
    atomic_uint claimed;              // the last ticket whose chunk somebody has begun: the worker or the caller
    atomic_bool asleep, stop;
    int64_t stepped_aside;  // when, in nanoseconds
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
} worker;

static struct {
    pthread_mutex_t busy;  // held while a loop is under way or the number of threads changes
    atomic_llong threads;
    int64_t initial_threads;
    int64_t workers;  // how many exist; worker i runs chunk i + 1
    ck_pool_body body;
    void *context;
    int64_t count, chunks;
    int caller_cpu;  // the processor that the caller ran on when it posted the loop
    _Alignas(64) atomic_llong pending;
    atomic_bool asleep;
    pthread_mutex_t mutex;
    pthread_cond_t done;
} pool = {
    .busy = PTHREAD_MUTEX_INITIALIZER,
    .mutex = PTHREAD_MUTEX_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};
static worker all_workers[MAX_THREADS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

// Whether this thread is running a chunk of a loop.
static _Thread_local bool inside;

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Lets this thread's arithmetic take subnormal numbers for 0; returns what it did before. Processors that compute with them
// in microcode take over a hundred cycles for each: with masks of -100, whose exponentials add up to such numbers, an
// attention over Swin-T's windows of 14 x 14 took 2000 us on a Xeon of 2023 and takes 236. Weights of trained networks
// contain them, too. Elsewhere than on x86 no such cost is known.
static unsigned flush_subnormals(void) {
#if defined(__x86_64__)
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | SUBNORMALS_ARE_ZERO);
    return mode;
#else
    return 0;
#endif
}

static void restore_arithmetic(unsigned mode) {
#if defined(__x86_64__)
    _mm_setcsr(mode);
#else
    (void)mode;
#endif
}

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Spins until *ticket is not `old`; false if it still is when the time is up.
static bool spin_ticket(atomic_uint *ticket, unsigned old) {
    int64_t end = 0;
    do {
        for (int i = 0; i < POLLS; i++) {
            if (atomic_load_explicit(ticket, memory_order_acquire) != old) return true;
            pause_briefly();
        }
        if (end == 0) end = nanoseconds() + SPIN_NANOSECONDS;
        sched_yield();
    } while (nanoseconds() < end);
    return false;
}

static int current_cpu(void) {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

// Moves a worker away from the caller's processor if it woke up there. As both offer it to each other, neither looks like a
// thread in want of another processor, and Linux was seen to leave them together for seconds: MobileNetV3 took 4.5 ms
// instead of 2.6 on two processors, one of which was idle.
static void step_aside(worker *self) {
#if defined(__linux__)
    const int cpu = current_cpu();
    if (cpu < 0 || cpu != pool.caller_cpu) return;
    const int64_t now = nanoseconds();
    cpu_set_t allowed, others;
    if (now - self->stepped_aside < STEP_ASIDE_NANOSECONDS ||
        pthread_getaffinity_np(pthread_self(), sizeof allowed, &allowed) != 0)
        return;
    self->stepped_aside = now;
    others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) == 0) return;
    pthread_setaffinity_np(pthread_self(), sizeof others, &others);
    pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
#else
    (void)self;
#endif
}

// Whether this thread is the first to begin the chunk of a ticket.
static bool claim(worker *w, unsigned ticket) {
    unsigned before = ticket - 1;
    return atomic_compare_exchange_strong(&w->claimed, &before, ticket);
}

static void run_chunk(int64_t chunk) {
    // The product of two 64-bit numbers could overflow; quotient and remainder cannot.
    int64_t size = pool.count / pool.chunks, extra = pool.count % pool.chunks;
    int64_t begin = chunk * size + (chunk < extra ? chunk : extra);
    pool.body(pool.context, begin, begin + size + (chunk < extra), chunk);
}

static void *worker_main(void *argument) {
    int64_t index = (int64_t)(intptr_t)argument;
    worker *self = &all_workers[index];
    unsigned seen = 0;
    inside = true;
    flush_subnormals();
    for (;;) {
        if (!spin_ticket(&self->ticket, seen)) {
            pthread_mutex_lock(&self->mutex);
            atomic_store(&self->asleep, true);
            while (atomic_load(&self->ticket) == seen) pthread_cond_wait(&self->wake, &self->mutex);
            atomic_store(&self->asleep, false);
            pthread_mutex_unlock(&self->mutex);
        }
        seen = atomic_load(&self->ticket);
        if (atomic_load(&self->stop)) return NULL;
        if (!claim(self, seen)) continue;
        step_aside(self);
        run_chunk(index + 1);
        if (atomic_fetch_sub(&pool.pending, 1) == 1 && atomic_load(&pool.asleep)) {
            pthread_mutex_lock(&pool.mutex);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.mutex);
        }
    }
}

static void post(worker *w) {
    atomic_fetch_add(&w->ticket, 1);
    if (atomic_load(&w->asleep)) {
        pthread_mutex_lock(&w->mutex);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->mutex);
    }
}

static void wait_for_workers(void) {
    int64_t end = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < POLLS; i++) {
            if (atomic_load_explicit(&pool.pending, memory_order_acquire) == 0) return;
            pause_briefly();
        }
    } while (nanoseconds() < end);
    pthread_mutex_lock(&pool.mutex);
    atomic_store(&pool.asleep, true);
    while (atomic_load(&pool.pending) != 0) pthread_cond_wait(&pool.done, &pool.mutex);
    atomic_store(&pool.asleep, false);
    pthread_mutex_unlock(&pool.mutex);
}

// Makes workers exist for `wanted` chunks beyond the caller's; returns how many there are (fewer if the system
// refuses threads).
static int64_t ensure_workers(int64_t wanted) {
    while (pool.workers < wanted) {
        worker *w = &all_workers[pool.workers];
        atomic_store(&w->ticket, 0);
        atomic_store(&w->claimed, 0);
        atomic_store(&w->asleep, false);
        atomic_store(&w->stop, false);
        w->stepped_aside = 0;
        pthread_mutex_init(&w->mutex, NULL);
        pthread_cond_init(&w->wake, NULL);
        if (pthread_create(&w->thread, NULL, worker_main, (void *)(intptr_t)pool.workers) != 0) {
            pthread_cond_destroy(&w->wake);
            pthread_mutex_destroy(&w->mutex);
            break;
        }
        pool.workers++;
    }
    return pool.workers;
}

static void stop_workers(int64_t keep) {
    while (pool.workers > keep) {
        worker *w = &all_workers[--pool.workers];
        atomic_store(&w->stop, true);
        post(w);
        pthread_join(w->thread, NULL);
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->mutex);
    }
}

// fork waits for the loop that is under way, so that the child's copy is at rest; the child then has none of the
// workers and makes its own. A fork from inside a chunk leaves `busy` locked in the child, whose loops then run
// on the calling thread.
static void before_fork(void) {
    if (!inside) pthread_mutex_lock(&pool.busy);
}
static void after_fork_parent(void) {
    if (!inside) pthread_mutex_unlock(&pool.busy);
}
static void after_fork_child(void) {
    pool.workers = 0;
    // The last worker of the last loop may have been about to signal when the fork came.
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.done, NULL);
    if (!inside) pthread_mutex_unlock(&pool.busy);
}

static int64_t clamp_threads(int64_t threads) {
    return threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
}

static void initialize(void) {
    const int64_t wish = ck_setting_number("RECOGNITE_NUM_THREADS", MAX_THREADS);
    pool.initial_threads = clamp_threads(wish > 0 ? wish : ck_processors());
    atomic_store(&pool.threads, pool.initial_threads);
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

int64_t ck_pool_threads(void) {
    pthread_once(&once, initialize);
    return atomic_load_explicit(&pool.threads, memory_order_relaxed);
}

void ck_pool_set_threads(int64_t threads) {
    pthread_once(&once, initialize);
    if (inside) return;
    pthread_mutex_lock(&pool.busy);
    threads = threads <= 0 ? pool.initial_threads : clamp_threads(threads);
    stop_workers(threads - 1);
    atomic_store(&pool.threads, threads);
    pthread_mutex_unlock(&pool.busy);
}

static int64_t chunks_for(int64_t count, int64_t grain, int64_t threads) {
    if (count <= 0) return 0;
    int64_t chunks = count / (grain < 1 ? 1 : grain);
    return chunks < 1 ? 1 : chunks > threads ? threads : chunks;
}

int64_t ck_pool_chunks(int64_t count, int64_t grain) { return chunks_for(count, grain, ck_pool_threads()); }

static void run_sequentially(int64_t count, int64_t chunks, ck_pool_body body, void *context) {
    int64_t begin = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        int64_t end = begin + count / chunks + (chunk < count % chunks);
        body(context, begin, end, chunk);
        begin = end;
    }
}

void ck_pool_run(int64_t count, int64_t grain, ck_pool_body body, void *context) {
    int64_t chunks = ck_pool_chunks(count, grain);
    if (chunks <= 1 || inside || pthread_mutex_trylock(&pool.busy) != 0) {
        bool was_inside = inside;
        // One chunk is no split: loops within it may still use the pool.
        if (chunks > 1) inside = true;
        const unsigned mode = flush_subnormals();
        run_sequentially(count, chunks, body, context);
        restore_arithmetic(mode);
        inside = was_inside;
        return;
    }
    inside = true;
    // Under the lock, the number of threads may have become another one.
    chunks = ck_pool_chunks(count, grain);
    int64_t posted = ensure_workers(chunks - 1);
    if (posted > chunks - 1) posted = chunks - 1;
    pool.body = body;
    pool.context = context;
    pool.count = count;
    pool.chunks = chunks;
    pool.caller_cpu = current_cpu();
    atomic_store(&pool.pending, posted);
    for (int64_t i = 0; i < posted; i++) post(&all_workers[i]);
    const unsigned mode = flush_subnormals();
    run_chunk(0);
    for (int64_t chunk = posted + 1; chunk < chunks; chunk++) run_chunk(chunk);
    for (int64_t i = 0; i < posted; i++) {
        // Nobody else raises a ticket while `busy` is held.
        if (!claim(&all_workers[i], atomic_load(&all_workers[i].ticket))) continue;
        run_chunk(i + 1);
        atomic_fetch_sub(&pool.pending, 1);
    }
    restore_arithmetic(mode);
    wait_for_workers();
    inside = false;
    pthread_mutex_unlock(&pool.busy);
}

// Of each part, the units that are left: the first one in the upper half, the one behind the last in the lower one.
struct ck_pool_share {
    int64_t parts;
    struct {
        _Alignas(64) atomic_ullong units;
    } left[];
};

int64_t ck_pool_share_size(int64_t parts) {
    const struct ck_pool_share *share = NULL;
    return (int64_t)(sizeof *share + (size_t)parts * sizeof share->left[0]);
}

void ck_pool_share_units(ck_pool_share *share, int64_t units, int64_t parts) {
    share->parts = parts;
    for (int64_t part = 0; part < parts; part++) {
        const uint64_t begin = (uint64_t)(units * part / parts), end = (uint64_t)(units * (part + 1) / parts);
        atomic_init(&share->left[part].units, begin << 32 | end);
    }
}

bool ck_pool_share_take(ck_pool_share *share, int64_t part, int64_t most, int64_t *begin, int64_t *end) {
    for (int64_t i = 0; i < share->parts; i++) {
        const int64_t owner = (part + i) % share->parts;
        unsigned long long left = atomic_load_explicit(&share->left[owner].units, memory_order_relaxed);
        for (;;) {
            const int64_t first = (int64_t)(left >> 32), last = (int64_t)(left & UINT32_MAX);
            const int64_t count = last - first < most ? last - first : most;
            const bool is_own = i == 0;
            if (count <= 0) break;
            const int64_t rest_begin = is_own ? first + count : first, rest_end = is_own ? last : last - count;
            const unsigned long long rest = (unsigned long long)rest_begin << 32 | (unsigned long long)rest_end;
            if (!atomic_compare_exchange_weak_explicit(&share->left[owner].units, &left, rest, memory_order_relaxed,
                                                       memory_order_relaxed))
                continue;
            *begin = is_own ? first : rest_end;
            *end = *begin + count;
            return true;
        }
    }
    return false;
}
