/* Conditional and partial requests (RFC 9110, sections 13 and 14) as pure functions over header
 * text: one byte range, strong and weak entity tags. Several ranges at once are answered whole,
 * which the standard allows and which keeps a small request from asking for a lot of work. */
#ifndef CDCCA_RANGE_H
#define CDCCA_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
    RANGE_WHOLE,         /* absent, not "bytes", malformed or several: send everything */
    RANGE_PART,          /* first..last, both within the size */
    RANGE_UNSATISFIABLE, /* well formed, but nothing of it exists: 416 */
};

/* header: the Range field's value or NULL; size: of the whole. */
enum range_kind range_parse(const char *header, uint64_t size, uint64_t *first, uint64_t *last);

/* Does an If-None-Match list ("a", W/"b", or *) name this tag? Weak comparison. etag is quoted. */
bool etag_listed(const char *header, const char *etag);
/* May a Range be honoured? True without If-Range, or when it is exactly this strong tag. */
bool etag_range_allowed(const char *if_range, const char *etag);

#endif
