/* Tokens that are found in a text as they are written, before it is normalised or cut: "<s>",
 * "[SEP]", whatever a file adds to a trained vocabulary. Special ones count only where the caller
 * allows them, others always. Internal to model/mllm.
 *
 * Reference: Hugging Face tokenizers, AddedVocabulary (matching on the text as given; a token that
 * wants the normalised text is refused by whoever reads the file when that could differ). */
#ifndef CDCCA_ADDED_TOKENS_H
#define CDCCA_ADDED_TOKENS_H

#include "model/mllm/trie.h"
#include "model/mllm/vocab.h"

enum { ADDED_TOKENS_MAX = 4096 };

struct added_token {
    char content[256];
    int64_t id; /* -1 in a file that gives none: the next free one */
    bool special;
    bool lstrip, rstrip; /* takes the white space on that side with it */
    bool single_word;    /* not within a word */
    bool normalized;     /* to be found in the normalised text */
};

struct added_tokens {
    struct added_token *list;
    int count, cap;
    struct trie find; /* content -> place in the list */
};

void added_tokens_free(struct added_tokens *added);
/* Appends, or, with the content there already, settles its id and adds its flags.
 * STATUS_CONFLICT: another id than before. */
enum status added_tokens_put(struct added_tokens *added, const struct added_token *token,
                             struct err *err);
/* How many ids a vocabulary of `ids` needs to take them all in. */
int added_tokens_room(const struct added_tokens *added, int ids);
/* Enters them into the vocabulary: what is there already keeps its id (STATUS_CONFLICT when the
 * file gave another), what is new takes its id or the next free one. Marks their kind. The
 * vocabulary is trimmed to what it holds. */
enum status added_tokens_enter(struct added_tokens *added, struct vocab *vocab, struct err *err);
/* Makes added_tokens_find work. */
enum status added_tokens_index(struct added_tokens *added, struct err *err);

struct added_match {
    size_t from, to; /* of the text, with the white space that goes with it */
    int32_t id;
};

/* Where special tokens count as such. */
struct added_scope {
    bool special;
    size_t plain_from, plain_to; /* but not where they touch these bytes */
};

/* The first match at or behind `at`; false when there is none. At one place the longest wins. */
bool added_tokens_find(const struct added_tokens *added, const char *text, size_t len, size_t at,
                       const struct added_scope *scope, struct added_match *out);

#endif
