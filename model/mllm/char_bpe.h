/* BPE over characters, as LLaMA has it: a text becomes characters, the pair of the lowest rank is
 * merged again and again, and what has no token in the end becomes bytes or the unknown token.
 * Internal to model/mllm.
 *
 * A character without a token is carried as vocab.count + its code point, so that it can still be
 * part of a longer token.
 *
 * Reference: SentencePiece's bpe_model.cc; Hugging Face tokenizers, models/bpe. */
#ifndef CDCCA_CHAR_BPE_H
#define CDCCA_CHAR_BPE_H

#include "model/mllm/bpe.h"
#include "model/mllm/trie.h"
#include "model/mllm/vocab.h"

struct char_bpe {
    const struct vocab *vocab; /* borrowed */
    struct bpe_merges merges;
    struct trie user;  /* user-defined symbols: never merged */
    bool bytes;        /* byte fallback */
    bool fuse_unknown; /* a run of unknown characters is one unknown token */
    int32_t unknown;   /* -1: none; then a text with such a character is refused */
};

void char_bpe_free(struct char_bpe *bpe);
/* The symbol for a string: the token, or the character without one; -1 otherwise. */
int32_t char_bpe_symbol(const struct char_bpe *bpe, const char *text, size_t len);
/* Appends the ids of a UTF-8 text. O(n log n). STATUS_UNSUPPORTED: a character has no token and
 * there is nothing to fall back on. */
enum status char_bpe_encode(const struct char_bpe *bpe, const char *text, size_t len,
                            struct ids *out);

/* ---- what every model with characters shares ---- */

/* Appends a character that has no token: its bytes' tokens, or `unknown` (once for a run, with
 * fuse and *run true; *run is set). */
enum status char_bpe_fallback(const struct vocab *vocab, bool bytes, int32_t unknown, bool fuse,
                              uint32_t c, bool *run, struct ids *out);

#endif
