/* The detail is the error's own sentence; type and title come from the status table. */
#include "api/wire/problem.h"
#include "api/base/utf8.h"
#include "api/wire/json.h"
#include <stdio.h>
#include <string.h>

enum status problem_write(const struct err *err, int http_status, const char *request_id,
                          struct buf *out)
{
    const char *name = status_name(err->code);
    char type[96], title[64], detail[sizeof err->text];
    snprintf(type, sizeof type, "https://cdcca.dev/problems/%s", name);
    snprintf(title, sizeof title, "%s", name);
    for (char *p = title; (p = strchr(p, '_')) != NULL;)
        *p = ' ';
    snprintf(detail, sizeof detail, "%s", err->text);
    utf8_clean(detail); /* it may quote what a peer sent */
    json *problem = json_object_new();
    bool fine = json_set_string(problem, "type", type) &&
                json_set_string(problem, "title", title) &&
                json_set_int(problem, "status", http_status) &&
                json_set_string(problem, "detail", detail) &&
                (!request_id || json_set_string(problem, "request_id", request_id));
    enum status status = fine ? json_print(problem, false, out) : STATUS_NO_MEMORY;
    json_free(problem);
    return status;
}
