/* WordPiece: a word becomes the longest token at its front, then the longest "##" token behind it,
 * and so on; a word that cannot be cut so becomes [UNK] as a whole. With BERT's rule for words:
 * white space separates, each punctuation mark stands alone. Internal to model/mllm.
 *
 * Reference: BERT's tokenization.py; Hugging Face's BertTokenizer. */
#ifndef CDCCA_WORDPIECE_H
#define CDCCA_WORDPIECE_H

#include "model/mllm/trie.h"
#include "model/mllm/vocab.h"

enum { WORDPIECE_WORD = 100 };

struct wordpiece {
    struct trie front, inner; /* inner: without the "##" */
    int32_t unknown;
    int longest; /* characters of a word; longer ones are unknown */
};

/* From the normal tokens of the vocabulary. */
enum status wordpiece_init(struct wordpiece *wordpiece, const struct vocab *vocab,
                           const char *inner_prefix, int32_t unknown, int longest, struct err *err);
void wordpiece_free(struct wordpiece *wordpiece);
/* Appends the ids of one word (UTF-8). Linear in the word, times the longest token. */
enum status wordpiece_encode(const struct wordpiece *wordpiece, const char *word, size_t len,
                             struct ids *out);
/* Calls fn for each of BERT's words of a normalised text, in order; stops at its first failure. */
enum status wordpiece_words_each(const char *text, size_t len,
                                 enum status (*fn)(void *ctx, const char *word, size_t len),
                                 void *ctx);

#endif
