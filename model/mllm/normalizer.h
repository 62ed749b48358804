/* What happens to a text before it is cut into words: a list of steps, each from one text to the
 * next. Tokenizer files name them (Hugging Face's normalizers, SentencePiece's normalizer_spec,
 * BERT's basic tokenizer). Internal to model/mllm. */
#ifndef CDCCA_NORMALIZER_H
#define CDCCA_NORMALIZER_H

#include "api/base/buf.h"
#include "model/mllm/charsmap.h"
#include <stdbool.h>

enum normalizer_kind {
    NORMALIZER_NFC,
    NORMALIZER_NFD,
    NORMALIZER_NFKC,
    NORMALIZER_NFKD,
    NORMALIZER_LOWER,
    NORMALIZER_DROP_MARKS,  /* nonspacing marks; after NFD these are the accents */
    NORMALIZER_CLEAN,       /* BERT: control characters dropped, white space becomes a blank */
    NORMALIZER_IDEOGRAPHS,  /* BERT: blanks around each */
    NORMALIZER_STRIP,       /* white space at the start (from), at the end (to) */
    NORMALIZER_PREPEND,     /* `to`, unless the text is empty */
    NORMALIZER_PREFIX,      /* `to`, unless the text is empty or starts with it */
    NORMALIZER_REPLACE,     /* each `from` by `to` */
    NORMALIZER_CHARSMAP,    /* SentencePiece's replacements */
    NORMALIZER_TIDY_BLANKS, /* SentencePiece: none at the ends, one between words */
};

enum { NORMALIZER_STEPS = 16, NORMALIZER_TEXT = 16 };

struct normalizer {
    struct normalizer_step {
        enum normalizer_kind kind;
        char from[NORMALIZER_TEXT], to[NORMALIZER_TEXT];
        bool first_only; /* at the start of the whole text alone: not behind a special token */
    } step[NORMALIZER_STEPS];
    int count;
    struct charsmap map; /* of NORMALIZER_CHARSMAP */
};

/* One more step; from and to may be NULL. STATUS_UNSUPPORTED when a string is too long for a step
 * or the steps are too many. */
enum status normalizer_add(struct normalizer *n, enum normalizer_kind kind, const char *from,
                           const char *to, struct err *err);
/* Do `PREPEND` or `PREFIX` put something in front of a text? */
bool normalizer_prefixes(const struct normalizer *n);
void normalizer_free(struct normalizer *n);
/* Replaces the contents of *out; text is UTF-8. first: nothing comes before it. */
enum status normalizer_run(const struct normalizer *n, const char *text, size_t len, bool first,
                           struct buf *out, struct err *err);

#endif
