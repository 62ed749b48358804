/* config.json: Hugging Face's defaults and both of its forms. What is refused, and by which name:
 * tests/data/config (test_bad_input). */
// links: mllm
#include "model/mllm/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/cdcca-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    return rmdir(dir);
}

static enum status load_text(const char *text, struct mllm_config *out, struct err *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(io_write_file(io_posix(), path, text, strlen(text), NULL), STATUS_OK);
    return mllm_config_load(io_posix(), dir, out, err);
}

static void both_forms_of_the_reference_are_the_same(void **state)
{
    struct mllm_config a, b;
    struct err err = {0};
    struct buf text = {.max = 1 << 20};
    (void)state;
    const char *reference = SHARED_DATA "/reference/instructblip-tiny";
    if (!io_exists(SHARED_DATA "/reference/README.md")) {
        print_message("no reference data at %s\n", SHARED_DATA);
        skip();
    }
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    assert_int_equal(mllm_config_load(io_posix(), reference, &a, &err), STATUS_OK);
    assert_int_equal(io_read_file(io_posix(),
                                  SHARED_DATA
                                  "/reference/instructblip-tiny/config.as-saved-by-hf.json",
                                  &text, NULL),
                     STATUS_OK);
    buf_append(&text, "", 1);
    assert_int_equal(load_text((char *)text.data, &b, &err), STATUS_OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(a.qformer.cross_every, 2);
    assert_int_equal(a.text.kv_heads, 2);
    assert_int_equal(a.text.eos, 2);
    buf_free(&text);
}

static void what_is_left_out_takes_the_defaults(void **state)
{
    struct mllm_config c;
    struct err err = {0};
    (void)state;
    assert_int_equal(load_text("{\"model_type\":\"llama\"}", &c, &err), STATUS_OK);
    assert_false(c.multimodal);
    assert_int_equal(c.text.hidden, 4096);
    assert_int_equal(c.text.kv_heads, 32);
    assert_int_equal(c.text.pad, -1);
    assert_string_equal(c.prompt, "{question}");
    assert_int_equal(load_text("{\"model_type\":\"instructblip\",\"vision_config\":{},"
                               "\"qformer_config\":{},\"text_config\":{\"model_type\":\"llama\"}}",
                               &c, &err),
                     STATUS_OK);
    assert_int_equal(c.queries, 32);
    assert_int_equal(c.vision.hidden, 1408);
    assert_true(c.vision.qkv_bias && c.qformer.text);
    assert_int_equal(load_text("{\"model_type\":\"llama\",\"num_attention_heads\":8}", &c, &err),
                     STATUS_OK);
    assert_int_equal(c.text.kv_heads, 8);
}

static void saving_and_loading_changes_nothing(void **state)
{
    struct mllm_config a, b;
    struct err err = {0};
    (void)state;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    assert_int_equal(
        load_text(
            "{\"model_type\":\"blip-2\",\"num_query_tokens\":5,\"cdcca_prompt\":\"Q: "
            "{question}\\n\","
            "\"vision_config\":{\"hidden_size\":64,\"num_attention_heads\":4,\"qkv_bias\":false},"
            "\"qformer_config\":{\"encoder_hidden_size\":64,\"cross_attention_frequency\":3},"
            "\"text_config\":{\"model_type\":\"llama\",\"tie_word_embeddings\":true,"
            "\"eos_token_id\":7,\"rope_theta\":500000.0}}",
            &a, &err),
        STATUS_OK);
    if (mllm_config_save(io_posix(), dir, &a, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    if (mllm_config_load(io_posix(), dir, &b, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_false(b.qformer.text);
    assert_int_equal(b.text.eos, 7);
    assert_memory_equal(&a, &b, sizeof a);
}

static void a_missing_file_is_named(void **state)
{
    struct mllm_config c;
    struct err err = {0};
    (void)state;
    assert_int_equal(mllm_config_load(io_posix(), dir, &c, &err), STATUS_NOT_FOUND);
    assert_non_null(strstr(err.text, "config.json"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_forms_of_the_reference_are_the_same),
        TEST(what_is_left_out_takes_the_defaults),
        TEST(saving_and_loading_changes_nothing),
        TEST(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
