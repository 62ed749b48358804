/* A request target ("/deltas?after=3&wait=20") taken apart, strictly. Paths of this service are
 * made of [A-Za-z0-9._@/-] alone, so anything else in one, percent signs included, is refused
 * before it is looked at: there is no decoding that "%00", "%2e%2e" or "//" could profit from. */
#ifndef CDCCA_TARGET_H
#define CDCCA_TARGET_H

#include "api/base/status.h"

enum { TARGET_BYTES = 1024, TARGET_QUERY = 8, TARGET_PARAMS = 2 };

struct target {
    char text[TARGET_BYTES]; /* path and the decoded query strings lie in here */
    const char *path;
    int query_count;
    const char *query_name[TARGET_QUERY], *query_value[TARGET_QUERY];
};

/* STATUS_USAGE (400) says what is wrong with the target; STATUS_TOO_LARGE (414): it is too long. */
enum status target_parse(const char *raw, struct target *out, struct err *err);
/* The value of a query parameter or NULL. */
const char *target_query(const struct target *target, const char *name);

/* Does path match a pattern such as "/deltas/{version}/manifest"? Each {name} takes one non-empty
 * segment, copied into store (bytes long in all) and pointed to by param[0..]. */
_Bool target_match(const char *pattern, const char *path, char *store, unsigned long size,
                   const char *param[TARGET_PARAMS]);

#endif
