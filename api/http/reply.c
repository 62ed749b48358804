/* Filling in answers: JSON, text, problem documents, files with Range and conditions. Nothing here
 * knows the HTTP library. */
#include "api/base/io.h"
#include "api/http/http.h"
#include "api/http/range.h"
#include "api/wire/problem.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPLY_MAX = 32 << 20 }; /* the content of the largest upload */

static void reply_reset(struct http_request *request, int status)
{
    struct http_response *response = &request->response;
    if (response->fd >= 0)
        close(response->fd);
    buf_free(&response->body);
    *response = (struct http_response){.status = status, .fd = -1, .body = {.max = REPLY_MAX}};
}

static void text_copy(char *out, size_t size, const char *text)
{
    size_t len = strnlen(text, size - 1);
    memcpy(out, text, len);
    out[len] = '\0';
}

void http_reply_header(struct http_request *request, const char *name, const char *value)
{
    struct http_response *response = &request->response;
    int i = 0;
    while (i < response->headers && strcmp(response->header[i].name, name) != 0)
        i++;
    if (i == HTTP_HEADERS)
        return;
    struct http_header *header = &response->header[i];
    text_copy(header->name, sizeof header->name, name);
    text_copy(header->value, sizeof header->value, value);
    response->headers += i == response->headers;
}

enum status http_reply_text(struct http_request *request, int status, const char *type,
                            const char *text, struct err *err)
{
    reply_reset(request, status);
    http_reply_header(request, "Content-Type", type);
    if (buf_append(&request->response.body, text, strlen(text)) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

enum status http_reply_bytes(struct http_request *request, const char *type, const void *data,
                             size_t len, const char *etag, struct err *err)
{
    bool known = etag_listed(http_header(request, "If-None-Match"), etag);
    reply_reset(request, known ? 304 : 200);
    http_reply_header(request, "ETag", etag);
    http_reply_header(request, "Cache-Control", "no-cache");
    http_reply_header(request, "Content-Type", type);
    if (!known && buf_append(&request->response.body, data, len) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

/* So that a shell's prompt stands on a line of its own. */
static bool line_end(struct buf *body)
{
    return (body->len && body->data[body->len - 1] == '\n') ||
           buf_append(body, "\n", 1) == STATUS_OK;
}

enum status http_reply_json(struct http_request *request, int status, json *value, struct err *err)
{
    reply_reset(request, status);
    http_reply_header(request, "Content-Type", "application/json");
    http_reply_header(request, "Cache-Control", "no-store");
    struct buf *body = &request->response.body;
    bool printed = value && json_print(value, true, body) == STATUS_OK && line_end(body);
    json_free(value);
    return printed ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* Which seconds to wait, for the statuses that ask a client to come again. */
static const char *retry_after(int status)
{
    return status == 429 || status == 503 ? "1" : status == 507 ? "60" : NULL;
}

/* 413 and 415 are about the body as a whole, and whoever checks that says so itself. What a handler
 * finds unsupported (a schema version) or too large (a field) in a body it took is content: 422. */
static int status_of(enum status code)
{
    return code == STATUS_UNSUPPORTED || code == STATUS_TOO_LARGE ? 422 : status_http(code);
}

/* What was set before a problem and belongs to it. */
static bool header_is_kept(const char *name)
{
    static const char *const kept[] = {"Allow", "Accept-Encoding", "Connection", "Retry-After",
                                       "WWW-Authenticate"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strcmp(kept[i], name) == 0)
            return true;
    return false;
}

void http_reply_problem(struct http_request *request, int status, const struct err *err)
{
    static const struct err unknown = {STATUS_IO, "internal error"};
    const struct err *e = err && err->code != STATUS_OK ? err : &unknown;
    if (!status)
        status = status_of(e->code);
    struct http_header kept[HTTP_HEADERS];
    int kept_count = request->response.headers;
    memcpy(kept, request->response.header, sizeof kept);
    reply_reset(request, status);
    if (retry_after(status))
        http_reply_header(request, "Retry-After", retry_after(status));
    for (int i = 0; i < kept_count; i++)
        if (header_is_kept(kept[i].name))
            http_reply_header(request, kept[i].name, kept[i].value);
    http_problem_writer *write = request->problems ? request->problems : problem_write;
    http_reply_header(request, "Content-Type",
                      request->problems ? "application/json" : "application/problem+json");
    http_reply_header(request, "Cache-Control", "no-store");
    struct buf *body = &request->response.body;
    if (write(e, status, request->id, body) != STATUS_OK || !line_end(body))
        buf_clear(body);
}

static enum status file_open(const char *path, int *fd, uint64_t *size, struct err *err)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat about;
    if (*fd < 0)
        return io_error(err, "open", path, errno);
    if (fstat(*fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(*fd);
        *fd = -1;
        return err_set(err, STATUS_IO, "%s is not a regular file", path);
    }
    *size = (uint64_t)about.st_size;
    return STATUS_OK;
}

static void range_headers(struct http_request *request, enum range_kind kind, uint64_t first,
                          uint64_t last, uint64_t size)
{
    char text[96];
    if (kind == RANGE_PART)
        snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last, size);
    else
        snprintf(text, sizeof text, "bytes */%" PRIu64, size);
    if (kind != RANGE_WHOLE)
        http_reply_header(request, "Content-Range", text);
}

/* What only some may fetch is not for caches that many share. */
static void file_headers(struct http_request *request, const char *type, const char *etag)
{
    http_reply_header(request, "ETag", etag);
    http_reply_header(request, "Cache-Control",
                      request->caller.role ? "private, max-age=31536000, immutable"
                                           : "public, max-age=31536000, immutable");
    http_reply_header(request, "Accept-Ranges", "bytes");
    http_reply_header(request, "Content-Type", type);
}

static enum status range_refuse(struct http_request *request, uint64_t size)
{
    struct err problem;
    err_set(&problem, STATUS_MALFORMED,
            "the file has %" PRIu64 " bytes; nothing of it is in the "
            "range asked for",
            size);
    http_reply_problem(request, 416, &problem);
    range_headers(request, RANGE_UNSATISFIABLE, 0, 0, size);
    return STATUS_OK;
}

enum status http_reply_file(struct http_request *request, const char *path, const char *type,
                            const char *etag, struct err *err)
{
    if (etag_listed(http_header(request, "If-None-Match"), etag)) {
        reply_reset(request, 304);
        file_headers(request, type, etag);
        return STATUS_OK;
    }
    int fd;
    uint64_t size = 0, first = 0, last = 0;
    TRY(file_open(path, &fd, &size, err));
    last = size - 1;
    const char *wanted = strcmp(request->method, "GET") == 0 ? http_header(request, "Range") : NULL;
    enum range_kind kind = RANGE_WHOLE;
    if (etag_range_allowed(http_header(request, "If-Range"), etag))
        kind = range_parse(wanted, size, &first, &last);
    if (kind == RANGE_UNSATISFIABLE) {
        close(fd);
        return range_refuse(request, size);
    }
    reply_reset(request, kind == RANGE_PART ? 206 : 200);
    request->response.fd = fd;
    request->response.first = first;
    request->response.size = last + 1 - first;
    file_headers(request, type, etag);
    range_headers(request, kind, first, last, size);
    return STATUS_OK;
}
