/* Tokenizers against their originals: every line of the reference data gives the ids that
 * SentencePiece, Hugging Face's BertTokenizer and llama2.c gave, and SentencePiece's decoded text.
 * Skipped where the data is not there. */
// links: mllm
#include "model/mllm/tokenizer.h"

#include "api/wire/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { IDS = 4096, DATA_BYTES = 4 << 20 };

static const char FOLDER[] = SHARED_DATA "/tokenizers";

static void need_data(void)
{
    if (io_exists(FOLDER))
        return;
    print_message("skipped: no reference data at %s\n", FOLDER);
    skip();
}

static json *read_cases(const char *name)
{
    char path[4096];
    struct buf file = {.max = DATA_BYTES};
    struct err err = {0};
    json *root = NULL;
    snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    if (io_read_file(io_posix(), path, &file, &err) != STATUS_OK ||
        json_parse(file.data, file.len, &root, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    buf_free(&file);
    return root;
}

static struct tokenizer *load(const char *name)
{
    char path[4096];
    struct err err = {0};
    struct tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    if (tokenizer_load(io_posix(), path, &t, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return t;
}

static void expect_ids(const json *one, const char *key, const int32_t *ids, size_t n,
                       const char *text)
{
    const json *want = NULL;
    int64_t id = 0;
    assert_int_equal(json_get_array(one, key, IDS, &want, NULL), STATUS_OK);
    for (size_t i = 0; i < n && i < json_length(want); i++) {
        assert_int_equal(json_int_at(want, i, 0, 1 << 20, &id, NULL), STATUS_OK);
        if (id != ids[i])
            fail_msg("\"%s\": %s[%zu] is %d, the original has %d", text, key, i, (int)ids[i],
                     (int)id);
    }
    if (n != json_length(want))
        fail_msg("\"%s\": %zu %s, the original has %zu", text, n, key, json_length(want));
}

static void expect_decoded(const struct tokenizer *t, const json *one, const int32_t *ids, size_t n)
{
    struct buf back = {.max = 1 << 20};
    const char *want = "";
    assert_int_equal(json_get_string(one, "decoded", 1 << 16, &want, NULL), STATUS_OK);
    assert_int_equal(tokenizer_decode(t, ids, n, &back), STATUS_OK);
    assert_string_equal((char *)back.data, want);
    buf_free(&back);
}

/* All lines of a file. how: of tokenizer_encode_as. */
static void expect_lines(const char *folder, const char *key, unsigned how, bool decode)
{
    char name[256];
    static int32_t ids[IDS];
    need_data();
    struct tokenizer *t = load(folder);
    snprintf(name, sizeof name, "%s/expected.json", folder);
    json *cases = read_cases(name);
    assert_int_equal(json_length(cases), 220);
    for (size_t i = 0; i < json_length(cases); i++) {
        const json *one = json_at(cases, i);
        struct tokenizer_text text = {.text = ""};
        struct err err = {0};
        size_t n = 0;
        assert_int_equal(json_get_string(one, "text", 1 << 16, &text.text, NULL), STATUS_OK);
        text.len = strlen(text.text);
        if (tokenizer_encode_as(t, &text, how, ids, IDS, &n, &err) != STATUS_OK)
            fail_msg("\"%s\": %s", text.text, err.text);
        expect_ids(one, key, ids, n, text.text);
        if (decode)
            expect_decoded(t, one, ids, n);
    }
    json_free(cases);
    tokenizer_destroy(t);
}

static void llama_bpe_gives_the_ids_of_sentencepiece(void **state)
{
    (void)state;
    expect_lines("llama-sentencepiece", "ids", 0, true);
}

static void unigram_with_byte_fallback_gives_the_ids_of_sentencepiece(void **state)
{
    (void)state;
    expect_lines("sentencepiece-small-bytefallback", "ids", 0, true);
}

static void wordpiece_gives_the_ids_of_bert(void **state)
{
    (void)state;
    expect_lines("bert-wordpiece", "ids_with_cls_sep", TOKENIZER_SPECIALS | TOKENIZER_WRAP, false);
}

static void pairs_get_the_types_of_bert(void **state)
{
    static int32_t ids[IDS], types[IDS];
    (void)state;
    need_data();
    struct tokenizer *t = load("bert-wordpiece");
    json *cases = read_cases("bert-wordpiece/expected-pairs.json");
    assert_int_equal(json_length(cases), 10);
    for (size_t i = 0; i < json_length(cases); i++) {
        const json *one = json_at(cases, i);
        struct tokenizer_text a = {.text = ""}, b = {.text = ""};
        size_t n = 0;
        assert_int_equal(json_get_string(one, "text", 1 << 16, &a.text, NULL), STATUS_OK);
        assert_int_equal(json_get_string(one, "pair", 1 << 16, &b.text, NULL), STATUS_OK);
        a.len = strlen(a.text);
        b.len = strlen(b.text);
        assert_int_equal(
            tokenizer_encode_pair(t, &a, &b, TOKENIZER_SPECIALS, ids, types, IDS, &n, NULL),
            STATUS_OK);
        expect_ids(one, "input_ids", ids, n, a.text);
        expect_ids(one, "token_type_ids", types, n, a.text);
    }
    json_free(cases);
    tokenizer_destroy(t);
}

/* ---- llama2.c's tok512.bin, written as a tokenizer.model ---- */

static void put_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append(out, &(uint8_t){(uint8_t)(value | 0x80)}, 1);
    buf_append(out, &(uint8_t){(uint8_t)value}, 1);
}

static void put_bytes(struct buf *out, unsigned field, const void *data, size_t len)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, len);
    buf_append(out, data, len);
}

/* text: with blanks, which a piece writes as U+2581 */
static void put_piece(struct buf *out, const char *text, size_t len, float score, uint64_t type)
{
    struct buf piece = {.max = 4096}, name = {.max = 4096};
    for (size_t i = 0; i < len; i++)
        buf_append(&name, text[i] == ' ' ? "\xE2\x96\x81" : text + i, text[i] == ' ' ? 3 : 1);
    put_bytes(&piece, 1, name.data, name.len);
    put_varint(&piece, 2 << 3 | 5);
    buf_append(&piece, &score, sizeof score);
    put_varint(&piece, 3 << 3);
    put_varint(&piece, type);
    put_bytes(out, 1, piece.data, piece.len);
    buf_free(&piece);
    buf_free(&name);
}

/* int32 longest, then 512 x (float score, int32 length, bytes): 0 unknown, 1 and 2 control, 3..258
 * bytes. */
static void put_tok512(const struct buf *bin, struct buf *out)
{
    static const uint8_t bpe[] = {3 << 3, 2, (35 << 3 & 0x7F) | 0x80, 35 >> 4, 1};
    static const uint8_t as_it_is[] = {4 << 3, 0}; /* remove_extra_whitespaces false */
    size_t at = 4;
    for (int id = 0; id < 512; id++) {
        float score = 0;
        int32_t len = 0;
        memcpy(&score, bin->data + at, 4);
        memcpy(&len, bin->data + at + 4, 4);
        put_piece(out, (const char *)bin->data + at + 8, (size_t)len, id < 259 ? 0 : score,
                  id == 0    ? 2
                  : id < 3   ? 3
                  : id < 259 ? 6
                             : 1);
        at += 8 + (size_t)len;
    }
    assert_int_equal(at, bin->len);
    put_bytes(out, 2, bpe, sizeof bpe);
    put_bytes(out, 3, as_it_is, sizeof as_it_is);
}

static void a_small_llama_gives_the_ids_of_llama2_c(void **state)
{
    static int32_t ids[IDS];
    char dir[] = "/tmp/cdcca-test-XXXXXX", path[64];
    struct buf bin = {.max = DATA_BYTES}, model = {.max = DATA_BYTES};
    struct tokenizer *t = NULL;
    struct err err = {0};
    size_t n = 0;
    (void)state;
    need_data();
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tokenizer.model", dir);
    assert_int_equal(
        io_read_file(io_posix(), SHARED_DATA "/stories260k-llama/tok512.bin", &bin, NULL),
        STATUS_OK);
    put_tok512(&bin, &model);
    assert_int_equal(io_write_file(io_posix(), path, model.data, model.len, NULL), STATUS_OK);
    if (tokenizer_load(io_posix(), dir, &t, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    json *cases = read_cases("../stories260k-llama/tok512-expected.json");
    assert_int_equal(json_length(cases), 140);
    for (size_t i = 0; i < json_length(cases); i++) {
        const char *text = "";
        assert_int_equal(json_get_string(json_at(cases, i), "text", 1 << 16, &text, NULL),
                         STATUS_OK);
        assert_int_equal(tokenizer_encode(t, text, strlen(text), ids, IDS, &n, NULL), STATUS_OK);
        expect_ids(json_at(cases, i), "ids", ids, n, text);
    }
    json_free(cases);
    tokenizer_destroy(t);
    buf_free(&bin);
    buf_free(&model);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_bpe_gives_the_ids_of_sentencepiece),
        cmocka_unit_test(unigram_with_byte_fallback_gives_the_ids_of_sentencepiece),
        cmocka_unit_test(wordpiece_gives_the_ids_of_bert),
        cmocka_unit_test(pairs_get_the_types_of_bert),
        cmocka_unit_test(a_small_llama_gives_the_ids_of_llama2_c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
