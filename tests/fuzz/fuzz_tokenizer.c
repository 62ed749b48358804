/* Tokenizer files: the first byte says which (j: tokenizer.json, m: tokenizer.model, v: vocab.txt),
 * the rest is the file. Whatever loads encodes any text to ids of its own, the same each time,
 * decodes what it made, and its ids alone decode as well. */
#include "fuzz.h"
#include "model/mllm/tokenizer_parts.h"

enum { IDS = 8192 };

static const char *const TEXTS[] = {
    "",
    " ",
    "ab abc  hello, World! \n\n12 345",
    "<s>[CLS] h\xC3\xA9llo \xE6\xBC\xA2\xE5\xAD\x97 \xF0\x9F\x99\x82 A\xCC\x81\xCC\xA3 </s>[SEP]",
    "\xE2\x96\x81\xE2\x96\x81 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\x01\x7F\xC2\x85\xE2\x80\xA8\xEF\xBF\xBD\xEF\xB7\xBA\xC4\xB0",
};

static struct tokenizer *load(const uint8_t *data, size_t len)
{
    struct tokenizer_settings settings = {
        .add_bos = true, .legacy = true, .lower = true, .ideographs = true, .strip_accents = -1};
    struct tokenizer *t = calloc(1, sizeof *t);
    struct err err = {0};
    FUZZ_HOLDS(t);
    t->references = 1;
    enum status status = data[0] == 'j' ? tokenizer_read_json(t, data + 1, len - 1, &settings, &err)
                         : data[0] == 'm'
                             ? tokenizer_read_model(t, data + 1, len - 1, &settings, &err)
                             : tokenizer_read_vocab(t, data + 1, len - 1, &settings, &err);
    FUZZ_HOLDS(status == err.code && (status == STATUS_OK || err.text[0]));
    if (status == STATUS_OK)
        status = added_tokens_index(&t->added, &err);
    tokenizer_settings_free(&settings);
    if (status == STATUS_OK)
        return t;
    tokenizer_destroy(t);
    return NULL;
}

static void decode(const struct tokenizer *t, const int32_t *ids, size_t n)
{
    struct buf text = {.max = 64 << 20};
    FUZZ_HOLDS(tokenizer_decode(t, ids, n, &text) == STATUS_OK);
    FUZZ_HOLDS(text.data && text.data[text.len] == 0);
    buf_free(&text);
}

static void encode(const struct tokenizer *t, const char *from, unsigned how)
{
    static int32_t ids[IDS], again[IDS];
    struct tokenizer_text text = {.text = from, .len = strlen(from)};
    struct err err = {0};
    size_t n = 0, m = 0;
    enum status status = tokenizer_encode_as(t, &text, how, ids, IDS, &n, &err);
    FUZZ_HOLDS(status == tokenizer_encode_as(t, &text, how, again, IDS, &m, NULL));
    FUZZ_HOLDS(status == err.code && (status == STATUS_OK || err.text[0]));
    if (status != STATUS_OK)
        return;
    FUZZ_HOLDS(n == m && memcmp(ids, again, n * sizeof *ids) == 0);
    for (size_t i = 0; i < n; i++)
        FUZZ_HOLDS(vocab_get(&t->vocab, ids[i]));
    decode(t, ids, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct tokenizer *t = len ? load(data, len) : NULL;
    if (!t)
        return 0;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++)
        for (unsigned how = 0; how < 4; how++)
            encode(t, TEXTS[i], how);
    for (int32_t id = -1; id <= tokenizer_vocab(t) && id < 300; id++)
        decode(t, &id, 1);
    tokenizer_destroy(t);
    return 0;
}
