/* The last answers about pictures, with their visual tokens, so that a user's correction, which
 * comes later, finds what it is about. Bounded: the oldest gives way. Not thread-safe. */
#ifndef CDCCA_RECENT_H
#define CDCCA_RECENT_H

#include "client/window.h"

struct recent;

/* tokens, width: of one picture. Holds as many as fit RECENT_BYTES, at least 16, at most 1,024. */
enum { RECENT_BYTES = 64 << 20, RECENT_LEAST = 16, RECENT_MOST = 1024 };
enum status recent_create(int tokens, int width, struct recent **out, struct err *err);
void recent_destroy(struct recent *recent); /* NULL is fine */
int recent_capacity(const struct recent *recent);

/* Where the next answer's tokens go: (tokens, width). The oldest answer is forgotten. */
float *recent_room(struct recent *recent);
/* Adds the answer whose tokens are there. */
void recent_add(struct recent *recent, const struct window_record *record);
/* NULL: unknown, or too long ago. *visual: its tokens. Both are borrowed until recent_room. */
const struct window_record *recent_find(const struct recent *recent, const char *id,
                                        const float **visual);

#endif
