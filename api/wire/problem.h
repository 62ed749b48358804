/* RFC 9457 problem documents from a struct err. */
#ifndef CDCCA_PROBLEM_H
#define CDCCA_PROBLEM_H

#include "api/base/buf.h"
#include "api/base/status.h"

/* {"type": "https://cdcca.dev/problems/<status name>", "title", "status", "detail", "request_id"};
 * request_id may be NULL. */
enum status problem_write(const struct err *err, int http_status, const char *request_id,
                          struct buf *out);

#endif
