/* The cloud over libcurl; see cloud.h: one exchange, and the client's life. One easy handle per
 * struct cloud, so that connections are kept; no redirects, no protocols but http and https, no
 * signals. Certificates are always verified. */
#include "api/base/log.h"
#include "client/cloud_parts.h"
#include "client/stop.h"
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLOUD_CONNECT_S = 5,
    CLOUD_STALL_S = 20, /* slower than CLOUD_STALL_BYTES a second for this long: given up */
    CLOUD_STALL_BYTES = 64,
    CLOUD_RETRY_S = 3600, /* the longest Retry-After that is believed */
};

_Static_assert(CLOUD_REASON >= CURL_ERROR_SIZE, "room for libcurl's reason");

/* Where a body goes: into memory, or through the io seam into a file. */
struct sink {
    struct buf *memory; /* NULL: a file */
    struct io *io;
    const char *path;
    int fd;      /* -1 until the first byte */
    bool append; /* what was asked for; the answer's status decides */
    CURL *curl;
    int64_t received, room;
    enum status status; /* why the sink broke the transfer off */
    struct err err;
};

/* ---- one request ---- */

static int cloud_on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct cloud *cloud = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return stop_requested() || (cloud->ending && atomic_load(cloud->ending));
}

static enum status sink_open(struct sink *sink)
{
    long http = 0;
    curl_easy_getinfo(sink->curl, CURLINFO_RESPONSE_CODE, &http);
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (sink->append && http == 206 ? O_APPEND : O_TRUNC);
    sink->fd = sink->io->open(sink->io, sink->path, flags, 0600);
    return sink->fd < 0 ? io_error(&sink->err, "open", sink->path, errno) : STATUS_OK;
}

