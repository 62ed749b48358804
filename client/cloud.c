/* The cloud over libcurl; see cloud.h. One easy handle per struct cloud, so that connections are
 * kept; no redirects, no protocols but http and https, no signals. Certificates are always
 * verified. */
#include "client/cloud.h"
#include "api/base/log.h"
#include "api/wire/json.h"
#include "api/wire/limits.h"
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
#include <sys/stat.h>

enum {
    CLOUD_URL = 1024,
    CLOUD_ANSWER_MAX = 1 << 20,
    CLOUD_PATCH = 96, /* a patch's path */
    CLOUD_CONNECT_S = 5,
    CLOUD_STALL_S = 20, /* slower than CLOUD_STALL_BYTES a second for this long: given up */
    CLOUD_STALL_BYTES = 64,
    CLOUD_CALL_S = 30,       /* for calls with small answers */
    CLOUD_RETRY_S = 3600,    /* the longest Retry-After that is believed */
    CLOUD_EXPECT = 16 << 10, /* from here on a body waits for the cloud to accept its headers */
};

struct cloud {
    CURL *curl;
    char url[CLOUD_URL], agent[160], device[LIMIT_ID + 1];
    const char *token_file, *ca_file; /* or NULL */
    bool is_private;                  /* nobody in between can read what is sent */
    char token[CLOUD_TOKEN];          /* "": none */
    bool knows_no_devices;            /* it refused to be asked for one */
    char reason[CURL_ERROR_SIZE];
    int64_t retry_after_ms;
    const atomic_bool *ending; /* NULL: a stop alone breaks calls off */
};

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

static enum status cloud_get(struct cloud *cloud, const char *path, long timeout_s, struct buf *out,
                             struct err *err)
{
    struct sink sink = {.memory = out};
    TRY(cloud_prepare(cloud, &sink, timeout_s, err, path));
    return cloud_perform(cloud, &sink, path, err);
}

