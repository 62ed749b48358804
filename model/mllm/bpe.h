/* Byte-pair encoding, the parts that its kinds and training share: cutting a text into words by a
 * regular expression (GPT-2's, or a file's own), the byte <-> printable character map of
 * tokenizer.json, and merging. Internal to model/mllm.
 *
 * Reference: GPT-2's encoder.py (Radford et al. 2019); Sennrich et al., arXiv 1508.07909. */
#ifndef CDCCA_BPE_H
#define CDCCA_BPE_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- words: what merges never cross ---- */

/* GPT-2's words */
extern const char BPE_GPT2_WORDS[];

struct bpe_words;
/* From a regular expression (PCRE2, Unicode classes); STATUS_MALFORMED when it is none. */
enum status bpe_words_create(const char *pattern, struct bpe_words **out, struct err *err);
void bpe_words_destroy(struct bpe_words *words);
/* Calls fn for each match in a UTF-8 text and for each stretch between two matches, in order: the
 * words cover the text. Stops at fn's first failure. STATUS_MALFORMED when the text is not UTF-8,
 * STATUS_TOO_LARGE when the expression takes more steps than PCRE2 allows. Thread-safe. */
enum status bpe_words_each(const struct bpe_words *words, const char *text, size_t len,
                           enum status (*fn)(void *ctx, const char *word, size_t len), void *ctx,
                           struct err *err);

/* ---- characters: each byte as one printable character, as in tokenizer.json ---- */

/* Appends the UTF-8 form of the bytes' characters. */
enum status bpe_print_bytes(const uint8_t *bytes, size_t len, struct buf *out);
/* The way back; STATUS_MALFORMED when a character stands for no byte. */
enum status bpe_parse_bytes(const char *text, size_t len, struct buf *out);

/* ---- merges: (left id, right id) -> merged id, with a rank ---- */

struct bpe_merges {
    struct bpe_merge {
        int32_t left, right, merged, rank; /* left < 0: free */
    } * slot;
    size_t mask; /* slots - 1 */
};
bool bpe_merges_init(struct bpe_merges *merges, size_t count);
void bpe_merges_free(struct bpe_merges *merges);
/* False when the pair is there already. */
bool bpe_merges_add(struct bpe_merges *merges, int32_t left, int32_t right, int32_t merged,
                    int32_t rank);
const struct bpe_merge *bpe_merges_find(const struct bpe_merges *merges, int32_t left,
                                        int32_t right);
/* Merges the n ids of one word in place, lowest rank first, leftmost first among equals; *count is
 * how many are left. O(n log n). */
enum status bpe_merge_word(const struct bpe_merges *merges, int32_t *ids, size_t n, size_t *count);

#endif
