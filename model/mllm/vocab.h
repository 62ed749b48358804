/* The tokens of a tokenizer: id -> bytes and kind, bytes -> id. Ids may have holes (a model's
 * vocabulary may be padded); no id and no token is there twice. Internal to model/mllm. */
#ifndef CDCCA_VOCAB_H
#define CDCCA_VOCAB_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VOCAB_IDS = 1 << 20, VOCAB_TOKEN_BYTES = 1024 };

enum token_kind {
    TOKEN_ABSENT, /* a hole */
    TOKEN_NORMAL,
    TOKEN_USER,    /* a user-defined symbol: found in a text before anything else */
    TOKEN_BYTE,    /* <0x0A>: one byte of a character that has no token */
    TOKEN_UNKNOWN, /* stands for what has no token */
    TOKEN_CONTROL, /* <s>, [CLS]: never made from text, unless asked for */
};

struct token {
    size_t at; /* into vocab.bytes */
    uint32_t len;
    enum token_kind kind;
    uint8_t byte; /* of TOKEN_BYTE */
};

struct vocab {
    struct token *tokens;
    int count; /* ids are 0 .. count - 1 */
    struct buf bytes;
    int32_t *index; /* bytes -> id: open addressing, -1 free */
    size_t index_mask;
    int32_t byte_id[256]; /* of TOKEN_BYTE, or -1 */
};

/* Room for the ids 0 .. count - 1, all of them holes. */
enum status vocab_init(struct vocab *vocab, int count, struct err *err);
void vocab_free(struct vocab *vocab);
/* STATUS_CONFLICT when the id or the bytes are there already, STATUS_MALFORMED when the id is out
 * of range or the token is empty or longer than VOCAB_TOKEN_BYTES. */
enum status vocab_add(struct vocab *vocab, int64_t id, const void *bytes, size_t len,
                      enum token_kind kind, struct err *err);
/* Id of a token, -1 without one. */
int32_t vocab_find(const struct vocab *vocab, const void *bytes, size_t len);
/* NULL for a hole and outside. */
const struct token *vocab_get(const struct vocab *vocab, int64_t id);
static inline const char *vocab_text(const struct vocab *vocab, const struct token *token)
{
    return (const char *)vocab->bytes.data + token->at;
}
/* Largest id that a token has, + 1. */
int vocab_end(const struct vocab *vocab);
/* Makes each token named <0x00> .. <0xFF> a TOKEN_BYTE; STATUS_MALFORMED unless all 256 are
 * there. */
enum status vocab_mark_bytes(struct vocab *vocab, struct err *err);

/* ---- where encoders put their ids ---- */

struct ids {
    int32_t *at; /* borrowed */
    size_t count, max;
};

/* STATUS_TOO_LARGE when it is full. */
static inline enum status ids_put(struct ids *ids, int32_t id)
{
    if (ids->count == ids->max)
        return STATUS_TOO_LARGE;
    ids->at[ids->count++] = id;
    return STATUS_OK;
}

#endif
