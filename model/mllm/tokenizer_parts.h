/* What a loaded tokenizer is made of, for the files that fill it in (tokenizer_json,
 * tokenizer_model, tokenizer_vocab) and the one that runs it (tokenizer). Internal to model/mllm.
 */
#ifndef CDCCA_TOKENIZER_PARTS_H
#define CDCCA_TOKENIZER_PARTS_H

#include "model/mllm/added_tokens.h"
#include "model/mllm/char_bpe.h"
#include "model/mllm/normalizer.h"
#include "model/mllm/tokenizer.h"
#include "model/mllm/tokenizer_settings.h"
#include "model/mllm/unigram.h"
#include "model/mllm/wordpiece.h"

enum { TOKENIZER_SPLITS = 4, TEMPLATE_ITEMS = 16, TEMPLATE_FIRST = -1, TEMPLATE_SECOND = -2 };

enum tokenizer_model {
    MODEL_BYTE_BPE,  /* GPT-2, Llama 3 */
    MODEL_CHAR_BPE,  /* LLaMA */
    MODEL_UNIGRAM,   /* T5's kind of tokenizer.model */
    MODEL_WORDPIECE, /* BERT */
};

/* What goes around one text, or around a pair: ids, and the places of the texts. */
struct template
{
    struct {
        int32_t id; /* or TEMPLATE_FIRST, TEMPLATE_SECOND */
        int32_t type;
    } item[TEMPLATE_ITEMS];
    int count;
};

struct tokenizer {
    struct vocab vocab;
    struct added_tokens added;
    struct normalizer normalizer;
    /* words: one expression after the other cuts further; none: the whole text is one */
    struct bpe_words *split[TOKENIZER_SPLITS];
    int splits;
    bool bert_words; /* BERT's instead */
    enum tokenizer_model model;
    struct bpe_merges merges; /* byte BPE */
    int32_t byte_symbol[256];
    bool ignore_merges; /* byte BPE: a word that is a token is that token */
    struct char_bpe char_bpe;
    struct unigram unigram;
    struct wordpiece wordpiece;
    bool wraps; /* the files say what goes around a text, be it nothing */
    struct template single, pair;
    /* decoding: how many blanks that encoding put in front are taken off */
    enum { STRIP_NONE, STRIP_ONE, STRIP_ALL } strip;
    int references; /* atomic */
};

/* LLaMA's: before A after, and the same around B (type 1); -1: nothing there. */
void template_llama(struct tokenizer *t, int32_t before, int32_t after);
/* BERT's: [CLS] A [SEP] B [SEP], B and what follows it of type 1. */
void template_bert(struct tokenizer *t, int32_t cls, int32_t sep);
void template_put(struct template *t, int32_t id, int32_t type);
/* Roles that the settings leave open get these names (NULL: none) where the vocabulary has them;
 * then all added tokens, t's own and those of the settings, are entered into the vocabulary. */
enum status tokenizer_settle_roles(struct tokenizer *t, struct tokenizer_settings *settings,
                                   const char *const names[ROLES], struct err *err);
/* Id of a role's token, -1 without one. */
int32_t tokenizer_role_id(const struct tokenizer *t, const struct tokenizer_settings *settings,
                          enum tokenizer_role role);
enum status tokenizer_add_split(struct tokenizer *t, const char *pattern, struct err *err);

/* The readers: fill a zeroed *t from a file's bytes and the settings beside it. What they leave
 * after a failure, tokenizer_destroy frees. */
enum status tokenizer_read_json(struct tokenizer *t, const void *data, size_t len,
                                struct tokenizer_settings *settings, struct err *err);
enum status tokenizer_read_model(struct tokenizer *t, const void *data, size_t len,
                                 struct tokenizer_settings *settings, struct err *err);
enum status tokenizer_read_vocab(struct tokenizer *t, const void *data, size_t len,
                                 struct tokenizer_settings *settings, struct err *err);

#endif
