/* What fast products with packed weights cost lies within what packing costs: of the built-in
 * student, and of the stories model where the reference data is. No figure is a measured time. */
// links: tool
#include "model/tool/bench_accuracy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* Integers and F32 may agree where a CPU has no fast kernels, but packing must show. */
static void relation_check(const char *dir)
{
    struct mllm *m = NULL;
    struct accuracy a;
    struct err err = {0};
    if (mllm_load(io_posix(), dir, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(bench_accuracy_measure(m, WEIGHT_NF4, 4, 1, &a, &err), STATUS_OK);
    mllm_release(m);
    printf("%s: mean KL %.2e packed, %.2e fast; largest %.3f, %.3f\n", dir, a.packed.divergence,
           a.fast.divergence, a.packed.largest, a.fast.largest);
    assert_int_equal(a.positions, 4 * 24);
    assert_true(a.packed.divergence > 1e-4 && a.packed.divergence < 1);
    assert_true(a.fast.divergence > -1e-9 && a.fast.divergence < 0.1 * a.packed.divergence);
    assert_true(a.fast.largest < 0.5 * a.packed.largest);
    assert_true(a.fast.same > a.packed.same);
}

static void test_student(void **state)
{
    (void)state;
    relation_check(SOURCE_DIR "/models/student");
}

static void test_stories(void **state)
{
    (void)state;
    if (access(SHARED_DATA "/stories260k-llama/hf", R_OK) != 0) {
        printf("skipped: no reference data at " SHARED_DATA "\n");
        skip();
    }
    relation_check(SHARED_DATA "/stories260k-llama/hf");
}

/* The same model against itself: BF16 holds what was BF16 before. */
static void test_other_types(void **state)
{
    (void)state;
    struct mllm *m = NULL;
    struct accuracy bf16, q8;
    assert_int_equal(mllm_load(io_posix(), SOURCE_DIR "/models/student", &m, NULL), STATUS_OK);
    assert_int_equal(bench_accuracy_measure(m, WEIGHT_BF16, 2, 1, &bf16, NULL), STATUS_OK);
    assert_int_equal(bench_accuracy_measure(m, WEIGHT_Q8, 2, 1, &q8, NULL), STATUS_OK);
    mllm_release(m);
    assert_true(bf16.packed.divergence < q8.packed.divergence);
    assert_true(bf16.fast.divergence < 1e-9);
    assert_true(q8.packed.divergence < 1e-3 && q8.fast.divergence < 1e-3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_student),
        cmocka_unit_test(test_stories),
        cmocka_unit_test(test_other_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
