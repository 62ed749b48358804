/* Text to ids and back. A tokenizer is loaded from the files that Hugging Face models come with:
 *
 *   tokenizer.json   byte-level BPE (GPT-2, Llama 3), BPE with byte fallback (LLaMA), WordPiece
 *   tokenizer.model  SentencePiece: BPE or unigram, as LlamaTokenizer uses it
 *   vocab.txt        WordPiece, as BertTokenizer uses it
 *
 * the first of them that is there, with tokenizer_config.json, special_tokens_map.json and
 * added_tokens.json beside it. What a file asks for and is not supported is refused by name. Also
 * trains one: the built-in world's vocabulary is a small real BPE. Immutable once loaded.
 *
 * Special tokens (<s>, [CLS]) in a text are just text, unless the caller says otherwise: a
 * question is not to end a prompt by writing </s>. */
#ifndef CDCCA_TOKENIZER_H
#define CDCCA_TOKENIZER_H

#include "api/base/buf.h"
#include "api/base/io.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* The file of the folder that tokenizer_load would read into path; false when there is none. */
bool tokenizer_find(const char *dir, char *path, size_t size);
enum status tokenizer_load(struct io *io, const char *dir, struct tokenizer **out, struct err *err);
/* Shared by counting: one more owner; tokenizer_destroy drops one (NULL is fine in both). Returns
 * its argument. */
struct tokenizer *tokenizer_retain(struct tokenizer *tokenizer);
void tokenizer_destroy(struct tokenizer *tokenizer);
/* Ids are below this. */
int tokenizer_vocab(const struct tokenizer *tokenizer);
/* Id of a whole token ("</s>"), or -1. */
int tokenizer_id(const struct tokenizer *tokenizer, const char *token);
/* A token's text as the file has it ("##ing"; raw bytes for byte-level BPE), borrowed; NULL
 * when no token has the id. */
const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id, size_t *len);
/* Do the files say what goes around a text (LLaMA: BOS; BERT: [CLS] and [SEP])? If so,
 * TOKENIZER_WRAP is all it takes; if not, the model's config may know. */
bool tokenizer_wraps(const struct tokenizer *tokenizer);
/* Does encoding put a blank in front of a text itself (SentencePiece)? */
bool tokenizer_adds_blank(const struct tokenizer *tokenizer);

/* ---- encoding: at most max ids, STATUS_TOO_LARGE beyond; STATUS_MALFORMED when the text is not
 * UTF-8. O(n log n) in the text's bytes at most, whatever the text. ---- */

enum tokenizer_how {
    TOKENIZER_SPECIALS = 1, /* special tokens in the text are special */
    TOKENIZER_WRAP = 2,     /* with what goes around a text */
};

/* The text alone. */
enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t len,
                             int32_t *ids, size_t max, size_t *count, struct err *err);

struct tokenizer_text {
    const char *text;
    size_t len;
    size_t plain_from, plain_to; /* special tokens that touch these bytes are text all the same */
};
/* how: of enum tokenizer_how. */
enum status tokenizer_encode_as(const struct tokenizer *tokenizer,
                                const struct tokenizer_text *text, unsigned how, int32_t *ids,
                                size_t max, size_t *count, struct err *err);
/* Two texts with what goes around a pair; types: (max) token_type_ids. STATUS_UNSUPPORTED when the
 * files do not say how. */
enum status tokenizer_encode_pair(const struct tokenizer *tokenizer,
                                  const struct tokenizer_text *first,
                                  const struct tokenizer_text *second, unsigned how, int32_t *ids,
                                  int32_t *types, size_t max, size_t *count, struct err *err);

/* ---- decoding ---- */

/* Appends; special tokens and ids that no token has (a model's vocabulary may be padded) are left
 * out, bytes that make no character become U+FFFD for SentencePiece; result NUL-terminated (not
 * counted). The inverse of encoding but for WordPiece, whose words have lost case, accents and
 * blanks. */
enum status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                             struct buf *out);

/* ---- training ---- */

/* Byte-level BPE over the texts (NUL-terminated strings) to vocab entries, the specials first;
 * writes DIR/tokenizer.json. Deterministic. */
enum status tokenizer_train(struct io *io, const char *dir, const char *const *texts, size_t count,
                            int vocab, const char *const *specials, int special_count,
                            struct err *err);

#endif
