/* The unigram language model: of all ways to cut a text into tokens, the one whose scores (log
 * probabilities) add up to most. Internal to model/mllm.
 *
 * Reference: Kudo, arXiv 1804.10959; SentencePiece's unigram_model.cc (EncodeOptimized). */
#ifndef CDCCA_UNIGRAM_H
#define CDCCA_UNIGRAM_H

#include "model/mllm/trie.h"
#include "model/mllm/vocab.h"

struct unigram {
    const struct vocab *vocab; /* borrowed */
    struct trie pieces;        /* normal and user-defined tokens */
    float *score;              /* per id */
    float lowest, highest;     /* of the normal tokens */
    bool bytes;                /* byte fallback */
    int32_t unknown;
};

void unigram_free(struct unigram *unigram);
/* Appends the ids of a UTF-8 text; a run of unknown characters is one unknown token, or bytes.
 * Linear in the text, times the longest token. */
enum status unigram_encode(const struct unigram *unigram, const char *text, size_t len,
                           struct ids *out);

#endif
