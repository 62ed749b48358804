/* Header fields whose values this program reads by itself: pure functions of one field's text,
 * which comes from outside. (Range and entity tags are in range.h, targets in target.h.) */
#ifndef CDCCA_FIELD_H
#define CDCCA_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The seconds of `Prefer: wait=N` (RFC 7240), at most max; 0 without one (NULL, too). What is no
 * such preference is ignored, as the RFC wants. */
int64_t field_prefer_wait(const char *value, int64_t max);
/* Idempotency-Key: 1 to max printable characters without blanks. */
bool field_is_key(const char *value, size_t max);
/* X-Request-Id: [A-Za-z0-9._-], 1 to max of them. */
bool field_is_id(const char *value, size_t max);
/* Host: does it name this machine's loopback, localhost, 127.x or [::1], with or without a port? */
bool field_host_is_local(const char *value);

#endif