static enum status cloud_send(struct cloud *cloud, const char *method, const char *path,
                              const void *body, size_t len, struct curl_slist *headers,
                              struct buf *answer, struct err *err)
{
    struct sink sink = {.memory = answer};
    enum status status = cloud_prepare(cloud, &sink, 0, err, path);
    if (status == STATUS_OK) {
        curl_easy_setopt(cloud->curl, CURLOPT_LOW_SPEED_LIMIT, (long)CLOUD_STALL_BYTES);
        curl_easy_setopt(cloud->curl, CURLOPT_LOW_SPEED_TIME, (long)CLOUD_STALL_S);
        curl_easy_setopt(cloud->curl, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(cloud->curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(cloud->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
        curl_easy_setopt(cloud->curl, CURLOPT_HTTPHEADER, headers);
        status = cloud_perform(cloud, &sink, path, err);
        curl_easy_setopt(cloud->curl, CURLOPT_HTTPHEADER, NULL);
    }
    return status;
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

/* ---- uploads ---- */

static bool cloud_add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (!longer)
        return false;
    *list = longer;
    return true;
}

/* A body that may be turned away for its token or a quota is not sent before it is welcome. */
static const char *upload_expect(const struct cloud *cloud, size_t len)
{
    return cloud->token[0] && len >= CLOUD_EXPECT ? "Expect: 100-continue" : "Expect:";
}

enum status cloud_upload(struct cloud *cloud, const void *body, size_t len, const struct hash *hash,
                         int64_t *sent, struct err *err)
{
    char key[32 + HASH_HEX], hex[HASH_HEX];
    struct curl_slist *headers = NULL;
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    curl_off_t uploaded = 0;
    enum status status = STATUS_NO_MEMORY;
    hash_hex(hash, hex);
    snprintf(key, sizeof key, "Idempotency-Key: %s", hex);
    *sent = 0;
    if (cloud_add_header(&headers, key) &&
        cloud_add_header(&headers, "Content-Type: application/x-safetensors") &&
        cloud_add_header(&headers, "Content-Encoding: zstd") &&
        cloud_add_header(&headers, upload_expect(cloud, len))) {
        status = cloud_send(cloud, "POST", "/tokens", body, len, headers, &answer, err);
        curl_easy_getinfo(cloud->curl, CURLINFO_SIZE_UPLOAD_T, &uploaded);
        *sent = (int64_t)uploaded;
    } else {
        err_set(err, status, "no memory for an upload's headers");
    }
    curl_slist_free_all(headers);
    buf_free(&answer);
    return status;
}

/* ---- the device ---- */

static enum status cloud_send_json(struct cloud *cloud, const char *method, const char *path,
                                   const void *body, size_t len, const struct hash *key,
                                   struct err *err)
{
    char line[32 + HASH_HEX] = "Expect:", hex[HASH_HEX];
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    struct curl_slist *headers = NULL;
    if (key) {
        hash_hex(key, hex);
        snprintf(line, sizeof line, "Idempotency-Key: %s", hex);
    }
    enum status status = cloud_add_header(&headers, "Content-Type: application/json") &&
                                 cloud_add_header(&headers, line)
                             ? cloud_send(cloud, method, path, body, len, headers, &answer, err)
                             : err_set(err, STATUS_NO_MEMORY, "no memory for a request");
    curl_slist_free_all(headers);
    buf_free(&answer);
    return status;
}

enum status cloud_put_device(struct cloud *cloud, const void *body, size_t len, struct err *err)
{
    char path[32 + LIMIT_ID];
    snprintf(path, sizeof path, "/devices/%s", cloud->device);
    return cloud_send_json(cloud, "PUT", path, body, len, NULL, err);
}

enum status cloud_feedback(struct cloud *cloud, const void *body, size_t len,
                           const struct hash *hash, struct err *err)
{
    char path[32 + LIMIT_ID];
    snprintf(path, sizeof path, "/devices/%s/feedback", cloud->device);
    return cloud_send_json(cloud, "POST", path, body, len, hash, err);
}

/* ---- rounds ---- */

/* What we cannot read is the peer's fault, and not for good. */
static enum status cloud_unreadable(struct cloud *cloud, const char *path, enum status status,
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

/* An answer's JSON; owned by the caller. */
static enum status cloud_json(struct cloud *cloud, const char *path, const struct buf *answer,
                              json **out, struct err *err)
{
    return cloud_unreadable(cloud, path, json_parse(answer->data, answer->len, out, err), err);
}

enum status cloud_distill(struct cloud *cloud, int64_t *id, struct err *err)
{
    static const char path[] = "/distill";
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    struct curl_slist *headers = NULL;
    json *root = NULL;
    if (!cloud_add_header(&headers, "Content-Type: application/json"))
        return err_set(err, STATUS_NO_MEMORY, "no memory for a request");
    enum status status = cloud_send(cloud, "POST", path, "{}", 2, headers, &answer, err);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status =
            cloud_unreadable(cloud, path, json_get_int(root, "id", 1, INT64_MAX, id, err), err);
    json_free(root);
    buf_free(&answer);
    curl_slist_free_all(headers);
    return status;
}

static enum status cloud_parse_round(const json *value, struct cloud_round *out, struct err *err)
{
    static const char *const ends[] = {"released", "rejected", "cancelled", "failed"};
    struct cloud_round round = {0};
    const char *state;
    TRY(json_get_int(value, "id", 1, INT64_MAX, &round.id, err));
    TRY(json_get_string(value, "state", sizeof round.state - 1, &state, err));
    TRY(json_opt_int(value, "version", 0, INT64_MAX, &round.version, err));
    snprintf(round.state, sizeof round.state, "%s", state);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        round.over = round.over || strcmp(state, ends[i]) == 0;
    *out = round;
    return STATUS_OK;
}

static enum status cloud_parse_newest(const json *root, struct cloud_round *out, struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "rounds", LIMIT_PAGE, &list, err));
    if (json_length(list) == 0)
        return err_set(err, STATUS_NOT_FOUND, "the cloud has run no round yet");
    return cloud_parse_round(json_at(list, 0), out, err);
}

enum status cloud_round(struct cloud *cloud, int64_t id, struct cloud_round *out, struct err *err)
{
    char path[64] = "/distill?limit=1";
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    json *root = NULL;
    if (id)
        snprintf(path, sizeof path, "/distill/%" PRId64, id);
    enum status status = cloud_get(cloud, path, CLOUD_CALL_S, &answer, err);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status = cloud_unreadable(
            cloud, path,
            id ? cloud_parse_round(root, out, err) : cloud_parse_newest(root, out, err), err);
    json_free(root);
    buf_free(&answer);
    return status;
}

/* ---- enrolment ---- */

static enum status enroll_body(const char *code, const char *device, const char *nonce,
                               struct buf *out, struct err *err)
{
    json *body = json_object_new();
    bool ok = body && json_set_string(body, "code", code) &&
              json_set_string(body, "nonce", nonce) &&
              (!device || json_set_string(body, "device", device)) &&
              json_print(body, false, out) == STATUS_OK;
    json_free(body);
    return ok ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for a request");
}

static enum status enroll_parse(const json *root, struct cloud_enrolment *out, struct err *err)
{
    const char *device, *token, *root_key = "";
    TRY(json_get_string(root, "device", LIMIT_ID, &device, err));
    TRY(json_get_string(root, "token", CLOUD_TOKEN - 1, &token, err));
    TRY(json_opt_string(root, "root_key", CLOUD_TOKEN - 1, &root_key, err));
    snprintf(out->device, sizeof out->device, "%s", device);
    snprintf(out->token, sizeof out->token, "%s", token);
    snprintf(out->root_key, sizeof out->root_key, "%s", root_key);
    return STATUS_OK;
}

enum status cloud_enroll(struct cloud *cloud, const char *code, const char *device,
                         const char *nonce, struct cloud_enrolment *out, struct err *err)
{
    static const char path[] = "/enroll";
    struct buf body = {.max = LIMIT_ENROLL_BYTES}, answer = {.max = CLOUD_ANSWER_MAX};
    struct curl_slist *headers = NULL;
    json *root = NULL;
    TRY(enroll_body(code, device, nonce, &body, err));
    enum status status = STATUS_NO_MEMORY;
    if (cloud_add_header(&headers, "Content-Type: application/json"))
        status = cloud_send(cloud, "POST", path, body.data, body.len, headers, &answer, err);
    if (status == STATUS_UNAUTHENTICATED)
        status = err_set(err, STATUS_REFUSED, "%s", err->text);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status = cloud_unreadable(cloud, path, enroll_parse(root, out, err), err);
    json_free(root);
    buf_free(&answer);
    buf_free(&body);
    curl_slist_free_all(headers);
    return status;
}

/* ---- releases ---- */

static enum status cloud_parse_release(const json *value, struct cloud_release *out,
                                       struct err *err)
{
    const char *hex, *set = NULL;
    struct cloud_release r = {0};
    TRY(json_get_int(value, "version", 1, INT64_MAX, &r.version, err));
    TRY(json_get_int(value, "base_version", 0, INT64_MAX, &r.base_version, err));
    TRY(json_get_int(value, "size", 1, LIMIT_DELTA_BYTES, &r.size, err));
    TRY(json_get_string(value, "sha256", HASH_HEX - 1, &hex, err));
    TRY(json_opt_string(value, "set_sha256", HASH_HEX - 1, &set, err));
    if (!hash_parse(hex, &r.patch) || (set && !hash_parse(set, &r.set_hash)))
        return err_set(err, STATUS_MALFORMED, "sha256 is no SHA-256 in lower-case hexadecimal");
    r.has_set_hash = set != NULL;
    *out = r;
    return STATUS_OK;
}

/* The entry of {"deltas": [...]} whose base is `after`. */
static enum status cloud_find_release(const json *root, int64_t after, struct cloud_release *out,
                                      struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "deltas", LIMIT_PAGE, &list, err));
    for (size_t i = 0; i < json_length(list); i++) {
        struct cloud_release release;
        TRY(cloud_parse_release(json_at(list, i), &release, err));
        if (release.base_version == after) {
            *out = release;
            return STATUS_OK;
        }
    }
    return err_set(err, STATUS_NOT_FOUND, "no release after version %" PRId64, after);
}

