/* The text of ids that come one at a time: after each id, the bytes that may be shown now. They are
 * whole characters; what could still become a stop string, or a character, waits. */
#ifndef CDCCA_PIECES_H
#define CDCCA_PIECES_H

#include "model/mllm/tokenizer.h"

struct pieces {
    const struct tokenizer *tokenizer;
    const char *const *stop; /* borrowed; none of them empty */
    int stop_count;
    int32_t *ids; /* so far; room for max */
    int count, max;
    struct buf decoded; /* all ids so far */
    struct buf text;    /* what was given out: valid UTF-8, as if NUL-terminated */
    bool stopped;       /* a stop string came; the text ends before it */
};

/* tokenizer NULL: every piece is empty. STATUS_USAGE for an empty stop string. */
enum status pieces_init(struct pieces *p, const struct tokenizer *tokenizer,
                        const char *const *stop, int stop_count, int max, struct err *err);
void pieces_free(struct pieces *p);
/* One more id: the piece begins in p->text at *from and goes to its end. */
enum status pieces_add(struct pieces *p, int32_t id, size_t *from, struct err *err);
/* No more ids: what waited comes out, bytes that make no character as '?'. */
enum status pieces_end(struct pieces *p, size_t *from, struct err *err);

#endif
