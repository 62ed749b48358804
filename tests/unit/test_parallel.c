/* The pool: every item once, all done on return, any number of threads, callers in turn. */
// links: tensor
#include "model/tensor/parallel.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { ITEMS = 500 };

struct job {
    _Atomic int count[ITEMS];
    _Atomic int wrong_worker;
    int threads;
};

static void count_item(void *ctx, int item, int worker)
{
    struct job *job = ctx;
    atomic_fetch_add(&job->count[item], 1);
    if (worker < 0 || worker >= job->threads)
        atomic_store(&job->wrong_worker, 1);
}

static void run_check(struct pool *pool, int items)
{
    static struct job job;
    memset(&job, 0, sizeof job);
    job.threads = pool_threads(pool);
    pool_run(pool, items, count_item, &job);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(atomic_load(&job.count[i]), i < items);
    assert_int_equal(atomic_load(&job.wrong_worker), 0);
}

static void test_every_item_once(void **state)
{
    static const int sizes[] = {0, 1, 2, 3, 17, ITEMS};
    (void)state;
    for (int threads = 1; threads <= 8; threads += threads < 3 ? 1 : 5) {
        struct pool *pool;
        assert_int_equal(pool_create(threads, &pool, NULL), STATUS_OK);
        assert_int_equal(pool_threads(pool), threads);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            run_check(pool, sizes[i]);
        pool_destroy(pool);
    }
    run_check(NULL, 7);
}

/* Short jobs one after the other: a late worker must never touch the next job's items twice. */
static void test_many_short_jobs(void **state)
{
    struct pool *pool;
    (void)state;
    assert_int_equal(pool_create(4, &pool, NULL), STATUS_OK);
    for (int i = 0; i < 2000; i++)
        run_check(pool, 2 + i % 5);
    pool_destroy(pool);
}

/* Pauses shorter and longer than the workers spin: they are found awake, falling asleep, asleep. */
static void test_jobs_after_a_pause(void **state)
{
    struct pool *pool;
    (void)state;
    assert_int_equal(pool_create(3, &pool, NULL), STATUS_OK);
    for (int i = 0; i < 400; i++) {
        nanosleep(&(struct timespec){0, i % 40 * 5000L}, NULL);
        run_check(pool, 2 + i % 5);
    }
    pool_destroy(pool);
}

static void *run_many(void *pool)
{
    static _Thread_local struct job job;
    for (int i = 0; i < 200; i++) {
        memset(&job, 0, sizeof job);
        job.threads = 3;
        pool_run(pool, 5, count_item, &job);
        for (int k = 0; k < 5; k++)
            if (atomic_load(&job.count[k]) != 1)
                return pool;
    }
    return NULL;
}

static void test_two_callers_take_turns(void **state)
{
    struct pool *pool;
    pthread_t thread;
    void *result;
    (void)state;
    assert_int_equal(pool_create(3, &pool, NULL), STATUS_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_many, pool), 0);
    assert_null(run_many(pool));
    pthread_join(thread, &result);
    assert_null(result);
    pool_destroy(pool);
}

static void test_thread_counts(void **state)
{
    struct pool *pool;
    struct err err;
    (void)state;
    assert_int_equal(pool_create(65, &pool, &err), STATUS_USAGE);
    assert_int_equal(pool_create(-1, &pool, &err), STATUS_USAGE);
    assert_int_equal(pool_create(0, &pool, &err), STATUS_OK);
    assert_true(pool_threads(pool) >= 1);
    pool_destroy(pool);
    pool_destroy(NULL);
    assert_int_equal(pool_threads(NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_once),    cmocka_unit_test(test_many_short_jobs),
        cmocka_unit_test(test_jobs_after_a_pause), cmocka_unit_test(test_two_callers_take_turns),
        cmocka_unit_test(test_thread_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
