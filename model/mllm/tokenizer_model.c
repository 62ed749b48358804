/* A tokenizer from SentencePiece's tokenizer.model, as LlamaTokenizer reads it: the file's BPE or
 * unigram model, its normalizer, and BOS in front of a text.
 *
 * SentencePiece's BPE has no list of merges: any two neighbours may merge whose texts make a piece,
 * the piece of the highest score first. Here each way to cut a piece into two becomes a merge, its
 * rank the score's place. */
#include "model/mllm/tokenizer_parts.h"

#include "model/mllm/sentencepiece.h"
#include "model/mllm/unicode.h"
#include <stdlib.h>
#include <string.h>

static const char BLANK[] = "\xE2\x96\x81"; /* U+2581, how a blank is written in a piece */

enum { BPE_PIECE_BYTES = 512 }; /* each way to cut a piece is tried */

static enum token_kind kind_of(enum sentencepiece_type type)
{
    switch (type) {
    case SENTENCEPIECE_UNKNOWN:
        return TOKEN_UNKNOWN;
    case SENTENCEPIECE_CONTROL:
        return TOKEN_CONTROL;
    case SENTENCEPIECE_USER_DEFINED:
        return TOKEN_USER;
    default:
        return TOKEN_NORMAL;
    }
}

static enum status read_pieces(struct tokenizer *t, const struct sentencepiece *file,
                               const struct tokenizer_settings *settings, int32_t *unknown,
                               struct err *err)
{
    *unknown = -1;
    TRY(vocab_init(&t->vocab, added_tokens_room(&settings->added, file->count), err));
    for (int i = 0; i < file->count; i++) {
        const struct sentencepiece_piece *piece = &file->pieces[i];
        TRY(vocab_add(&t->vocab, i, piece->text, piece->len, kind_of(piece->type), err));
        if (piece->type != SENTENCEPIECE_UNKNOWN)
            continue;
        if (*unknown >= 0)
            return err_set(err, STATUS_CONFLICT, "pieces %d and %d are both of type unknown",
                           (int)*unknown, i);
        *unknown = i;
    }
    if (*unknown < 0)
        return err_set(err, STATUS_MALFORMED, "no piece is of type unknown");
    return file->byte_fallback ? vocab_mark_bytes(&t->vocab, err) : STATUS_OK;
}

static enum status read_normalizer(struct tokenizer *t, const struct sentencepiece *file,
                                   bool legacy, struct err *err)
{
    struct normalizer *n = &t->normalizer;
    if (file->charsmap) {
        TRY(charsmap_init(&n->map, file->charsmap, file->charsmap_len, err));
        TRY(normalizer_add(n, NORMALIZER_CHARSMAP, NULL, NULL, err));
    }
    if (file->remove_extra_whitespaces)
        TRY(normalizer_add(n, NORMALIZER_TIDY_BLANKS, NULL, NULL, err));
    if (file->add_dummy_prefix) {
        TRY(normalizer_add(n, NORMALIZER_PREPEND, NULL, " ", err));
        n->step[n->count - 1].first_only = !legacy;
    }
    if (file->escape_whitespaces)
        TRY(normalizer_add(n, NORMALIZER_REPLACE, " ", BLANK, err));
    t->strip = file->remove_extra_whitespaces ? STRIP_ALL
               : file->add_dummy_prefix       ? STRIP_ONE
                                              : STRIP_NONE;
    return STATUS_OK;
}

/* ---- BPE ---- */

struct scored {
    float score;
    int32_t id;
};

static int compare_scores(const void *a, const void *b)
{
    const struct scored *p = a, *q = b;
    if (p->score != q->score)
        return p->score > q->score ? -1 : 1;
    return p->id < q->id ? -1 : 1;
}

/* Every way to make the piece of two symbols. */
static enum status cut_piece(struct tokenizer *t, int32_t id, int32_t rank, struct err *err)
{
    const struct token *token = &t->vocab.tokens[id];
    const char *text = vocab_text(&t->vocab, token);
    size_t size = 0;
    if (token->len > BPE_PIECE_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "piece %d has %u bytes; a BPE piece at most %d",
                       (int)id, token->len, BPE_PIECE_BYTES);
    unicode_get(text, token->len, &size);
    for (size_t i = size; i < token->len; i += size) {
        int32_t left = char_bpe_symbol(&t->char_bpe, text, i);
        int32_t right = char_bpe_symbol(&t->char_bpe, text + i, token->len - i);
        if (left >= 0 && right >= 0)
            bpe_merges_add(&t->char_bpe.merges, left, right, id, rank);
        unicode_get(text + i, token->len - i, &size);
    }
    return STATUS_OK;
}