/* The list itself, asked for this device where the cloud knows what that is. */
static enum status cloud_list_releases(struct cloud *cloud, int64_t after, bool squash, int wait_s,
                                       struct buf *answer, struct err *err)
{
    char path[96 + LIMIT_ID];
    if (!cloud->knows_no_devices) {
        snprintf(path, sizeof path, "/deltas?after=%" PRId64 "&device=%s%s&wait=%d", after,
                 cloud->device, squash ? "&squash=1" : "", wait_s);
        enum status status = cloud_get(cloud, path, wait_s + CLOUD_CALL_S, answer, err);
        if (status != STATUS_REFUSED)
            return status;
    }
    snprintf(path, sizeof path, "/deltas?after=%" PRId64 "&wait=%d", after, wait_s);
    buf_clear(answer);
    enum status status = cloud_get(cloud, path, wait_s + CLOUD_CALL_S, answer, err);
    cloud->knows_no_devices = cloud->knows_no_devices || status == STATUS_OK;
    return status;
}

enum status cloud_next_release(struct cloud *cloud, int64_t after, bool squash, int wait_s,
                               struct cloud_release *out, struct err *err)
{
    static const char path[] = "/deltas";
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    json *root = NULL;
    enum status status = cloud_list_releases(cloud, after, squash, wait_s, &answer, err);
    if (status == STATUS_OK && answer.len == 0)
        status = err_set(err, STATUS_NOT_FOUND, "no release after version %" PRId64, after);
    else if (status == STATUS_NOT_FOUND)
        status = err_set(err, STATUS_PEER, "%s%s answered 404: is this a cdcca-cloud?", cloud->url,
                         path);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status = cloud_unreadable(cloud, path, cloud_find_release(root, after, out, err), err);
    json_free(root);
    buf_free(&answer);
    return status;
}

