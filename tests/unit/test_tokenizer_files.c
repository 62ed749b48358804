/* tests/data/tokenizer: one folder a case, loaded as a tokenizer's folder. `expect` is the status
 * and what the message must say; of a case that loads, texts.json lists texts and their ids:
 *
 *   [{"text": .., "special": true, "wrap": true, "plain": [from, to], "ids": [..],
 *     "pair": .., "types": [..], "decoded": ..}, ..]
 *
 * Adding a case needs no C. What a folder of plain files cannot hold is below: files that are no
 * files, and every file cut short at every byte. */
// links: mllm
#include "model/mllm/tokenizer_parts.h"

#include "api/base/utf8.h"
#include "model/mllm/sentencepiece.h"
#include "tests/unit/guard.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { IDS = 512, FILE_BYTES = 1 << 20 };

static const char FOLDER[] = SOURCE_DIR "/tests/data/tokenizer";

static struct buf read_file(const char *folder, const char *name)
{
    char path[4096];
    struct buf file = {.max = FILE_BYTES};
    struct err err = {0};
    snprintf(path, sizeof path, "%s/%s/%s", FOLDER, folder, name);
    if (io_read_file(io_posix(), path, &file, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return file;
}

/* ---- the folder of cases ---- */

static void expect_list(const char *name, size_t i, const json *want, const int32_t *ids, size_t n)
{
    char is[1024] = "";
    bool same = n == json_length(want);
    int64_t id = 0;
    for (size_t k = 0; k < n; k++) {
        size_t used = strlen(is);
        snprintf(is + used, sizeof is - used, " %d", (int)ids[k]);
        same = same && json_int_at(want, k, 0, 1 << 20, &id, NULL) == STATUS_OK && id == ids[k];
    }
    if (!same)
        fail_msg("%s, text %zu: gives%s", name, i, is);
}

static void expect_text(const char *name, size_t i, const struct tokenizer *t, const json *one)
{
    struct tokenizer_text text = {.text = ""}, pair = {0};
    const json *want = NULL, *plain = NULL;
    const char *decoded = NULL;
    int32_t ids[IDS], types[IDS];
    bool special = false, wrap = false;
    int64_t at = 0;
    size_t n = 0;
    struct err err = {0};
    assert_int_equal(json_get_string(one, "text", 4096, &text.text, &err), STATUS_OK);
    assert_int_equal(json_opt_bool(one, "special", &special, &err), STATUS_OK);
    assert_int_equal(json_opt_bool(one, "wrap", &wrap, &err), STATUS_OK);
    assert_int_equal(json_opt_string(one, "pair", 4096, &pair.text, &err), STATUS_OK);
    assert_int_equal(json_opt_string(one, "decoded", 4096, &decoded, &err), STATUS_OK);
    assert_int_equal(json_get_array(one, "ids", IDS, &want, &err), STATUS_OK);
    if (json_has(one, "plain")) {
        assert_int_equal(json_get_array(one, "plain", 2, &plain, &err), STATUS_OK);
        assert_int_equal(json_int_at(plain, 0, 0, 4096, &at, &err), STATUS_OK);
        text.plain_from = (size_t)at;
        assert_int_equal(json_int_at(plain, 1, 0, 4096, &at, &err), STATUS_OK);
        text.plain_to = (size_t)at;
    }
    unsigned how = (special ? TOKENIZER_SPECIALS : 0U) | (wrap ? TOKENIZER_WRAP : 0U);
    text.len = strlen(text.text);
    pair.len = pair.text ? strlen(pair.text) : 0;
    enum status status =
        pair.text ? tokenizer_encode_pair(t, &text, &pair, how, ids, types, IDS, &n, &err)
                  : tokenizer_encode_as(t, &text, how, ids, IDS, &n, &err);
    if (status != STATUS_OK)
        fail_msg("%s, text %zu: %s", name, i, err.text);
    expect_list(name, i, want, ids, n);
    if (pair.text) {
        assert_int_equal(json_get_array(one, "types", IDS, &want, &err), STATUS_OK);
        expect_list(name, i, want, types, n);
    }
    if (decoded) {
        struct buf back = {.max = FILE_BYTES};
        assert_int_equal(tokenizer_decode(t, ids, n, &back), STATUS_OK);
        if (strcmp((char *)back.data, decoded) != 0)
            fail_msg("%s, text %zu: comes back as \"%s\"", name, i, (char *)back.data);
        buf_free(&back);
    }
}

static void expect_texts(const char *name, const struct tokenizer *t)
{
    struct buf file = read_file(name, "texts.json");
    json *texts = NULL;
    struct err err = {0};
    if (json_parse(file.data, file.len, &texts, &err) != STATUS_OK || json_length(texts) == 0)
        fail_msg("%s/texts.json: %s", name, err.text);
    for (size_t i = 0; i < json_length(texts); i++)
        expect_text(name, i, t, json_at(texts, i));
    json_free(texts);
    buf_free(&file);
}

static void expect_case(const char *name)
{
    char path[4096];
    struct tokenizer *t = NULL;
    struct err err = {0};
    struct buf expect = read_file(name, "expect");
    char *want = (char *)expect.data;
    want[strcspn(want, "\n")] = 0;
    char *says = want + strcspn(want, " ");
    if (*says)
        *says++ = 0;
    snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    enum status status = tokenizer_load(io_posix(), path, &t, &err);
    if (strcmp(status_name(status), want) != 0)
        fail_msg("%s: %s (%s), not %s", name, status_name(status), err.text, want);
    if (status == STATUS_OK)
        expect_texts(name, t);
    else if (!strstr(err.text, says) || !strstr(err.text, name))
        fail_msg("%s says: %s", name, err.text);
    assert_true(status == STATUS_OK || t == NULL);
    buf_free(&expect);
    tokenizer_destroy(t);
}

static void every_case_is_as_expected(void **state)
{
    int count = 0;
    (void)state;
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        expect_case(entry->d_name);
        count++;
    }
    closedir(folder);
    assert_true(count > 100);
}

/* ---- no files ---- */

static void what_is_no_file_is_refused(void **state)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.txt"};
    (void)state;
    for (int i = 0; i < 6; i++) {
        char dir[64] = "/tmp/cdcca-test-XXXXXX", path[128];
        struct tokenizer *t = NULL;
        struct err err = {0};
        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof path, "%s/%s", dir, names[i / 2]);
        assert_int_equal(i % 2 ? mkfifo(path, 0600) : mkdir(path, 0700), 0);
        assert_int_not_equal(tokenizer_load(io_posix(), dir, &t, &err), STATUS_OK);
        assert_null(t);
        assert_non_null(strstr(err.text, names[i / 2]));
        assert_int_equal(remove(path), 0);
        assert_int_equal(rmdir(dir), 0);
    }
}

