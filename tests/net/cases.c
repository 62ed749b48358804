/* Requests as data, over real sockets: net_cases PORT [NAME=VALUE ...] FOLDER ...
 *
 * Each folder holds `request`, the bytes to send, and `expect`, whose first line is
 *   STATUS ... [TEXT]     the statuses of all answers, in order, and a text in the last of them
 * after which the service must close the connection by itself. A second line `cut` has the request
 * also sent up to each of its bytes, and no more: nothing or a refusal, never a 2xx or a 5xx (but
 * for the last one: a lone CR ends a line, too). A second line `shorten` has the body also sent
 * shorter by one byte, two, and so on, as a whole request each: always a 4xx.
 *
 * In a request @NAME@ is the argument's VALUE, @LENGTH@ the bytes behind the first empty line, and
 * @x*N@ N times the letter x; what else stands between two @ stays. */
#include "api/base/io.h"
#include "peer.h"
#include <ctype.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REQUEST_MAX = 32 << 20,
    ANSWER_MAX = 1 << 20,
    NAMES_MAX = 8,
    APART_MS = 1,
    CUT_MS = 200,
    PATIENCE_MS = 20000
};

struct cases {
    int port, failed, run, cuts;
    const char *name[NAMES_MAX]; /* "ENCODER=..." */
    int names;
    char answer[ANSWER_MAX];
};

struct expected {
    int status[8], count;
    char text[256];
    bool cut, shorten;
};

/* ---- reading a case ---- */

static bool file_read(const char *folder, const char *name, struct buf *out)
{
    char path[PATH_MAX];
    struct err err = {0};
    out->max = REQUEST_MAX;
    if (io_join(path, sizeof path, folder, name, &err) == STATUS_OK &&
        io_read_file(io_posix(), path, out, &err) == STATUS_OK &&
        buf_append(out, "", 1) == STATUS_OK) {
        out->len--;
        return true;
    }
    fprintf(stderr, "%s\n", err.text);
    return false;
}

static void expected_read(const char *text, struct expected *out)
{
    *out = (struct expected){0};
    while (isdigit((unsigned char)*text) && out->count < 8) {
        out->status[out->count++] = atoi(text);
        text += strspn(text, "0123456789");
        text += *text == ' ';
    }
    size_t len = strcspn(text, "\n");
    snprintf(out->text, sizeof out->text, "%.*s", (int)len, text);
    out->cut = strncmp(text + len, "\ncut", 4) == 0;
    out->shorten = strncmp(text + len, "\nshorten", 8) == 0;
}

/* The value of what stands between two @ as a string to repeat; false: it is nothing of ours. */
static bool placeholder(const struct cases *cases, const char *name, size_t len, const char **value,
                        size_t *value_len, size_t *times)
{
    *times = 1;
    if (len > 2 && name[1] == '*') {
        *value = name;
        *value_len = 1;
        *times = strtoul(name + 2, NULL, 10);
        return true;
    }
    for (int i = 0; i < cases->names; i++)
        if (strncmp(cases->name[i], name, len) == 0 && cases->name[i][len] == '=') {
            *value = cases->name[i] + len + 1;
            *value_len = strlen(*value);
            return true;
        }
    return false;
}

static void expand(const struct cases *cases, const struct buf *in, struct buf *out)
{
    const char *at = (const char *)in->data, *end = at + in->len;
    while (at < end) {
        const char *second = *at == '@' ? memchr(at + 1, '@', (size_t)(end - at - 1)) : NULL;
        const char *value = at;
        size_t len = 1, times = 1;
        if (second && placeholder(cases, at + 1, (size_t)(second - at - 1), &value, &len, &times))
            at = second;
        while (times-- > 0)
            buf_append(out, value, len);
        at++;
    }
}

/* @LENGTH@ comes last: the body must be complete by then. */
static void length_fill(struct buf *request)
{
    static const char mark[] = "@LENGTH@";
    char digits[24];
    unsigned char *at = memmem(request->data, request->len, mark, strlen(mark));
    unsigned char *blank = memmem(request->data, request->len, "\r\n\r\n", 4);
    if (!at || !blank || at > blank)
        return;
    unsigned char *end = request->data + request->len, *rest = at + strlen(mark);
    int n = snprintf(digits, sizeof digits, "%zu", (size_t)(end - blank) - 4);
    memcpy(at, digits, (size_t)n);
    memmove(at + n, rest, (size_t)(end - rest));
    request->len -= strlen(mark) - (size_t)n;
}