/* A patch is from the version before, unless it says otherwise. */
static void cloud_patch_path(int64_t version, int64_t from, const char *end, char out[CLOUD_PATCH])
{
    char query[32] = "";
    if (from != version - 1)
        snprintf(query, sizeof query, "?from=%" PRId64, from);
    snprintf(out, CLOUD_PATCH, "/deltas/%" PRId64 "%s%s", version, end, query);
}

static enum status cloud_envelope(struct cloud *cloud, const char *path, struct buf *out,
                                  struct err *err)
{
    out->max = LIMIT_ENVELOPE_BYTES;
    return cloud_get(cloud, path, CLOUD_CALL_S, out, err);
}

enum status cloud_manifest(struct cloud *cloud, int64_t version, int64_t from, struct buf *out,
                           struct err *err)
{
    char path[CLOUD_PATCH];
    cloud_patch_path(version, from, "/manifest", path);
    return cloud_envelope(cloud, path, out, err);
}

enum status cloud_keys(struct cloud *cloud, int64_t version, struct buf *out, struct err *err)
{
    char path[64] = "/keys";
    if (version)
        snprintf(path, sizeof path, "/keys/%" PRId64, version);
    return cloud_envelope(cloud, path, out, err);
}

/* ---- the patch ---- */

/* How much of the file is there already; 0 when it is of no use. */
static int64_t cloud_resume_at(struct io *io, const char *path, int64_t size)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return 0;
    if (S_ISREG(info.st_mode) && info.st_size <= size)
        return (int64_t)info.st_size;
    io->unlink(io, path);
    return 0;
}

static enum status cloud_fetch_from(struct cloud *cloud, struct sink *sink,
                                    const struct cloud_release *release, int64_t from,
                                    struct err *err)
{
    char path[CLOUD_PATCH], range[32];
    cloud_patch_path(release->version, release->base_version, "", path);
    TRY(cloud_prepare(cloud, sink, 0, err, path));
    curl_easy_setopt(cloud->curl, CURLOPT_LOW_SPEED_LIMIT, (long)CLOUD_STALL_BYTES);
    curl_easy_setopt(cloud->curl, CURLOPT_LOW_SPEED_TIME, (long)CLOUD_STALL_S);
    if (from > 0) {
        snprintf(range, sizeof range, "%" PRId64 "-", from);
        curl_easy_setopt(cloud->curl, CURLOPT_RANGE, range);
        sink->append = true;
    }
    return cloud_perform(cloud, sink, path, err);
}

enum status cloud_fetch(struct cloud *cloud, struct io *io, const struct cloud_release *release,
                        const char *path, int64_t *received, struct err *err)
{
    int64_t from = cloud_resume_at(io, path, release->size);
    struct sink sink = {.io = io, .path = path, .room = release->size, .fd = -1};
    *received = 0;
    if (from == release->size)
        return STATUS_OK;
    enum status status = cloud_fetch_from(cloud, &sink, release, from, err);
    *received = sink.received;
    if (sink.fd >= 0 && io->close(io, sink.fd) != 0 && status == STATUS_OK)
        status = io_error(err, "close", path, errno);
    if (status == STATUS_PEER || status == STATUS_REFUSED)
        io->unlink(io, path); /* too long, or a range the peer does not know: start clean */
    return status;
}