/* ---- cut short ---- */

typedef enum status reader(struct tokenizer *t, const void *data, size_t len,
                           struct tokenizer_settings *settings, struct err *err);

/* Each prefix, its end flush against an unreadable page: refused with a message, or a tokenizer. */
static void expect_prefixes(const char *folder, const char *name, reader *read)
{
    struct guard guard;
    struct buf file = read_file(folder, name);
    assert_int_equal(guard_init(&guard, file.len), 0);
    for (size_t len = 0; len <= file.len; len++) {
        struct tokenizer *t = calloc(1, sizeof *t);
        struct tokenizer_settings settings = {.lower = true, .strip_accents = -1, .legacy = true};
        struct err err = {0};
        assert_non_null(t);
        t->references = 1;
        enum status status = read(t, guard_put(&guard, file.data, len), len, &settings, &err);
        assert_int_equal(status, err.code);
        assert_true(status == STATUS_OK || (err.text[0] && utf8_valid(err.text, strlen(err.text))));
        if (len == file.len)
            assert_int_equal(status, STATUS_OK);
        tokenizer_settings_free(&settings);
        tokenizer_destroy(t);
    }
    guard_deinit(&guard);
    buf_free(&file);
}

static void files_cut_at_every_byte_are_refused(void **state)
{
    (void)state;
    expect_prefixes("model_bpe", "tokenizer.model", tokenizer_read_model);
    expect_prefixes("model_unigram", "tokenizer.model", tokenizer_read_model);
    expect_prefixes("model_charsmap", "tokenizer.model", tokenizer_read_model);
    expect_prefixes("model_byte_fallback", "tokenizer.model", tokenizer_read_model);
    expect_prefixes("vocab_bert", "vocab.txt", tokenizer_read_vocab);
    expect_prefixes("json_llama", "tokenizer.json", tokenizer_read_json);
    expect_prefixes("json_bert", "tokenizer.json", tokenizer_read_json);
}

/* ---- long texts ---- */

static size_t count_ids(const char *folder, const char *text, size_t len)
{
    char path[4096];
    struct tokenizer *t = NULL;
    struct err err = {0};
    size_t n = 0;
    int32_t *ids = malloc(4 * len * sizeof *ids);
    snprintf(path, sizeof path, "%s/%s", FOLDER, folder);
    assert_int_equal(tokenizer_load(io_posix(), path, &t, &err), STATUS_OK);
    if (tokenizer_encode(t, text, len, ids, 4 * len, &n, &err) != STATUS_OK)
        fail_msg("%s: %s", folder, err.text);
    tokenizer_destroy(t);
    free(ids);
    return n;
}

/* A megabyte each; with quadratic work anywhere this would not end. */
static void megabytes_are_encoded(void **state)
{
    static const char *const units[] = {"a", " ", "ab ", "\xCC\x81\xCC\xA3", "\xE6\xBC\xA2", "<s>"};
    static const char *const folders[] = {"model_bpe", "model_unigram", "vocab_bert",
                                          "json_gpt2", "json_llama3",   "json_normalizers"};
    size_t len = 1 << 20;
    char *text = malloc(len);
    (void)state;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t step = strlen(units[u]), n = len / step * step;
        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % step];
        for (size_t f = 0; f < sizeof folders / sizeof *folders; f++)
            assert_true(count_ids(folders[f], text, n) <= n + 1);
    }
    memset(text, 'a', len);
    assert_int_equal(count_ids("vocab_bert", text, len), 1);
    assert_int_equal(count_ids("model_bpe", text, len), len + 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_as_expected),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(files_cut_at_every_byte_are_refused),
        cmocka_unit_test(megabytes_are_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