static enum status sink_write(struct sink *sink, const char *data, size_t len)
{
    while (len) {
        ssize_t n = sink->io->write(sink->io, sink->fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_error(&sink->err, "write", sink->path, n < 0 ? errno : ENOSPC);
        data += n;
        len -= (size_t)n;
    }
    return STATUS_OK;
}

/* An error answer to a download is not the file: it is counted, but not kept. */
static enum status sink_take(struct sink *sink, const char *data, size_t len)
{
    long http = 0;
    curl_easy_getinfo(sink->curl, CURLINFO_RESPONSE_CODE, &http);
    sink->received += (int64_t)len;
    if (sink->memory)
        return buf_append(sink->memory, data, len);
    if (http != 200 && http != 206)
        return sink->received > CLOUD_ANSWER_MAX ? STATUS_PEER : STATUS_OK;
    if (sink->received > sink->room)
        return err_set(&sink->err, STATUS_PEER,
                       "%s: more bytes than the manifest declares; given up", sink->path);
    if (sink->fd < 0)
        TRY(sink_open(sink));
    return sink_write(sink, data, len);
}

static size_t sink_on_bytes(char *data, size_t size, size_t count, void *ctx)
{
    struct sink *sink = ctx;
    sink->status = sink_take(sink, data, size * count);
    return sink->status == STATUS_OK ? size * count : 0;
}

/* The file's text without blanks at its end; "" without a file. */
static enum status token_read(struct cloud *cloud, struct err *err)
{
    struct buf text = {.max = CLOUD_TOKEN - 1};
    cloud->token[0] = '\0';
    if (!cloud->token_file || !io_exists(cloud->token_file))
        return STATUS_OK;
    enum status status = io_read_file(io_posix(), cloud->token_file, &text, err);
    if (status == STATUS_OK) {
        while (text.len && text.data[text.len - 1] <= ' ')
            text.len--;
        for (size_t i = 0; i < text.len && status == STATUS_OK; i++)
            if (text.data[i] <= ' ' || text.data[i] > '~')
                status =
                    err_set(err, STATUS_UNAUTHENTICATED, "%s holds no token", cloud->token_file);
    }
    if (status == STATUS_OK && text.len)
        memcpy(cloud->token, text.data, text.len);
    if (status == STATUS_OK)
        cloud->token[text.len] = '\0';
    buf_free(&text);
    return status;
}

/* Before every call, since the file may be another one by now. */
static enum status token_set(struct cloud *cloud, struct err *err)
{
    TRY(token_read(cloud, err));
    if (!cloud->token[0])
        return STATUS_OK;
    if (!cloud->is_private)
        return err_set(err, STATUS_USAGE,
                       "the token in %s would travel to %s unencrypted; an https:// URL is right",
                       cloud->token_file, cloud->url);
    curl_easy_setopt(cloud->curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(cloud->curl, CURLOPT_XOAUTH2_BEARER, cloud->token);
    return STATUS_OK;
}

/* Common settings; path is joined to the base URL. A fresh start for every request. */
static enum status cloud_prepare(struct cloud *cloud, struct sink *sink, long timeout_s,
                                 struct err *err, const char *path)
{
    char url[CLOUD_URL + 256];
    CURL *curl = cloud->curl;
    snprintf(url, sizeof url, "%s%s", cloud->url, path);
    curl_easy_reset(curl);
    cloud->reason[0] = '\0';
    cloud->retry_after_ms = 0;
    sink->curl = curl;
    sink->fd = -1;
    if (curl_easy_setopt(curl, CURLOPT_URL, url) != CURLE_OK)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a request");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, cloud->reason);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, cloud->agent);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CLOUD_CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, timeout_s);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, cloud_on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, cloud);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, sink_on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (cloud->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, cloud->ca_file);
    return token_set(cloud, err);
}

static enum status cloud_transport_error(const struct cloud *cloud, CURLcode code,
                                         const struct sink *sink, struct err *err)
{
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return err_set(err, STATUS_CANCELLED, "stopped");
    if (code == CURLE_WRITE_ERROR && sink->status != STATUS_OK)
        return err_set(err, sink->status, "%s",
                       sink->err.text[0] ? sink->err.text : "the cloud's answer is too large");
    const char *reason = cloud->reason[0] ? cloud->reason : curl_easy_strerror(code);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return err_set(err, STATUS_TIMEOUT, "%s: %s", cloud->url, reason);
    return err_set(err, STATUS_UNREACHABLE, "%s: %s", cloud->url, reason);
}

/* "detail" of a problem document, or "" */
static void cloud_detail(const struct sink *sink, char *out, size_t size)
{
    json *root = NULL;
    const char *detail = NULL;
    out[0] = '\0';
    if (!sink->memory ||
        json_parse(sink->memory->data, sink->memory->len, &root, NULL) != STATUS_OK)
        return;
    if (json_opt_string(root, "detail", 4096, &detail, NULL) == STATUS_OK && detail)
        snprintf(out, size, ": %.300s", detail);
    json_free(root);
}

static enum status cloud_http_status(long http)
{
    switch (http) {
    case 401:
    case 403:
        return STATUS_UNAUTHENTICATED;
    case 404:
        return STATUS_NOT_FOUND;
    case 409:
        return STATUS_CONFLICT;
    case 408:
    case 425:
        return STATUS_PEER;
    case 429:
    case 503:
        return STATUS_BUSY;
    default:
        return http >= 200 && http < 300   ? STATUS_OK
               : http >= 400 && http < 500 ? STATUS_REFUSED
                                           : STATUS_PEER;
    }
}

static enum status cloud_perform(struct cloud *cloud, struct sink *sink, const char *what,
                                 struct err *err)
{
    long http = 0;
    curl_off_t retry_after = 0;
    char detail[320];
    CURLcode code = curl_easy_perform(cloud->curl);
    if (code != CURLE_OK)
        return cloud_transport_error(cloud, code, sink, err);
    curl_easy_getinfo(cloud->curl, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(cloud->curl, CURLINFO_RETRY_AFTER, &retry_after);
    cloud->retry_after_ms =
        1000 * (int64_t)(retry_after < CLOUD_RETRY_S ? retry_after : CLOUD_RETRY_S);
    enum status status = cloud_http_status(http);
    if (status == STATUS_OK)
        return STATUS_OK;
    cloud_detail(sink, detail, sizeof detail);
    if (status == STATUS_UNAUTHENTICATED)
        return err_set(err, status, "%s does not let this device do that (%s answered %ld%s)",
                       cloud->url, what, http, detail);
    return err_set(err, status, "%s: %s answered %ld%s", cloud->url, what, http, detail);
}

enum status cloud_get(struct cloud *cloud, const char *path, long timeout_s, struct buf *out,
                      struct err *err)
{
    struct sink sink = {.memory = out};
    TRY(cloud_prepare(cloud, &sink, timeout_s, err, path));
    return cloud_perform(cloud, &sink, path, err);
}

/* However long a body takes, it must move. */
static void cloud_mind_stalls(struct cloud *cloud)
{
    curl_easy_setopt(cloud->curl, CURLOPT_LOW_SPEED_LIMIT, (long)CLOUD_STALL_BYTES);
    curl_easy_setopt(cloud->curl, CURLOPT_LOW_SPEED_TIME, (long)CLOUD_STALL_S);
}

/* NULL without memory. */
static struct curl_slist *header_list(const char *const *headers)
{
    struct curl_slist *list = NULL;
    for (; *headers; headers++) {
        struct curl_slist *longer = curl_slist_append(list, *headers);
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

enum status cloud_send(struct cloud *cloud, const struct cloud_sending *sending, struct buf *answer,
                       int64_t *sent, struct err *err)
{
    struct sink sink = {.memory = answer};
    curl_off_t uploaded = 0;
    TRY(cloud_prepare(cloud, &sink, 0, err, sending->path));
    struct curl_slist *headers = header_list(sending->headers);
    if (!headers)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a request");
    cloud_mind_stalls(cloud);
    curl_easy_setopt(cloud->curl, CURLOPT_CUSTOMREQUEST, sending->method);
    curl_easy_setopt(cloud->curl, CURLOPT_POSTFIELDS, sending->body);
    curl_easy_setopt(cloud->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)sending->len);
    curl_easy_setopt(cloud->curl, CURLOPT_HTTPHEADER, headers);
    enum status status = cloud_perform(cloud, &sink, sending->path, err);
    curl_easy_setopt(cloud->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);
    curl_easy_getinfo(cloud->curl, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (sent)
        *sent = (int64_t)uploaded;
    return status;
}

enum status cloud_download(struct cloud *cloud, const char *what,
                           const struct cloud_download *download, int64_t *received,
                           struct err *err)
{
    char range[32];
    struct sink sink = {.io = download->io, .path = download->path, .room = download->room};
    *received = 0;
    TRY(cloud_prepare(cloud, &sink, 0, err, what));
    cloud_mind_stalls(cloud);
    if (download->from > 0) {
        snprintf(range, sizeof range, "%" PRId64 "-", download->from);
        curl_easy_setopt(cloud->curl, CURLOPT_RANGE, range);
        sink.append = true;
    }
    enum status status = cloud_perform(cloud, &sink, what, err);
    *received = sink.received;
    if (sink.fd >= 0 && sink.io->close(sink.io, sink.fd) != 0 && status == STATUS_OK)
        status = io_error(err, "close", sink.path, errno);
    return status;
}

/* ---- reading answers ---- */

enum status cloud_unreadable(struct cloud *cloud, const char *path, enum status status,
                             struct err *err)
{
    if (status != STATUS_MALFORMED && status != STATUS_SHAPE && status != STATUS_TOO_LARGE &&
        status != STATUS_UNSUPPORTED)
        return status;
    err_prefix(err, "%s%s", cloud->url, path);
    if (err)
        err->code = STATUS_PEER;
    return STATUS_PEER;
}

enum status cloud_json(struct cloud *cloud, const char *path, const struct buf *answer, json **out,
                       struct err *err)
{
    return cloud_unreadable(cloud, path, json_parse(answer->data, answer->len, out, err), err);
}

/* ---- life ---- */

static void cloud_global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static enum status url_check(const char *url, struct err *err)
{
    if ((strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
        strlen(url) < CLOUD_URL && !strpbrk(url, " \t\r\n?#"))
        return STATUS_OK;
    return err_set(err, STATUS_USAGE,
                   "cloud URL '%.200s': http://HOST:PORT or https://HOST is right", url);
}

/* By TLS, or because it does not leave this machine. */
static bool url_is_private(const char *url)
{
    if (strncmp(url, "https://", 8) == 0)
        return true;
    char *host = NULL;
    CURLU *parts = curl_url();
    bool is_private = false;
    if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK)
        is_private = strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
                     (strncmp(host, "127.", 4) == 0 && !host[strspn(host, "0123456789.")]);
    curl_free(host);
    curl_url_cleanup(parts);
    return is_private;
}

enum status cloud_create(const struct cloud_config *config, struct cloud **out, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, cloud_global_init);
    TRY(url_check(config->url, err));
    struct cloud *cloud = calloc(1, sizeof *cloud);
    if (cloud)
        cloud->curl = curl_easy_init();
    if (!cloud || !cloud->curl) {
        free(cloud);
        return err_set(err, STATUS_NO_MEMORY, "no memory for an HTTP client");
    }
    snprintf(cloud->url, sizeof cloud->url, "%s", config->url);
    for (size_t len = strlen(cloud->url); len && cloud->url[len - 1] == '/'; len--)
        cloud->url[len - 1] = '\0';
    snprintf(cloud->agent, sizeof cloud->agent, "cdcca-edge/%s (%.64s)", CDCCA_VERSION,
             config->device);
    snprintf(cloud->device, sizeof cloud->device, "%s", config->device);
    cloud->token_file = config->token_file;
    cloud->ca_file = config->ca_file;
    cloud->is_private = url_is_private(cloud->url);
    if (token_set(cloud, err) == STATUS_USAGE) {
        cloud_destroy(cloud);
        return STATUS_USAGE;
    }
    *out = cloud;
    return STATUS_OK;
}

void cloud_destroy(struct cloud *cloud)
{
    if (!cloud)
        return;
    curl_easy_cleanup(cloud->curl);
    free(cloud);
}

void cloud_end_when(struct cloud *cloud, const atomic_bool *ending)
{
    cloud->ending = ending;
}

const char *cloud_url(const struct cloud *cloud)
{
    return cloud->url;
}

/* Exactly HOST or HOST:DIGITS between "http://" and the path: "127.0.0.1.example.com" and
 * "127.0.0.1:80@example.com" are other machines. */
bool cloud_url_is_loopback(const char *url)
{
    char host[64];
    struct in_addr v4;
    if (strncmp(url, "http://", 7) != 0)
        return false;
    const char *at = url + 7, *end = at + (strncmp(at, "[::1]", 5) == 0 ? 5 : strcspn(at, ":/"));
    const char *port = *end == ':' ? end + 1 : end;
    port += strspn(port, "0123456789");
    if ((size_t)(end - at) >= sizeof host || (*port && *port != '/'))
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(end - at), at);
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

int64_t cloud_retry_after_ms(const struct cloud *cloud)
{
    return cloud->retry_after_ms;
}
