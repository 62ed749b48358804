/* See curl.h. All of a request goes to curl's configuration on its standard input, so that neither
 * token nor body is on a command line for others to see. */
#include "server/curl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CURL_CONFIG_MAX = 256 << 10, CURL_NOT_FOUND = 127, CURL_HTTP_ERROR = 22 };

/* name = "value", with what curl's syntax needs escaped. */
static enum status setting(struct buf *out, const char *name, const char *value)
{
    TRY(buf_printf(out, "%s = \"", name));
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            TRY(buf_append(out, "\\", 1));
        TRY(buf_append(out, value, 1));
    }
    return buf_append(out, "\"\n", 2);
}

static enum status config_write(const char *method, const char *url, const char *body,
                                struct buf *out)
{
    char header[4200];
    const char *token = getenv("CDCCA_TOKEN");
    TRY(buf_printf(out,
                   "silent\nshow-error\nfail-with-body\nmax-time = 60\nproto = \"=http,https\"\n"));
    TRY(setting(out, "request", method));
    TRY(setting(out, "url", url));
    if (token && *token) {
        snprintf(header, sizeof header, "Authorization: Bearer %.4096s", token);
        TRY(setting(out, "header", header));
    }
    if (!body)
        return STATUS_OK;
    TRY(setting(out, "header", "Content-Type: application/json"));
    return setting(out, "data-raw", body);
}

/* In the child: only calls that are safe between fork and exec. */
static void curl_exec(int in, int out)
{
    static char name[] = "curl", quiet[] = "-q", config[] = "-K", dash[] = "-";
    char *const argv[] = {name, quiet, config, dash, NULL};
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
        execvp(name, argv);
    _exit(CURL_NOT_FOUND);
}

static enum status pipes_run(int in[2], int out[2], const struct buf *config, struct buf *answer,
                             int *code)
{
    pid_t child = fork();
    if (child < 0)
        return STATUS_NO_MEMORY;
    if (child == 0)
        curl_exec(in[0], out[1]);
    close(in[0]);
    close(out[1]);
    in[0] = out[1] = -1;
    enum status status = STATUS_OK;
    for (size_t at = 0; at < config->len;) {
        ssize_t put = write(in[1], config->data + at, config->len - at);
        if (put < 0 && errno != EINTR)
            break; /* it ended early, and its exit status says why */
        at += put > 0 ? (size_t)put : 0;
    }
    close(in[1]);
    in[1] = -1;
    char piece[4096];
    for (ssize_t got; (got = read(out[0], piece, sizeof piece)) != 0;)
        if (got > 0 && status == STATUS_OK)
            status = buf_append(answer, piece, (size_t)got);
        else if (got < 0 && errno != EINTR)
            break;
    int how = 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR)
        ;
    *code = WIFEXITED(how) ? WEXITSTATUS(how) : -1;
    return status;
}

static void pipe_close(int ends[2])
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

static enum status curl_run(const struct buf *config, struct buf *answer, int *code)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    enum status status = STATUS_IO;
    if (pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0)
        status = pipes_run(in, out, config, answer, code);
    pipe_close(in);
    pipe_close(out);
    return status;
}

enum status curl_request(const char *method, const char *url, const char *body, struct buf *out,
                         struct err *err)
{
    struct buf config = {.max = CURL_CONFIG_MAX};
    int code = -1;
    enum status status = config_write(method, url, body, &config);
    if (status == STATUS_OK)
        status = curl_run(&config, out, &code);
    buf_free(&config);
    if (status != STATUS_OK)
        return err_set(err, status, "%s %s: no room for the request or its answer", method, url);
    if (code == 0)
        return STATUS_OK;
    if (code == CURL_HTTP_ERROR)
        return err_set(err, STATUS_PEER, "%s %s: %.300s", method, url,
                       out->len ? (const char *)out->data : "refused");
    return err_set(err, STATUS_UNREACHABLE, "%s %s: %s", method, url,
                   code == CURL_NOT_FOUND ? "the curl program is not installed"
                                          : "curl could not reach it");
}
