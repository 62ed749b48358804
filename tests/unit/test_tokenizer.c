/* Byte-level BPE: training is deterministic, encoding merges as the reference algorithm does,
 * decoding gives the text back, and bad files are refused by name. */
// links: mllm
#include "model/mllm/tokenizer.h"

#include "api/base/rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static const char *const SPECIALS[] = {"<pad>", "<s>", "</s>"};

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
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    unlink(path);
    return rmdir(dir);
}

static void train(const char *const *texts, size_t count, int vocab)
{
    struct err err = {0};
    if (tokenizer_train(io_posix(), dir, texts, count, vocab, SPECIALS, 3, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static struct tokenizer *load(void)
{
    struct err err = {0};
    struct tokenizer *t = NULL;
    if (tokenizer_load(io_posix(), dir, &t, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return t;
}

/* 600 short questions from a small grammar */
static char **questions(size_t count)
{
    static const char *const words[] = {"red",  "green", "circle", "square", "left",
                                        "what", "is",    "the",    "colour", "of",
                                        "how",  "many",  "there",  "are"};
    char **texts = calloc(count, sizeof *texts);
    for (size_t i = 0; i < count; i++) {
        struct rng rng;
        rng_init(&rng, 7, i);
        texts[i] = calloc(1, 128);
        for (int w = 0; w < 6; w++) {
            strcat(texts[i], w ? " " : "");
            strcat(texts[i], words[rng_below(&rng, 14)]);
        }
        strcat(texts[i], "?");
    }
    return texts;
}

static void texts_free(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
    free(texts);
}

static void train_small(int vocab)
{
    char **texts = questions(600);
    train((const char *const *)texts, 600, vocab);
    texts_free(texts, 600);
}

static struct buf read_json(void)
{
    char path[128];
    struct buf file = {.max = 1 << 20};
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(io_read_file(io_posix(), path, &file, NULL), STATUS_OK);
    return file;
}

static void write_json(const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(io_write_file(io_posix(), path, text, strlen(text), NULL), STATUS_OK);
}

static void training_is_deterministic(void **state)
{
    (void)state;
    train_small(400);
    struct buf first = read_json();
    train_small(400);
    struct buf second = read_json();
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    buf_free(&first);
    buf_free(&second);
}

static void a_frequent_word_becomes_one_token(void **state)
{
    int32_t ids[16];
    size_t n = 0;
    (void)state;
    train_small(400);
    struct tokenizer *t = load();
    assert_true(tokenizer_vocab(t) <= 400);
    assert_int_equal(tokenizer_encode(t, " circle", 7, ids, 16, &n, NULL), STATUS_OK);
    assert_int_equal(n, 1);
    assert_int_equal(tokenizer_id(t, " circle"), ids[0]);
    tokenizer_destroy(t);
}

static void expect_round_trip(const struct tokenizer *t, const char *text, size_t len)
{
    int32_t *ids = calloc(len + 1, sizeof *ids);
    struct buf back = {.max = len + 1};
    size_t n = 0;
    struct err err = {0};
    if (tokenizer_encode(t, text, len, ids, len, &n, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(tokenizer_decode(t, ids, n, &back), STATUS_OK);
    assert_int_equal(back.len, len);
    assert_memory_equal(back.data, text, len);
    buf_free(&back);
    free(ids);
}

static void any_text_comes_back(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "what is the colour?",
        "  two  spaces\n\n\tand tabs ",
        "it's we'll don't 12345 \xE2\x82\xAC\xF0\x9F\x99\x82 na\xC3\xAFve",
        "<s>not special</s>",
        "\x01\x7F",
    };
    (void)state;
    train_small(400);
    struct tokenizer *t = load();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_round_trip(t, texts[i], strlen(texts[i]));
    expect_round_trip(t, "a\0b", 3);
    tokenizer_destroy(t);
}

static void special_tokens_stay_out_of_texts(void **state)
{
    int32_t ids[16] = {0};
    size_t n = 0;
    struct buf text = {.max = 64};
    (void)state;
    train_small(400);
    struct tokenizer *t = load();
    assert_int_equal(tokenizer_id(t, "</s>"), 2);
    assert_int_equal(tokenizer_id(t, "no such token"), -1);
    assert_int_equal(tokenizer_encode(t, "</s>", 4, ids, 16, &n, NULL), STATUS_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_not_equal(ids[i], 2);
    assert_int_equal(tokenizer_decode(t, (int32_t[]){1, ids[0], 2}, 3, &text), STATUS_OK);
    assert_string_equal((char *)text.data, "<");
    assert_int_equal(tokenizer_decode(t, (int32_t[]){-1, 1 << 20}, 2, &text), STATUS_OK);
    assert_string_equal((char *)text.data, "<");
    buf_free(&text);
    tokenizer_destroy(t);
}

static void bad_text_and_full_buffers_are_errors(void **state)
{
    int32_t ids[4];
    size_t n = 0;
    struct err err = {0};
    (void)state;
    train_small(400);
    struct tokenizer *t = load();
    assert_int_equal(tokenizer_encode(t, "ab\xFF", 3, ids, 4, &n, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "UTF-8"));
    assert_int_equal(tokenizer_encode(t, "zqxjzqxj", 8, ids, 4, &n, &err), STATUS_TOO_LARGE);
    tokenizer_destroy(t);
}

/* The definition: merge the pair of lowest rank, leftmost first, until none is left. */
struct rule {
    const char *left, *right;
};

static void merges_follow_rank_then_position(void **state)
{
    (void)state;
    static const struct rule rules[] = {
        {"a", "a"}, {"aa", "b"}, {"b", "a"}, {"ba", "aa"}, {"aa", "a"}};
    struct buf json = {.max = 1 << 20};
    buf_printf(&json, "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                      "\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"type\":\"BPE\","
                      "\"vocab\":{");
    struct buf plain;
    train((const char *const[]){"x"}, 1, 259); /* bytes alone: lends the names of the bytes */
    plain = read_json();
    char *from = strstr((char *)plain.data, "\"vocab\""), *to;
    from = strchr(from, '{') + 1;
    to = strchr(strstr(from, "258"), '}');
    buf_printf(&json, "%.*s", (int)(to - from), from);
    for (int i = 0; i < 5; i++)
        buf_printf(&json, ",\"%s%s\":%d", rules[i].left, rules[i].right, 259 + i);
    buf_printf(&json, "},\"merges\":[");
    for (int i = 0; i < 5; i++)
        buf_printf(&json, "%s[\"%s\",\"%s\"]", i ? "," : "", rules[i].left, rules[i].right);
    buf_printf(&json, "]}}");
    write_json((char *)json.data);
    buf_free(&plain);
    buf_free(&json);
    struct tokenizer *t = load();
    int32_t ids[16];
    size_t n = 0;
    /* aaabaa: (aa)(a)(b)(aa) by rank 0 from the left; then "b a" is gone; nothing else applies but
     * rank 4 on (aa)(a), giving (aaa)(b)(aa) */
    assert_int_equal(tokenizer_encode(t, "aaabaa", 6, ids, 16, &n, NULL), STATUS_OK);
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], tokenizer_id(t, "aaa"));
    assert_int_equal(ids[1], tokenizer_id(t, "b"));
    assert_int_equal(ids[2], tokenizer_id(t, "aa"));
    /* aab: rank 0, then rank 1 */
    assert_int_equal(tokenizer_encode(t, "aab", 3, ids, 16, &n, NULL), STATUS_OK);
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], tokenizer_id(t, "aab"));
    tokenizer_destroy(t);
}

static void a_megabyte_of_one_letter_is_encoded(void **state)
{
    size_t len = 1 << 20, n = 0;
    (void)state;
    const char *text = "aaaaaaaaaaaaaaaa aaaaaaaaaaaaaaaa";
    train((const char *const[]){text, text}, 2, 263);
    struct tokenizer *t = load();
    char *long_text = malloc(len);
    int32_t *ids = malloc(len * sizeof *ids);
    memset(long_text, 'a', len);
    assert_int_equal(tokenizer_encode(t, long_text, len, ids, len, &n, NULL), STATUS_OK);
    assert_true(n < len / 4);
    free(long_text);
    free(ids);
    tokenizer_destroy(t);
}

static void bad_files_are_refused(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"", "JSON"},
        {"[]", ""},
        {"{\"model\":{\"type\":\"Unigram\"}}", "Unigram"},
        {"{\"model\":{\"type\":\"BPE\"},\"pre_tokenizer\":{\"type\":\"Whitespace\"}}",
         "Whitespace"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},"
         "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
         "empty"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},"
         "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
         "byte"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]},"
         "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
         "-1"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":5,\"b\":5},\"merges\":[]},"
         "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
         ""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a b\":0},\"merges\":[]},"
         "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
         "byte-level"},
        {"{\"normalizer\":{\"type\":\"Nmt\"},\"model\":{\"type\":\"BPE\"}}", "Nmt"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tokenizer *t = NULL;
        struct err err = {0};
        write_json(cases[i].json);
        assert_int_not_equal(tokenizer_load(io_posix(), dir, &t, &err), STATUS_OK);
        assert_null(t);
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, "tokenizer.json"))
            fail_msg("case %zu says: %s", i, err.text);
    }
}

static void a_vocabulary_smaller_than_the_bytes_is_refused(void **state)
{
    struct err err = {0};
    (void)state;
    assert_int_equal(tokenizer_train(io_posix(), dir, NULL, 0, 100, SPECIALS, 3, &err),
                     STATUS_USAGE);
    train((const char *const[]){"x"}, 1, 259); /* leaves a file for teardown */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(training_is_deterministic),
        TEST(a_frequent_word_becomes_one_token),
        TEST(any_text_comes_back),
        TEST(special_tokens_stay_out_of_texts),
        TEST(bad_text_and_full_buffers_are_errors),
        TEST(merges_follow_rank_then_position),
        TEST(a_megabyte_of_one_letter_is_encoded),
        TEST(bad_files_are_refused),
        TEST(a_vocabulary_smaller_than_the_bytes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
