/* The whole network against Hugging Face transformers: encoder tokens, logits at every position,
 * losses, gradients of every parameter, greedy ids; from every weight format; and real text from a
 * trained model. */
// links: tool
#include "model/tool/verify.h"

#include "model/mllm/mllm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void need_data(void)
{
    if (io_exists(SHARED_DATA "/reference/README.md"))
        return;
    print_message("no reference data at %s\n", SHARED_DATA);
    skip();
}

static void expect_agreement(const char *dir, int at_least)
{
    struct err err = {0};
    struct verify_report report;
    enum status status = verify_directory(io_posix(), dir, &report, &err);
    if (status != STATUS_OK)
        fail_msg("%s: %s", dir, err.text);
    assert_true(report.count >= at_least);
    for (int i = 0; i < report.count; i++) {
        const struct verify_check *c = &report.check[i];
        print_message("  %-40s %.2g %s\n", c->name, c->difference, c->where);
        if (!(c->difference <= 1e-4))
            fail_msg("%s differs by %g %s", c->name, c->difference, c->where);
    }
}

static void instructblip_agrees(void **state)
{
    (void)state;
    need_data();
    expect_agreement(SHARED_DATA "/reference/instructblip-tiny", 13);
}

static void llama_agrees(void **state)
{
    (void)state;
    need_data();
    expect_agreement(SHARED_DATA "/reference/llama-tiny", 9);
}

static void stories_agree(void **state)
{
    (void)state;
    need_data();
    expect_agreement(SHARED_DATA "/stories260k-llama", 6);
}

/* ---- other files of the same weights ---- */

static struct mllm *load_renamed(const char *file)
{
    char dir[] = "/tmp/cdcca-test-XXXXXX", path[256];
    struct mllm *m = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(symlink(SHARED_DATA "/reference/llama-tiny/config.json", path), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(symlink(file, path), 0);
    if (mllm_load(io_posix(), dir, &m, &err) != STATUS_OK)
        fail_msg("%s: %s", file, err.text);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    rmdir(dir);
    return m;
}

static float loss_of(const struct mllm *m)
{
    /* llama-tiny's case "single": the first eight of its twelve ids suffice for a fingerprint */
    static const int32_t ids[] = {11, 3, 57, 80, 22, 41, 6, 90},
                         labels[] = {3, 57, 80, 22, 41, 6, 90, -1};
    struct arena arena;
    struct tape tape;
    assert_true(arena_init(&arena, 64 << 20));
    tape_begin(&tape, &arena, false, NULL);
    struct mllm_batch batch = {.B = 1, .text_T = 8, .text = ids};
    struct tensor hidden = mllm_forward(&tape, m, &batch, NULL);
    struct tensor loss = op_cross_entropy(&tape, mllm_logits(&tape, m, hidden, NULL, 0), labels);
    assert_int_equal(tape.status, STATUS_OK);
    float value = loss.data[0];
    arena_deinit(&arena);
    return value;
}

static void formats_agree(void **state)
{
    (void)state;
    need_data();
    struct err err = {0};
    struct mllm *sharded = NULL;
    struct mllm *f32 = load_renamed(SHARED_DATA "/reference/llama-tiny/model.safetensors");
    struct mllm *bf16 = load_renamed(SHARED_DATA "/reference/llama-tiny/model-bf16.safetensors");
    struct mllm *f16 = load_renamed(SHARED_DATA "/reference/llama-tiny/model-f16.safetensors");
    if (mllm_load(io_posix(), SHARED_DATA "/reference/llama-tiny/sharded", &sharded, &err))
        fail_msg("%s", err.text);
    float whole = loss_of(f32);
    assert_true(loss_of(sharded) == whole);
    assert_float_equal(loss_of(f16), whole, 0.01F);
    assert_float_equal(loss_of(bf16), whole, 0.05F);
    assert_true(loss_of(bf16) != whole && loss_of(f16) != whole);
    mllm_release(f32);
    mllm_release(bf16);
    mllm_release(f16);
    mllm_release(sharded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructblip_agrees),
        cmocka_unit_test(llama_agrees),
        cmocka_unit_test(stories_agree),
        cmocka_unit_test(formats_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
