/* RFC 9457 problem documents from a struct err, and the kinds of problems there are. A `type` is a
 * relative reference to the page that the service has about its kind. */
#ifndef CDCCA_PROBLEM_H
#define CDCCA_PROBLEM_H

#include "api/base/buf.h"
#include "api/base/status.h"

#define PROBLEM_BASE "/problems/"

struct problem_kind {
    enum status code;     /* status_name(code) ends the type */
    const char *statuses; /* HTTP's: "429, 503" */
    const char *means;
    const char *right; /* what would be right, or what to do */
};
/* By HTTP status; ends with code STATUS_OK. tests/unit/test_problem.c holds the contract and the
 * README against it. */
extern const struct problem_kind problem_kinds[];
/* NULL: there is no kind of that name. */
const struct problem_kind *problem_kind_find(const char *name);

/* {"type": "/problems/<status name>", "title", "status", "detail", "request_id"}; request_id may be
 * NULL. A status that is no kind of its own has the type "about:blank". */
enum status problem_write(const struct err *err, int http_status, const char *request_id,
                          struct buf *out);

#endif
