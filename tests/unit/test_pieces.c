/* Text as it grows: pieces are whole characters and together the text; stop strings end it wherever
 * tokens cut them; bytes that make no character do no harm. */
// links: mllm
#include "api/base/utf8.h"
#include "model/mllm/pieces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX = 512, VOCAB = 300 };

static struct tokenizer *bytes; /* byte-level BPE: most characters here are several tokens */

static int setup(void **state)
{
    static const char *const texts[] = {"the end of the story. The end.", "and then, and then"};
    static const char *const specials[] = {"<pad>", "</s>"};
    char dir[] = "/tmp/cdcca-test-XXXXXX", path[64];
    struct err err = {0};
    (void)state;
    if (!mkdtemp(dir) ||
        tokenizer_train(io_posix(), dir, texts, 2, VOCAB, specials, 2, &err) != STATUS_OK ||
        tokenizer_load(io_posix(), dir, &bytes, &err) != STATUS_OK)
        return -1;
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    unlink(path);
    return rmdir(dir);
}

static int teardown(void **state)
{
    (void)state;
    tokenizer_destroy(bytes);
    return 0;
}

/* Feeds ids one by one; out gets the text, every piece checked. Returns how many ids were taken. */
static int feed(const struct tokenizer *t, const int32_t *ids, int n, const char *const *stop,
                int stops, char *out)
{
    struct pieces p;
    size_t from, given = 0;
    int taken = 0;
    assert_int_equal(pieces_init(&p, t, stop, stops, MAX, NULL), STATUS_OK);
    for (; taken < n && !p.stopped; taken++) {
        assert_int_equal(pieces_add(&p, ids[taken], &from, NULL), STATUS_OK);
        assert_int_equal(from, given);
        assert_true(utf8_valid((const char *)p.text.data + from, p.text.len - from));
        given = p.text.len;
    }
    assert_int_equal(pieces_end(&p, &from, NULL), STATUS_OK);
    assert_int_equal(from, given);
    assert_true(utf8_valid((const char *)p.text.data, p.text.len));
    assert_int_equal(strlen((const char *)p.text.data), p.text.len);
    memcpy(out, p.text.data, p.text.len + 1);
    pieces_free(&p);
    return taken;
}

static int encode(const struct tokenizer *t, const char *text, int32_t *ids)
{
    size_t n = 0;
    assert_int_equal(tokenizer_encode(t, text, strlen(text), ids, MAX, &n, NULL), STATUS_OK);
    return (int)n;
}

static const char *const TEXTS[] = {
    "the end",
    "and then \xC3\xA9t\xC3\xA9, \342\202\2545 \xF0\x9F\x98\x80\xF0\x9F\x8E\x89!",
    "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
    "line\nline\n",
    "",
};

static void pieces_are_characters_and_make_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        int32_t ids[MAX];
        char out[4096];
        int n = encode(bytes, TEXTS[i], ids);
        assert_int_equal(feed(bytes, ids, n, NULL, 0, out), n);
        assert_string_equal(out, TEXTS[i]);
    }
}

/* Blanks in front are SentencePiece's own affair: what one decoding of all ids gives is right. */
static void sentencepiece_too(void **state)
{
    struct tokenizer *t = NULL;
    (void)state;
    if (tokenizer_load(io_posix(), SHARED_DATA "/tokenizers/llama-sentencepiece", &t, NULL)) {
        print_message("no tokenizers at %s\n", SHARED_DATA);
        skip();
    }
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        int32_t ids[MAX];
        char out[4096];
        struct buf want = {.max = 4096};
        int n = encode(t, TEXTS[i], ids);
        assert_int_equal(tokenizer_decode(t, ids, (size_t)n, &want), STATUS_OK);
        feed(t, ids, n, NULL, 0, out);
        assert_string_equal(out, n ? (const char *)want.data : "");
        buf_free(&want);
    }
    tokenizer_destroy(t);
}

static void a_stop_string_ends_the_text(void **state)
{
    static const struct {
        const char *text, *stop[2], *want;
    } cases[] = {
        {"the end of the story", {"of"}, "the end "},
        {"the end of the story", {"the"}, ""},
        {"the end of the story", {"never", "ory"}, "the end of the st"},
        {"and then, and thens", {"and thens", "zz"}, "and then, "},
        {"and then, and the", {"and then!"}, "and then, and the"}, /* only its beginning came */
        {"aaab", {"aab"}, "a"},
        {"the \342\202\2545", {"\xE2\x82\xAC"}, "the "},
        {"The end. The end.", {"end.", "The end. T"}, "The "}, /* the first to be whole */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t ids[MAX];
        char out[4096];
        int n = encode(bytes, cases[i].text, ids), stops = cases[i].stop[1] ? 2 : 1;
        feed(bytes, ids, n, cases[i].stop, stops, out);
        assert_string_equal(out, cases[i].want);
    }
}

static void no_ids_are_taken_after_a_stop(void **state)
{
    static const char *const stop[] = {" of"};
    int32_t ids[MAX], start[MAX];
    char out[4096];
    (void)state;
    int n = encode(bytes, "the end of the story", ids), m = encode(bytes, "the end of", start);
    assert_in_range(feed(bytes, ids, n, stop, 1, out), m, n - 1);
}

/* The id of a byte above 0x7F: its token alone makes no character. */
static int32_t lone_byte(void)
{
    int32_t ids[MAX];
    encode(bytes, "\xC3\xA9", ids);
    return ids[0];
}

static void bytes_that_make_no_character_become_question_marks(void **state)
{
    int32_t ids[MAX], byte = lone_byte();
    char out[4096];
    (void)state;
    int n = encode(bytes, "then", ids);
    ids[n] = ids[n + 1] = byte;
    int more = encode(bytes, "end", ids + n + 2);
    feed(bytes, ids, n + 2 + more, NULL, 0, out);
    assert_string_equal(out, "then??end");
    feed(bytes, ids, n + 1, NULL, 0, out);
    assert_string_equal(out, "then?");
}

static void without_a_tokenizer_there_is_no_text(void **state)
{
    static const int32_t ids[] = {4, 5, 6};
    char out[16];
    (void)state;
    assert_int_equal(feed(NULL, ids, 3, NULL, 0, out), 3);
    assert_string_equal(out, "");
}

static void what_is_wrong_is_said(void **state)
{
    static const char *const stop[] = {"fine", ""};
    struct pieces p;
    size_t from;
    (void)state;
    assert_int_equal(pieces_init(&p, bytes, stop, 2, MAX, NULL), STATUS_USAGE);
    pieces_free(&p);
    assert_int_equal(pieces_init(&p, bytes, NULL, 0, 1, NULL), STATUS_OK);
    assert_int_equal(pieces_add(&p, 10, &from, NULL), STATUS_OK);
    assert_int_equal(pieces_add(&p, 10, &from, NULL), STATUS_TOO_LARGE);
    pieces_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_characters_and_make_the_text),
        cmocka_unit_test(sentencepiece_too),
        cmocka_unit_test(a_stop_string_ends_the_text),
        cmocka_unit_test(no_ids_are_taken_after_a_stop),
        cmocka_unit_test(bytes_that_make_no_character_become_question_marks),
        cmocka_unit_test(without_a_tokenizer_there_is_no_text),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
