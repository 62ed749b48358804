/* A pool of threads that sleep between jobs.
 *
 * A job's items are cut into one range for each thread; who is through with its own helps with the
 * others'. So a thread works on neighbouring items, on the same ones of like jobs, and does not
 * meet the others at one counter. A range is one 64-bit word: [generation:16 | end:24 | next:24]. A
 * worker claims item `next` by compare-and-swap, which can only succeed on the current job, and a
 * job is not over before its claimed items are done: so fn and ctx, read after a claim, are the
 * claim's own. Nobody waits for a worker that woke too late to get an item.
 *
 * Who waits for a word spins for some 30 us, as long as the work between two products of a decoded
 * token takes, then sleeps. Sleepers are counted: with none, a job costs no system call. */
#include "model/tensor/parallel.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS_MAX = 64, ITEMS_MAX = (1 << 24) - 1, SPINS = 1000, LINE = 64 };

/* On a cache line of its own: who spins on one must not slow down who writes another. */
struct word {
    _Alignas(LINE) _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
};

struct worker {
    struct pool *pool;
    int index;
    pthread_t thread;
};

/* On a line of its own, too */
struct range {
    _Alignas(LINE) _Atomic uint64_t ticket;
};

struct pool {
    struct range range[THREADS_MAX];
    struct word wake; /* counts jobs */
    struct word done; /* items finished in this job */
    _Atomic bool stop;
    void (*fn)(void *ctx, int item, int worker);
    void *ctx;
    uint32_t items;
    uint64_t generation;
    pthread_mutex_t one_job; /* held for the length of a job */
    int threads, started;
    struct worker worker[THREADS_MAX];
};

static void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Spins briefly, then sleeps, until the word is no longer `value`. It is counted as a sleeper
 * before the kernel compares the word, and word_wake looks after it has changed it: one of both
 * sees the other. */
static void word_wait(struct word *word, uint32_t value)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&word->value, memory_order_acquire) != value)
            return;
        spin_pause();
    }
    atomic_fetch_add(&word->sleepers, 1);
    syscall(SYS_futex, &word->value, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
    atomic_fetch_sub(&word->sleepers, 1);
}

/* After a change of the word (sequentially consistent, as all here that does not say otherwise) */
static void word_wake(struct word *word)
{
    if (atomic_load(&word->sleepers) > 0)
        syscall(SYS_futex, &word->value, FUTEX_WAKE_PRIVATE, THREADS_MAX, NULL, NULL, 0);
}

/* Takes what is left of a range; how many items that was. */
static uint32_t range_work(struct pool *pool, struct range *range, int worker)
{
    uint32_t finished = 0;
    uint64_t ticket = atomic_load_explicit(&range->ticket, memory_order_acquire);
    for (;;) {
        uint32_t next = (uint32_t)(ticket & ITEMS_MAX);
        if (next >= (uint32_t)(ticket >> 24 & ITEMS_MAX))
            return finished;
        if (!atomic_compare_exchange_weak(&range->ticket, &ticket, ticket + 1))
            continue;
        pool->fn(pool->ctx, (int)next, worker);
        finished++;
        ticket = atomic_load_explicit(&range->ticket, memory_order_acquire);
    }
}

/* Works on what is left of the current job, its own range first. The job is not over before the
 * items finished here are counted, so that they are all of one job. */
static void pool_work(struct pool *pool, int worker)
{
    uint32_t finished = 0;
    for (int i = worker; i < worker + pool->threads; i++)
        finished += range_work(pool, &pool->range[i % pool->threads], worker);
    if (finished == 0)
        return;
    uint32_t items = pool->items;
    if (atomic_fetch_add(&pool->done.value, finished) + finished == items)
        word_wake(&pool->done);
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct pool *pool = w->pool;
    uint32_t seen = 0;
    while (!atomic_load(&pool->stop)) {
        word_wait(&pool->wake, seen);
        seen = atomic_load_explicit(&pool->wake.value, memory_order_acquire);
        pool_work(pool, w->index);
    }
    return NULL;
}

static int cores_count(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (int)n;
}

enum status pool_create(int threads, struct pool **out, struct err *err)
{
    if (threads < 0 || threads > THREADS_MAX)
        return err_set(err, STATUS_USAGE, "threads: %d is not in 0..%d", threads, THREADS_MAX);
    struct pool *pool = aligned_alloc(LINE, sizeof *pool);
    if (!pool)
        return err_set(err, STATUS_NO_MEMORY, "out of memory for a pool of threads");
    memset(pool, 0, sizeof *pool);
    pool->threads = threads ? threads : cores_count();
    pthread_mutex_init(&pool->one_job, NULL);
    for (int i = 1; i < pool->threads; i++) {
        pool->worker[i] = (struct worker){.pool = pool, .index = i};
        if (pthread_create(&pool->worker[i].thread, NULL, worker_main, &pool->worker[i]) != 0) {
            pool_destroy(pool);
            return err_set(err, STATUS_NO_MEMORY, "cannot start thread %d of %d", i + 1, threads);
        }
        pool->started = i;
    }
    *out = pool;
    return STATUS_OK;
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->wake.value, 1);
    word_wake(&pool->wake);
    for (int i = 1; i <= pool->started; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_mutex_destroy(&pool->one_job);
    free(pool);
}

int pool_threads(const struct pool *pool)
{
    return pool ? pool->threads : 1;
}

/* Publishes the job, helps, and sleeps until the last item is done. */
static void pool_run_shared(struct pool *pool, uint32_t items)
{
    uint64_t threads = (uint64_t)pool->threads, generation = ++pool->generation << 48;
    pool->items = items;
    atomic_store(&pool->done.value, 0);
    for (uint64_t i = 0; i < threads; i++)
        atomic_store(&pool->range[i].ticket,
                     generation | items * (i + 1) / threads << 24 | items * i / threads);
    atomic_fetch_add(&pool->wake.value, 1);
    word_wake(&pool->wake);
    pool_work(pool, 0);
    for (uint32_t done; (done = atomic_load(&pool->done.value)) < items;)
        word_wait(&pool->done, done);
}

void pool_run(struct pool *pool, int items, void (*fn)(void *ctx, int item, int worker), void *ctx)
{
    if (!pool || pool->threads == 1 || items <= 1 || items > ITEMS_MAX) {
        for (int i = 0; i < items; i++)
            fn(ctx, i, 0);
        return;
    }
    pthread_mutex_lock(&pool->one_job);
    pool->fn = fn;
    pool->ctx = ctx;
    pool_run_shared(pool, (uint32_t)items);
    pthread_mutex_unlock(&pool->one_job);
}
