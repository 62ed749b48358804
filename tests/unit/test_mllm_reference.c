/* The whole network against Hugging Face transformers and PyTorch: encoder tokens, logits at every
 * position, losses, gradients of every parameter, greedy and beam ids, from every weight format;
 * steps of optimisers, LoRA, distillation; and real text from a trained model. */
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

static void expect_compared(const struct verify_report *report, const char *name)
{
    for (int i = 0; i < report->count; i++)
        if (strcmp(report->check[i].name, name) == 0)
            return;
    fail_msg("%s was not compared", name);
}

/* Everything agrees, and at least the named checks (NULL ends them) were made. */
static void expect_agreement(const char *dir, const char *const *names)
{
    static struct verify_report report;
    struct err err = {0};
    if (verify_directory(io_posix(), dir, &report, &err) != STATUS_OK)
        fail_msg("%s: %s", dir, err.text);
    for (int i = 0; i < report.count; i++) {
        const struct verify_check *c = &report.check[i];
        if (!verify_passes(c, 1e-4))
            fail_msg("%s differs by %g: %s", c->name, c->difference, c->where);
    }
    for (int i = 0; names[i]; i++)
        expect_compared(&report, names[i]);
}

static void instructblip_agrees(void **state)
{
    static const char *const names[] = {"single vision",
                                        "single qformer",
                                        "single logits",
                                        "single loss",
                                        "single gradients",
                                        "single gradient norm",
                                        "padded_batch logits",
                                        "padded_batch gradients",
                                        "greedy_generate ids",
                                        "beam3_generate ids",
                                        "config.as-saved-by-hf.json single logits",
                                        "config.as-saved-by-hf.json padded_batch loss",
                                        "config.as-saved-by-hf.json beam3_generate ids",
                                        NULL};
    (void)state;
    need_data();
    expect_agreement(SHARED_DATA "/reference/instructblip-tiny", names);
}

static void llama_agrees(void **state)
{
    static const char *const names[] = {"single gradients",
                                        "right_padded_batch gradients",
                                        "greedy_generate ids",
                                        "bf16_saved_weights_computed_in_float32 logits",
                                        "bf16_saved_weights_computed_in_float32 loss",
                                        "greedy_generate ids",
                                        "f16_saved_weights_computed_in_float32 loss",
                                        "sharded single logits",
                                        "sharded greedy_generate ids",
                                        "adamw losses",
                                        "adamw gradient norms",
                                        "adamw final weights",
                                        "adamw clip losses",
                                        "adamw clip final weights",
                                        "sgd losses",
                                        "sgd final weights",
                                        "lora losses",
                                        "lora gradients_at_step_0",
                                        "lora gradients_at_step_1",
                                        "lora final weights",
                                        "teacher entropy_nats",
                                        "teacher max_probability",
                                        "teacher top1_minus_top2_probability",
                                        "T=1 forward KL",
                                        "T=1 reverse KL",
                                        "T=1 grad_student_logits",
                                        "T=2 forward KL",
                                        "T=2 reverse KL",
                                        "T=2 grad_student_embed",
                                        "T=1 KL per position",
                                        NULL};
    (void)state;
    need_data();
    expect_agreement(SHARED_DATA "/reference/llama-tiny", names);
}

static void stories_agree(void **state)
{
    static const char *const names[] = {"prompt 0 ids",
                                        "prompt 1 ids",
                                        "prompt 2 ids",
                                        "prompt 3 ids",
                                        "teacher_forced logits",
                                        "teacher_forced loss",
                                        NULL};
    (void)state;
    need_data();
    expect_agreement(SHARED_DATA "/stories260k-llama", names);
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
    if (length == 6 && strncmp(token, "<0x", 3) == 0)
        buf_append(text, &(unsigned char){(unsigned char)strtoul(token + 3, NULL, 16)}, 1);
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
    assert_int_equal(generation_run(&decoder, &(struct generation){.max_new = NEW}, &made, NULL),
                     STATUS_OK);
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
        cmocka_unit_test(the_first_story_reads_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
