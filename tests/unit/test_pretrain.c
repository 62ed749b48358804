/* pretrain: a toy pair from a seed: both directories load and answer, the student's encoder is the
 * teacher's, the same seed gives the same bytes, an interrupted run resumes to the same bytes. */
// links: task
#include "model/task/pretrain.h"

#include "model/mllm/answer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void make_pair(const char *dir, double effort)
{
    struct err err = {0};
    struct pool *pool = NULL;
    struct pretrain_options options = {
        .out = dir, .seed = 5, .effort = effort, .tiny = true, .quiet = true};
    assert_int_equal(pool_create(2, &pool, &err), STATUS_OK);
    if (pretrain_run(io_posix(), pool, &options, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    pool_destroy(pool);
}

static void file_hash(const char *dir, const char *name, struct hash *out)
{
    char path[512];
    struct err err = {0};
    struct buf bytes = {.max = 64 << 20};
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(io_read_file(io_posix(), path, &bytes, &err), STATUS_OK);
    hash_bytes(bytes.data, bytes.len, out);
    buf_free(&bytes);
}

static void remove_tree(const char *dir)
{
    char command[600];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void test_pair_is_made_and_reproducible(void **state)
{
    (void)state;
    char first[] = "/tmp/cdcca-pretrain-XXXXXX", second[] = "/tmp/cdcca-pretrain-XXXXXX";
    struct mllm *teacher = NULL, *student = NULL;
    struct err err = {0};
    char path[256];
    struct hash a, b;
    assert_non_null(mkdtemp(first));
    assert_non_null(mkdtemp(second));
    make_pair(first, .001);
    make_pair(second, .001);
    file_hash(first, "student/model.safetensors", &a);
    file_hash(second, "student/model.safetensors", &b);
    assert_true(hash_equal(&a, &b));
    snprintf(path, sizeof(path), "%s/teacher", first);
    assert_int_equal(mllm_load(io_posix(), path, &teacher, &err), STATUS_OK);
    snprintf(path, sizeof(path), "%s/student", first);
    assert_int_equal(mllm_load(io_posix(), path, &student, &err), STATUS_OK);
    assert_true(hash_equal(&teacher->encoder, &student->encoder));
    mllm_release(teacher);
    mllm_release(student);
    make_pair(first, .001); /* every stage is there already */
    file_hash(first, "student/model.safetensors", &b);
    assert_true(hash_equal(&a, &b));
    remove_tree(first);
    remove_tree(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pair_is_made_and_reproducible)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
