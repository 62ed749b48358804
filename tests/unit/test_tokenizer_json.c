/* tokenizer.json at full size: the files that Hugging Face's converters (convert_slow_tokenizer.py
 * of transformers 4.36) make of LLaMA's tokenizer.model and BERT's vocab.txt, made here in the same
 * way, give the ids of the originals on every reference line. Skipped where the data is not there.
 */
// links: mllm
#include "model/mllm/sentencepiece.h"
#include "model/mllm/tokenizer.h"
#include "model/mllm/vocab.h"

#include "api/wire/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { IDS = 4096, MERGES = 1 << 18 };

#define DATA SHARED_DATA "/tokenizers"

static struct buf read_data(const char *name)
{
    char path[4096];
    struct buf file = {.max = 16 << 20};
    struct err err = {0};
    snprintf(path, sizeof path, "%s/%s", DATA, name);
    if (!io_exists(DATA)) {
        print_message("skipped: no reference data at %s\n", DATA);
        skip();
    }
    if (io_read_file(io_posix(), path, &file, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return file;
}

static json *parse(const char *text)
{
    json *value = NULL;
    struct err err = {0};
    if (json_parse(text, strlen(text), &value, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return value;
}

/* ---- the converters ---- */

struct merge {
    float score;
    int32_t left, right, piece;
};

static int compare_merges(const void *a, const void *b)
{
    const struct merge *p = a, *q = b;
    if (p->score != q->score)
        return p->score > q->score ? -1 : 1;
    if (p->piece != q->piece)
        return p->piece < q->piece ? -1 : 1;
    if (p->left != q->left)
        return p->left < q->left ? -1 : 1;
    return (p->right > q->right) - (p->right < q->right);
}

static size_t cut(const struct sentencepiece *file, const struct vocab *vocab, struct merge *merges)
{
    size_t n = 0;
    for (int id = 0; id < file->count; id++) {
        const struct sentencepiece_piece *piece = &file->pieces[id];
        for (size_t i = 1; i < piece->len; i++) {
            if (((unsigned char)piece->text[i] & 0xC0) == 0x80)
                continue;
            int32_t left = vocab_find(vocab, piece->text, i);
            int32_t right = vocab_find(vocab, piece->text + i, piece->len - i);
            assert_true(n < MERGES);
            if (left >= 0 && right >= 0)
                merges[n++] = (struct merge){piece->score, left, right, id};
        }
    }
    qsort(merges, n, sizeof *merges, compare_merges);
    return n;
}

static json *llama_merges(const struct sentencepiece *file, const struct vocab *vocab)
{
    struct merge *merges = calloc(MERGES, sizeof *merges);
    json *list = json_array_new();
    size_t n = cut(file, vocab, merges);
    assert_true(n > 60000);
    for (size_t i = 0; i < n; i++) {
        char text[2 * VOCAB_TOKEN_BYTES];
        const struct token *left = vocab_get(vocab, merges[i].left);
        const struct token *right = vocab_get(vocab, merges[i].right);
        snprintf(text, sizeof text, "%.*s %.*s", (int)left->len, vocab_text(vocab, left),
                 (int)right->len, vocab_text(vocab, right));
        assert_true(json_append_string(list, text));
    }
    free(merges);
    return list;
}

static void fill_vocab(const struct vocab *vocab, json *object)
{
    for (int id = 0; id < vocab->count; id++) {
        char text[VOCAB_TOKEN_BYTES + 1];
        const struct token *token = vocab_get(vocab, id);
        snprintf(text, sizeof text, "%.*s", (int)token->len, vocab_text(vocab, token));
        assert_true(json_set_int(object, text, id));
    }
}

static json *llama_json(void)
{
    struct buf data = read_data("llama-sentencepiece/tokenizer.model");
    struct sentencepiece file;
    struct vocab vocab;
    json *root = parse(
        "{\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true},"
        " {\"id\": 1, \"content\": \"<s>\", \"special\": true},"
        " {\"id\": 2, \"content\": \"</s>\", \"special\": true}],"
        " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\":"
        "  [{\"type\": \"Prepend\", \"prepend\": \"\u2581\"},"
        "   {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}]},"
        " \"decoder\": {\"type\": \"Sequence\", \"decoders\":"
        "  [{\"type\": \"Replace\", \"pattern\": {\"String\": \"\u2581\"}, \"content\": \" \"},"
        "   {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},"
        "   {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}}");
    json *model = parse("{\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"fuse_unk\": true,"
                        " \"byte_fallback\": true}");
    json *tokens = json_object_new();
    assert_int_equal(sentencepiece_parse(data.data, data.len, &file, NULL), STATUS_OK);
    assert_int_equal(vocab_init(&vocab, file.count, NULL), STATUS_OK);
    for (int id = 0; id < file.count; id++)
        assert_int_equal(
            vocab_add(&vocab, id, file.pieces[id].text, file.pieces[id].len, TOKEN_NORMAL, NULL),
            STATUS_OK);
    fill_vocab(&vocab, tokens);
    assert_true(json_set_take(model, "vocab", tokens));
    assert_true(json_set_take(model, "merges", llama_merges(&file, &vocab)));
    assert_true(json_set_take(root, "model", model));
    vocab_free(&vocab);
    sentencepiece_free(&file);
    buf_free(&data);
    return root;
}

static json *bert_json(void)
{
    struct buf data = read_data("bert-wordpiece/vocab.txt");
    json *tokens = json_object_new();
    json *model =
        parse("{\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\","
              " \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100}");
    json *root =
        parse("{\"added_tokens\": [{\"id\": 0, \"content\": \"[PAD]\", \"special\": true},"
              " {\"id\": 100, \"content\": \"[UNK]\", \"special\": true},"
              " {\"id\": 101, \"content\": \"[CLS]\", \"special\": true},"
              " {\"id\": 102, \"content\": \"[SEP]\", \"special\": true},"
              " {\"id\": 103, \"content\": \"[MASK]\", \"special\": true}],"
              " \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true,"
              "  \"handle_chinese_chars\": true, \"strip_accents\": null, \"lowercase\": true},"
              " \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},"
              " \"post_processor\": {\"type\": \"TemplateProcessing\","
              "  \"single\": [{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}},"
              "   {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}},"
              "   {\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}],"
              "  \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}},"
              "   {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}],"
              "  \"special_tokens\": {\"[CLS]\": {\"id\": \"[CLS]\", \"ids\": [101]},"
              "   \"[SEP]\": {\"id\": \"[SEP]\", \"ids\": [102]}}},"
              " \"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}}");
    int64_t id = 0;
    for (char *rest = (char *)data.data, *line; (line = strsep(&rest, "\n")) && rest; id++)
        assert_true(json_set_int(tokens, line, id));
    assert_int_equal(id, 30522);
    assert_true(json_set_take(model, "vocab", tokens));
    assert_true(json_set_take(root, "model", model));
    buf_free(&data);
    return root;
}

/* Takes the file's JSON; a tokenizer of it. */
static struct tokenizer *load(json *root)
{
    char dir[] = "/tmp/cdcca-test-XXXXXX", path[64];
    struct buf text = {.max = 64 << 20};
    struct tokenizer *t = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(json_print(root, false, &text), STATUS_OK);
    assert_int_equal(io_write_file(io_posix(), path, text.data, text.len, &err), STATUS_OK);
    if (tokenizer_load(io_posix(), dir, &t, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    unlink(path);
    rmdir(dir);
    buf_free(&text);
    json_free(root);
    return t;
}

/* ---- the reference lines ---- */

static void expect_line(const struct tokenizer *t, const json *one, const char *key, unsigned how)
{
    static int32_t ids[IDS];
    struct tokenizer_text text = {.text = ""};
    const json *want = NULL;
    int64_t id = 0;
    size_t n = 0;
    assert_int_equal(json_get_string(one, "text", 1 << 16, &text.text, NULL), STATUS_OK);
    assert_int_equal(json_get_array(one, key, IDS, &want, NULL), STATUS_OK);
    text.len = strlen(text.text);
    assert_int_equal(tokenizer_encode_as(t, &text, how, ids, IDS, &n, NULL), STATUS_OK);
    if (n != json_length(want))
        fail_msg("\"%s\": %zu ids, the original has %zu", text.text, n, json_length(want));
    for (size_t i = 0; i < n; i++)
        if (json_int_at(want, i, 0, 1 << 20, &id, NULL) != STATUS_OK || id != ids[i])
            fail_msg("\"%s\": id %zu is %d, not %d", text.text, i, (int)ids[i], (int)id);
    const char *decoded = NULL;
    struct buf back = {.max = 1 << 20};
    assert_int_equal(json_opt_string(one, "decoded", 1 << 16, &decoded, NULL), STATUS_OK);
    assert_int_equal(tokenizer_decode(t, ids, n, &back), STATUS_OK);
    if (decoded)
        assert_string_equal((char *)back.data, decoded);
    buf_free(&back);
}

static void expect_lines(struct tokenizer *t, const char *name, const char *key, unsigned how)
{
    struct buf file = read_data(name);
    json *cases = parse((const char *)file.data);
    assert_int_equal(json_length(cases), 220);
    for (size_t i = 0; i < json_length(cases); i++)
        expect_line(t, json_at(cases, i), key, how);
    json_free(cases);
    buf_free(&file);
    tokenizer_destroy(t);
}

static void llama_as_json_gives_the_same_ids(void **state)
{
    (void)state;
    expect_lines(load(llama_json()), "llama-sentencepiece/expected.json", "ids", 0);
}

static void bert_as_json_gives_the_same_ids(void **state)
{
    (void)state;
    expect_lines(load(bert_json()), "bert-wordpiece/expected.json", "ids_with_cls_sep",
                 TOKENIZER_SPECIALS | TOKENIZER_WRAP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_as_json_gives_the_same_ids),
        cmocka_unit_test(bert_as_json_gives_the_same_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
