/* The detail is the error's own sentence; type and title come from the status table. */
#include "api/wire/problem.h"
#include "api/base/utf8.h"
#include "api/wire/json.h"
#include <stdio.h>
#include <string.h>

const struct problem_kind problem_kinds[] = {
    {STATUS_USAGE, "400, 405",
     "The request itself is wrong: its target, a query parameter, a header, its method, how its "
     "body is framed.",
     "What the detail says; `GET /` lists the routes, `/docs` what each takes."},
    {STATUS_UNAUTHENTICATED, "401",
     "No token came along, or one that is unknown, expired or revoked.",
     "`Authorization: Bearer TOKEN`. An operator makes tokens (`cdcca-cloud token add`); a device "
     "gets one for a code (`POST /enroll`)."},
    {STATUS_REFUSED, "403",
     "Understood, and not allowed: a role that is not for this, a device that acts for another, a "
     "code or a signature that does not hold.",
     "Another role's token, or what the detail names. Asking again changes nothing."},
    {STATUS_NOT_FOUND, "404", "There is no such thing, or not any more.",
     "An id or a version that a list shows (`GET /tokens`, `/distill`, `/deltas`, `/devices`)."},
    {STATUS_TIMEOUT, "408", "The request came too slowly, or not to its end.",
     "The same again, whole, at 4 KiB/s or more."},
    {STATUS_CONFLICT, "409",
     "It clashes with what is there: other content under the same name, a round that runs, "
     "something in use, nothing new to learn from.",
     "The detail says with what: wait for that, end it, or take another name."},
    {STATUS_TOO_LARGE, "413, 414, 422, 431",
     "Over a limit: of the body (413), the target (414), a field of the body (422), the header "
     "(431).",
     "Less at once; the detail names the limit, the README has a table of all."},
    {STATUS_UNSUPPORTED, "415, 422",
     "Well formed, but not taken here: a content type or encoding (415), a schema version (422).",
     "One that the detail lists."},
    {STATUS_MALFORMED, "416, 422",
     "Something in the body cannot be read, is missing, unknown or out of its range (422); nothing "
     "of the file lies in the range asked for (416).",
     "The detail names the field and what it may be; `/docs` has an example of each body."},
    {STATUS_SHAPE, "422", "Sizes that belong together differ.",
     "As many scales and positions as tokens, as many codes as tokens and width make, offsets from "
     "0 to the tokens."},
    {STATUS_CORRUPT, "422", "A checksum differs: the bytes changed on their way.",
     "The same again, from the source."},
    {STATUS_WRONG_BASE, "422", "It is for another model, encoder or version than those here.",
     "What `GET /model` shows."},
    {STATUS_BUSY, "429, 503",
     "A quota is used up (429); or too much goes on at once, or the service stops (503).",
     "The same again after `Retry-After` seconds."},
    {STATUS_IO, "500", "The service could not read or write its own data.",
     "Nothing that a client can do; the log has the reason beside the `request_id`."},
    {STATUS_NO_MEMORY, "503", "There is no memory for it right now.",
     "The same again after `Retry-After` seconds."},
    {STATUS_DISK_FULL, "507", "There is no room on the disk; nothing was stored or acknowledged.",
     "The same again once an operator has made room."},
    {STATUS_OK, NULL, NULL, NULL},
};

const struct problem_kind *problem_kind_find(const char *name)
{
    for (const struct problem_kind *kind = problem_kinds; kind->code != STATUS_OK; kind++)
        if (strcmp(status_name(kind->code), name) == 0)
            return kind;
    return NULL;
}

enum status problem_write(const struct err *err, int http_status, const char *request_id,
                          struct buf *out)
{
    const char *name = status_name(err->code);
    char type[96] = "about:blank", title[64], detail[sizeof err->text];
    if (problem_kind_find(name))
        snprintf(type, sizeof type, PROBLEM_BASE "%s", name);
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
