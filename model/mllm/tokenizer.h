/* Text to ids and back, from tokenizer.json (byte-level BPE with its pre-tokenizer; PCRE2). Also
 * trains one: the built-in world's vocabulary is a small real BPE. Immutable once loaded. */
#ifndef CDCCA_TOKENIZER_H
#define CDCCA_TOKENIZER_H

#include "api/base/buf.h"
#include "api/base/io.h"
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

enum status tokenizer_load(struct io *io, const char *dir, struct tokenizer **out, struct err *err);
/* Shared by counting: one more owner; tokenizer_destroy drops one (NULL is fine). */
struct tokenizer *tokenizer_retain(struct tokenizer *tokenizer);
/* Counted: destroy frees with the last reference. NULL is fine in both. Returns its argument. */
struct tokenizer *tokenizer_retain(struct tokenizer *tokenizer);
void tokenizer_destroy(struct tokenizer *tokenizer);
int tokenizer_vocab(const struct tokenizer *tokenizer);
/* Id of a whole token ("</s>"), or -1. */
int tokenizer_id(const struct tokenizer *tokenizer, const char *token);
/* At most max ids; STATUS_TOO_LARGE beyond. Special tokens in the text are not special. Linear
 * time. */
enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t len,
                             int32_t *ids, size_t max, size_t *count, struct err *err);
/* Appends; special tokens and ids that no token has (a model's vocabulary may be padded) are left
 * out; result NUL-terminated (not counted). */
enum status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                             struct buf *out);
/* Byte-level BPE over the texts (NUL-terminated strings) to vocab entries, the specials first;
 * writes DIR/tokenizer.json. Deterministic. */
enum status tokenizer_train(struct io *io, const char *dir, const char *const *texts, size_t count,
                            int vocab, const char *const *specials, int special_count,
                            struct err *err);

#endif