/* ---- running one ---- */

static long converse(struct cases *cases, const struct buf *request, size_t len, bool half_close)
{
    int fd = peer_open(cases->port, NULL, 0);
    peer_send(fd, request->data, len);
    if (half_close) {
        poll(NULL, 0, APART_MS);
        shutdown(fd, SHUT_WR);
    }
    long got =
        peer_read(fd, cases->answer, sizeof cases->answer, half_close ? CUT_MS : PATIENCE_MS);
    close(fd);
    return got;
}

static bool answers_fit(const struct cases *cases, long got, const struct buf *request,
                        const struct expected *expected)
{
    const char *at = cases->answer, *end = at + (got > 0 ? got : 0);
    bool bodiless = strncmp((const char *)request->data, "HEAD ", 5) == 0;
    struct answer answer = {0};
    for (int i = 0; i < expected->count; i++)
        if (!answer_take(&at, end, bodiless, &answer) || answer.status != expected->status[i])
            return false;
    if (at < end && answer_has(&answer, "Connection: close"))
        at = strstr(at, "HTTP/1.") ? at : end; /* libmicrohttpd's own refusals end in such a tail */
    return got >= 0 && at == end && (!expected->text[0] || strstr(cases->answer, expected->text));
}

/* Silence is fine here: of an end that comes together with data libmicrohttpd hears nothing, and
 * the deadline ends the connection. */
static bool cuts_fit(struct cases *cases, const struct buf *request)
{
    for (size_t len = 0; len + 1 < request->len; len++, cases->cuts++) {
        struct answer answer;
        long got = converse(cases, request, len, true);
        const char *at = cases->answer, *end = at + (got > 0 ? got : 0);
        while (answer_take(&at, end, false, &answer))
            if (answer.status / 100 == 2 || answer.status / 100 == 5)
                return false;
        if (at != end)
            return false;
    }
    return true;
}

/* request: expanded, its @LENGTH@ still to be filled in. */
static bool shortened_fit(struct cases *cases, const struct buf *request)
{
    const unsigned char *body = memmem(request->data, request->len, "\r\n\r\n", 4);
    size_t head = (size_t)(body + 4 - request->data);
    bool fit = true;
    for (size_t len = head; len < request->len && fit; len++, cases->cuts++) {
        struct buf copy = {.max = REQUEST_MAX};
        struct answer answer;
        buf_append(&copy, request->data, len);
        length_fill(&copy);
        long got = converse(cases, &copy, copy.len, false);
        const char *at = cases->answer;
        fit = got > 0 && answer_take(&at, at + got, false, &answer) && answer.status / 100 == 4;
        buf_free(&copy);
    }
    return fit;
}

static void case_report(struct cases *cases, const char *folder, long got, const char *where)
{
    cases->failed++;
    printf("FAILED %s%s: %s\n%s\n", folder, where,
           got < 0 ? "the service neither answered nor closed" : "it answered",
           got < 0 ? "" : cases->answer);
}

static void case_run(struct cases *cases, const char *folder)
{
    struct buf raw = {0}, text = {0}, request = {.max = REQUEST_MAX};
    struct expected expected;
    cases->run++;
    if (!file_read(folder, "request", &raw) || !file_read(folder, "expect", &text)) {
        cases->failed++;
    } else {
        expected_read((const char *)text.data, &expected);
        expand(cases, &raw, &request);
        bool shortened = !expected.shorten || shortened_fit(cases, &request);
        length_fill(&request);
        long got = converse(cases, &request, request.len, false);
        if (!answers_fit(cases, got, &request, &expected))
            case_report(cases, folder, got, "");
        else if (!shortened || (expected.cut && !cuts_fit(cases, &request)))
            case_report(cases, folder, 0, ", made shorter");
    }
    buf_free(&raw);
    buf_free(&text);
    buf_free(&request);
}

int main(int argc, char **argv)
{
    static struct cases cases;
    if (argc < 3)
        return fprintf(stderr, "usage: net_cases PORT [NAME=VALUE ...] FOLDER ...\n"), 2;
    cases.port = atoi(argv[1]);
    for (int i = 2; i < argc; i++)
        if (strchr(argv[i], '=') && cases.names < NAMES_MAX)
            cases.name[cases.names++] = argv[i];
        else
            case_run(&cases, argv[i]);
    printf("%d cases and %d cut requests, %d failed\n", cases.run, cases.cuts, cases.failed);
    return cases.failed ? 1 : 0;
}
