/* The whole network against Hugging Face transformers: encoder tokens, logits at every position,
 * losses, gradients of every parameter, greedy ids; from every weight format; and real text from a
 * trained model. */
// links: tool
#include "model/tool/verify.h"

#include "model/mllm/generation.h"
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
    struct tape tape = {0};
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

/* ---- the stories, as text ---- */

/* llama2.c's tokenizer file: int32 longest, then (float score, int32 length, bytes) per token. */
static void append_token(const unsigned char *file, int id, struct buf *text)
{
    size_t at = 4;
    int32_t length = 0;
    for (int i = 0; i <= id; i++) {
        at += i ? 8 + (size_t)length : 0;
        memcpy(&length, file + at + 4, 4);
    }
    const char *token = (const char *)file + at + 8;
    unsigned byte = 0;
    if (length == 6 && sscanf(token, "<0x%02X>", &byte) == 1)
        buf_append(text, &(unsigned char){(unsigned char)byte}, 1);
    else
        buf_append(text, token, (size_t)length);
}

static void the_first_story_reads_as_published(void **state)
{
    enum { NEW = 255 };
    static const char *const start =
        "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
        "park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.\n"
        "Lily's mom said, \"Lily, let's go to the park.\"";
    (void)state;
    need_data();
    struct mllm *m = NULL;
    struct buf file = {.max = 1 << 20}, text = {.max = 1 << 16};
    struct arena arena;
    struct tape tape = {0};
    struct decoder decoder;
    int32_t ids[NEW];
    struct generated made = {.ids = ids};
    assert_int_equal(mllm_load(io_posix(), SHARED_DATA "/stories260k-llama/hf", &m, NULL), 0);
    assert_int_equal(
        io_read_file(io_posix(), SHARED_DATA "/stories260k-llama/tok512.bin", &file, NULL), 0);
    assert_true(arena_init(&arena, 64 << 20));
    tape_begin(&tape, &arena, false, NULL);
    struct mllm_batch batch = {.B = 1, .text_T = 1, .text = (int32_t[]){1}};
    assert_int_equal(decoder_start(&decoder, &tape, m, &batch, 1, NEW, NULL), STATUS_OK);
    assert_int_equal(
        generation_run(&decoder, &(struct generation){.max_new = NEW}, &made, NULL), STATUS_OK);
    for (int i = 0; i < made.count; i++)
        append_token(file.data, ids[i], &text);
    buf_append(&text, "", 1);
    const char *from = (const char *)text.data + (text.data[0] == ' ');
    if (strncmp(from, start, strlen(start)) != 0)
        fail_msg("%s", from);
    arena_deinit(&arena);
    buf_free(&file);
    buf_free(&text);
    mllm_release(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructblip_agrees),
        cmocka_unit_test(llama_agrees),
        cmocka_unit_test(stories_agree),
        cmocka_unit_test(formats_agree),
        cmocka_unit_test(the_first_story_reads_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
