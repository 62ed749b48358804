/* What the small files beside a tokenizer say: tokenizer_config.json, special_tokens_map.json,
 * added_tokens.json; each may be absent. Internal to model/mllm.
 *
 * Reference: Hugging Face transformers, tokenization_utils_base.py (4.36). As there,
 * special_tokens_map.json wins over tokenizer_config.json unless that has an
 * added_tokens_decoder. */
#ifndef CDCCA_TOKENIZER_SETTINGS_H
#define CDCCA_TOKENIZER_SETTINGS_H

#include "api/base/io.h"
#include "api/wire/json.h"
#include "model/mllm/added_tokens.h"

enum tokenizer_role {
    ROLE_BOS,
    ROLE_EOS,
    ROLE_UNK,
    ROLE_SEP,
    ROLE_PAD,
    ROLE_CLS,
    ROLE_MASK,
    ROLES
};

struct tokenizer_settings {
    char class[64];         /* tokenizer_class, "" when absent */
    char role[ROLES][256];  /* contents, "" when absent */
    bool add_bos, add_eos;  /* true, false when absent: LLaMA's */
    bool legacy;            /* LLaMA: a blank also in front of a text behind a special token */
    bool lower, ideographs; /* BERT: do_lower_case, tokenize_chinese_chars; true when absent */
    int strip_accents;      /* BERT: 1, 0, or -1: as `lower` */
    struct added_tokens added;
};

/* Of the folder; *out is owned (tokenizer_settings_free), also after a failure. */
enum status tokenizer_settings_load(struct io *io, const char *dir, struct tokenizer_settings *out,
                                    struct err *err);
void tokenizer_settings_free(struct tokenizer_settings *settings);
/* Gives a role that the files leave open its content, and makes its token a special one; NULL and
 * "": none. */
enum status tokenizer_settings_role(struct tokenizer_settings *settings, enum tokenizer_role role,
                                    const char *content, struct err *err);
/* LlamaTokenizer, LlamaTokenizerFast, CodeLlamaTokenizer .. */
bool tokenizer_settings_is_llama(const struct tokenizer_settings *settings);
/* BertTokenizer, DistilBertTokenizerFast .. */
bool tokenizer_settings_is_bert(const struct tokenizer_settings *settings);
/* One {"content", "id", "special", "lstrip", "rstrip", "single_word"} object. */
enum status added_token_read(const json *object, struct added_token *out, struct err *err);

#endif
