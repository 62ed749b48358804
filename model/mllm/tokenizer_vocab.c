/* A tokenizer from BERT's vocab.txt (one token a line, its number the id), as BertTokenizer reads
 * it: BERT's basic tokenizer, then WordPiece, [CLS] and [SEP] around a text. */
#include "model/mllm/tokenizer_parts.h"

#include "api/base/utf8.h"
#include <string.h>

static const char *const BERT_ROLES[ROLES] = {[ROLE_UNK] = "[UNK]",
                                              [ROLE_SEP] = "[SEP]",
                                              [ROLE_PAD] = "[PAD]",
                                              [ROLE_CLS] = "[CLS]",
                                              [ROLE_MASK] = "[MASK]"};

static enum status check_file(const char *text, size_t len, const struct tokenizer_settings *s,
                              int *lines, struct err *err)
{
    size_t n = len > 0 && text[len - 1] != '\n';
    if (s->class[0] && !tokenizer_settings_is_bert(s))
        return err_set(err, STATUS_UNSUPPORTED,
                       "tokenizer_config.json: tokenizer_class is \"%s\"; with vocab.txt "
                       "BertTokenizer is supported",
                       s->class);
    if (!utf8_valid(text, len))
        return err_set(err, STATUS_MALFORMED, "it is not UTF-8");
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    if (n > VOCAB_IDS)
        return err_set(err, STATUS_TOO_LARGE, "%zu lines; at most %d", n, VOCAB_IDS);
    *lines = (int)n;
    return STATUS_OK;
}

/* An empty line is a hole; lines may end in CR LF. */
static enum status read_lines(struct tokenizer *t, const char *text, size_t len, struct err *err)
{
    int64_t id = 0;
    for (size_t i = 0, next; i < len; i = next, id++) {
        const char *end = memchr(text + i, '\n', len - i);
        size_t stop = end ? (size_t)(end - text) : len;
        next = stop + 1;
        stop -= stop > i && text[stop - 1] == '\r';
        if (stop > i)
            TRY(vocab_add(&t->vocab, id, text + i, stop - i, TOKEN_NORMAL, err));
    }
    return STATUS_OK;
}

static enum status add_steps(struct normalizer *n, const struct tokenizer_settings *s,
                             struct err *err)
{
    bool strip = s->strip_accents >= 0 ? s->strip_accents : s->lower;
    if (s->lower)
        TRY(normalizer_add(n, NORMALIZER_LOWER, NULL, NULL, err));
    TRY(normalizer_add(n, NORMALIZER_CLEAN, NULL, NULL, err));
    if (s->ideographs)
        TRY(normalizer_add(n, NORMALIZER_IDEOGRAPHS, NULL, NULL, err));
    if (!strip)
        return normalizer_add(n, NORMALIZER_NFC, NULL, NULL, err);
    TRY(normalizer_add(n, NORMALIZER_NFD, NULL, NULL, err));
    return normalizer_add(n, NORMALIZER_DROP_MARKS, NULL, NULL, err);
}

enum status tokenizer_read_vocab(struct tokenizer *t, const void *data, size_t len,
                                 struct tokenizer_settings *settings, struct err *err)
{
    int lines = 0;
    TRY(check_file(data, len, settings, &lines, err));
    TRY(vocab_init(&t->vocab, added_tokens_room(&settings->added, lines) + ROLES, err));
    TRY(read_lines(t, data, len, err));
    TRY(tokenizer_settle_roles(t, settings, BERT_ROLES, err));
    TRY(add_steps(&t->normalizer, settings, err));
    int32_t unknown = tokenizer_role_id(t, settings, ROLE_UNK);
    int32_t cls = tokenizer_role_id(t, settings, ROLE_CLS);
    int32_t sep = tokenizer_role_id(t, settings, ROLE_SEP);
    if (unknown < 0)
        return err_set(err, STATUS_MALFORMED, "it has no [UNK], which words without tokens need");
    t->model = MODEL_WORDPIECE;
    t->bert_words = true;
    if (cls >= 0 && sep >= 0)
        template_bert(t, cls, sep);
    return wordpiece_init(&t->wordpiece, &t->vocab, "##", unknown, WORDPIECE_WORD, err);
}