/* The normal pieces by falling score; equal scores get equal ranks, so that the place decides. */
static enum status cut_pieces(struct tokenizer *t, const struct sentencepiece *file,
                              struct scored *order, struct err *err)
{
    size_t n = 0, bytes = 0;
    int32_t rank = 0;
    for (int i = 0; i < file->count; i++)
        if (t->vocab.tokens[i].kind == TOKEN_NORMAL) {
            order[n++] = (struct scored){file->pieces[i].score, i};
            bytes += file->pieces[i].len;
        }
    if (!bpe_merges_init(&t->char_bpe.merges, bytes))
        return err_set(err, STATUS_NO_MEMORY, "no memory for the merges of %zu pieces", n);
    qsort(order, n, sizeof *order, compare_scores);
    for (size_t i = 0; i < n; i++) {
        rank += i > 0 && order[i].score < order[i - 1].score;
        TRY(cut_piece(t, order[i].id, rank, err));
    }
    return STATUS_OK;
}

static enum status read_bpe(struct tokenizer *t, const struct sentencepiece *file, int32_t unknown,
                            struct err *err)
{
    size_t bytes = 0;
    t->model = MODEL_CHAR_BPE;
    t->char_bpe.vocab = &t->vocab;
    t->char_bpe.bytes = file->byte_fallback;
    t->char_bpe.fuse_unknown = true;
    t->char_bpe.unknown = unknown;
    for (int i = 0; i < file->count; i++)
        bytes += file->pieces[i].type == SENTENCEPIECE_USER_DEFINED ? file->pieces[i].len : 0;
    struct scored *order = malloc((size_t)file->count * sizeof *order);
    enum status status = STATUS_OK;
    if (!order || !trie_init(&t->char_bpe.user, bytes))
        status = err_set(err, STATUS_NO_MEMORY, "no memory for %d pieces", file->count);
    for (int i = 0; i < file->count && status == STATUS_OK; i++)
        if (file->pieces[i].type == SENTENCEPIECE_USER_DEFINED)
            trie_add(&t->char_bpe.user, file->pieces[i].text, file->pieces[i].len, i);
    if (status == STATUS_OK)
        status = cut_pieces(t, file, order, err);
    free(order);
    return status;
}

/* ---- unigram ---- */

static enum status read_unigram(struct tokenizer *t, const struct sentencepiece *file,
                                int32_t unknown, struct err *err)
{
    struct unigram *u = &t->unigram;
    bool found = false;
    t->model = MODEL_UNIGRAM;
    *u = (struct unigram){.vocab = &t->vocab, .bytes = file->byte_fallback, .unknown = unknown};
    u->score = calloc((size_t)file->count, sizeof *u->score);
    if (!u->score || !trie_init(&u->pieces, t->vocab.bytes.len))
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d pieces", file->count);
    for (int i = 0; i < file->count; i++) {
        const struct sentencepiece_piece *piece = &file->pieces[i];
        enum token_kind kind = t->vocab.tokens[i].kind;
        u->score[i] = piece->score;
        if (kind == TOKEN_NORMAL) {
            u->lowest = found && u->lowest < piece->score ? u->lowest : piece->score;
            u->highest = found && u->highest > piece->score ? u->highest : piece->score;
            found = true;
        }
        if (kind == TOKEN_NORMAL || kind == TOKEN_USER)
            trie_add(&u->pieces, piece->text, piece->len, i);
    }
    return STATUS_OK;
}

/* ---- the whole ---- */

static const char *const LLAMA_ROLES[ROLES] = {
    [ROLE_BOS] = "<s>", [ROLE_EOS] = "</s>", [ROLE_UNK] = "<unk>"};

static enum status check_class(const struct tokenizer_settings *settings, struct err *err)
{
    if (!settings->class[0] || tokenizer_settings_is_llama(settings))
        return STATUS_OK;
    return err_set(err, STATUS_UNSUPPORTED,
                   "tokenizer_config.json: tokenizer_class is \"%s\"; with tokenizer.model "
                   "LlamaTokenizer is supported",
                   settings->class);
}

static enum status read_parts(struct tokenizer *t, const struct sentencepiece *file,
                              struct tokenizer_settings *settings, struct err *err)
{
    int32_t unknown = -1;
    TRY(read_pieces(t, file, settings, &unknown, err));
    TRY(read_normalizer(t, file, settings->legacy, err));
    TRY(tokenizer_settle_roles(t, settings, LLAMA_ROLES, err));
    if (file->model == SENTENCEPIECE_BPE)
        return read_bpe(t, file, unknown, err);
    return read_unigram(t, file, unknown, err);
}

enum status tokenizer_read_model(struct tokenizer *t, const void *data, size_t len,
                                 struct tokenizer_settings *settings, struct err *err)
{
    struct sentencepiece file;
    TRY(check_class(settings, err));
    TRY(sentencepiece_parse(data, len, &file, err));
    enum status status = read_parts(t, &file, settings, err);
    sentencepiece_free(&file);
    return status;
}
