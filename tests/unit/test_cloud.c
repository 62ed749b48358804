/* The agent's HTTP client against a peer that answers, lies, cuts and stalls: a thread that serves
 * one canned answer per connection and keeps what it was asked. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/wire/limits.h"
#include "client/cloud.h"
#include "client/stop.h"
#include "edge_tiny.h"
#include "fault_io.h"
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

enum { PEER_ANSWERS = 8, PEER_TEXT = 16384 };

struct peer {
    int fd;
    char url[64];
    const char *answer[PEER_ANSWERS]; /* whole answers, status line included; NULL ends */
    char asked[PEER_ANSWERS][PEER_TEXT];
    int served;
    bool heads_only; /* answers without waiting for the body */
    pthread_t thread;
    struct cloud *cloud;
    char dir[TINY_PATH], file[2 * TINY_PATH];
};

/* Reads a request: the head, and as much body as Content-Length says. */
static void peer_read(int fd, bool head_only, char out[PEER_TEXT])
{
    size_t used = 0, wanted = 0;
    while (used < PEER_TEXT - 1 && (!wanted || used < wanted)) {
        ssize_t n = recv(fd, out + used, PEER_TEXT - 1 - used, 0);
        if (n <= 0)
            break;
        used += (size_t)n;
        out[used] = '\0';
        char *end = strstr(out, "\r\n\r\n"), *length = strcasestr(out, "Content-Length:");
        if (end && !wanted)
            wanted =
                (size_t)(end + 4 - out) + (length && !head_only ? (size_t)atol(length + 15) : 0);
    }
    out[used] = '\0';
}

static void *peer_serve(void *ctx)
{
    struct peer *peer = ctx;
    for (int i = 0; i < PEER_ANSWERS && peer->answer[i]; i++) {
        int fd = accept(peer->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        peer_read(fd, peer->heads_only, peer->asked[i]);
        size_t len = strlen(peer->answer[i]);
        if (write(fd, peer->answer[i], len) == (ssize_t)len)
            peer->served++;
        close(fd);
    }
    return NULL;
}

static int set_up(void **state)
{
    struct peer *peer = calloc(1, sizeof *peer);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    assert_non_null(peer);
    signal(SIGPIPE, SIG_IGN);
    stop_clear();
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(peer->fd >= 0);
    assert_int_equal(bind(peer->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(peer->fd, 8), 0);
    assert_int_equal(getsockname(peer->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(peer->url, sizeof peer->url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    assert_int_equal(cloud_create(&(struct cloud_config){.url = peer->url, .device = "test"},
                                  &peer->cloud, NULL),
                     STATUS_OK);
    tiny_folder(peer->dir);
    snprintf(peer->file, sizeof peer->file, "%s/patch.part", peer->dir);
    *state = peer;
    return 0;
}

static int tear_down(void **state)
{
    struct peer *peer = *state;
    cloud_destroy(peer->cloud);
    close(peer->fd);
    tiny_remove(peer->dir);
    free(peer);
    return 0;
}

static void peer_start(struct peer *peer)
{
    assert_int_equal(pthread_create(&peer->thread, NULL, peer_serve, peer), 0);
}

static void peer_finish(struct peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "

static enum status upload(struct peer *peer, struct err *err)
{
    struct hash hash;
    int64_t sent;
    hash_bytes("body", 4, &hash);
    enum status status = cloud_upload(peer->cloud, "body", 4, &hash, &sent, err);
    if (status == STATUS_OK)
        assert_int_equal(sent, 4);
    return status;
}

static void test_an_upload_names_its_content(void **state)
{
    struct peer *peer = *state;
    struct err err = {0};
    peer->answer[0] = "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer_start(peer);
    if (upload(peer, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    peer_finish(peer);
    assert_non_null(strstr(peer->asked[0], "POST /tokens HTTP/1.1"));
    assert_non_null(strstr(peer->asked[0], "Content-Encoding: zstd"));
    assert_non_null(strstr(peer->asked[0], "Content-Type: application/x-safetensors"));
    /* SHA-256 of "body" */
    assert_non_null(strstr(peer->asked[0], "Idempotency-Key: 230d8358dc8e8890b4c58deeb62912ee"
                                           "2f20357ae92a5cc861b98e68fe31acb5"));
    assert_string_equal(strstr(peer->asked[0], "\r\n\r\n") + 4, "body");
}

static void test_statuses_say_whether_to_try_again(void **state)
{
    struct peer *peer = *state;
    struct err err = {0};
    peer->answer[0] = "HTTP/1.1 422 No\r\nConnection: close\r\nContent-Length: 27\r\n\r\n"
                      "{\"detail\": \"wrong encoder\"}";
    peer->answer[1] = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nConnection: close\r\n"
                      "Content-Length: 0\r\n\r\n";
    peer->answer[2] = "HTTP/1.1 507 Full\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer->answer[3] = "HTTP/1.1 409 Other\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer->answer[4] = "garbage\r\n\r\n";
    peer_start(peer);
    assert_int_equal(upload(peer, &err), STATUS_REFUSED);
    assert_non_null(strstr(err.text, "wrong encoder"));
    assert_int_equal(upload(peer, &err), STATUS_BUSY);
    assert_int_equal(cloud_retry_after_ms(peer->cloud), 7000);
    assert_int_equal(upload(peer, &err), STATUS_PEER);
    assert_int_equal(upload(peer, &err), STATUS_CONFLICT);
    assert_int_equal(upload(peer, &err), STATUS_UNREACHABLE);
    peer_finish(peer);
    assert_int_equal(upload(peer, &err), STATUS_UNREACHABLE);
    assert_non_null(strstr(err.text, "127.0.0.1"));
}

/* An answer with this JSON; static storage. */
static const char *json_answer(const char *text)
{
    static char answers[PEER_ANSWERS][1024];
    static int next;
    char *out = answers[next++ % PEER_ANSWERS];
    snprintf(out, 1024, OK_HEAD "%zu\r\n\r\n%s", strlen(text), text);
    return out;
}

static void test_only_this_machine_is_loopback(void **state)
{
    static const char *const here[] = {"http://127.0.0.1", "http://127.0.0.1:8080",
                                       "http://127.9.8.7:1/prefix", "http://localhost:8080/",
                                       "http://[::1]:8080"};
    static const char *const away[] = {"https://127.0.0.1",
                                       "http://127.0.0.1.example.com",
                                       "http://127.0.0.1@example.com",
                                       "http://127.0.0.1:80@example.com",
                                       "http://localhost.example.com",
                                       "http://example.com/127.0.0.1",
                                       "http://128.0.0.1",
                                       "http://0x7f000001",
                                       "http://[::1].example.com",
                                       "http://[::1",
                                       "http://10.0.0.1:8080",
                                       "http://"};
    (void)state;
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
        assert_true(cloud_url_is_loopback(here[i]));
    for (size_t i = 0; i < sizeof away / sizeof away[0]; i++)
        if (cloud_url_is_loopback(away[i]))
            fail_msg("%s is not this machine", away[i]);
}

/* Endless data: a manifest, or a key document, is broken off at its bound. */
static void test_an_endless_envelope_is_broken_off(void **state)
{
    struct peer *peer = *state;
    static char endless[LIMIT_ENVELOPE_BYTES + 4096];
    int head = snprintf(endless, sizeof endless, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    memset(endless + head, '[', sizeof endless - 1 - (size_t)head);
    for (int i = 0; i < 2; i++)
        peer->answer[i] = endless;
    peer_start(peer);
    for (int i = 0; i < 2; i++) {
        struct buf out = {0};
        assert_int_equal(i ? cloud_keys(peer->cloud, 0, &out, NULL)
                           : cloud_manifest(peer->cloud, 7, 6, &out, NULL),
                         STATUS_TOO_LARGE);
        assert_true(out.len <= LIMIT_ENVELOPE_BYTES);
        buf_free(&out);
    }
    peer_finish(peer);
    assert_non_null(strstr(peer->asked[0], "GET /deltas/7/manifest "));
    assert_non_null(strstr(peer->asked[1], "GET /keys "));
}

/* Whoever is turned away for what it is comes back: the upload is not at fault. */
static void test_a_device_that_is_turned_away_tries_again(void **state)
{
    struct peer *peer = *state;
    struct err err = {0};
    peer->answer[0] = "HTTP/1.1 401 Who\r\nConnection: close\r\nContent-Length: 22\r\n\r\n"
                      "{\"detail\": \"expired..\"}";
    peer->answer[1] = "HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer->answer[2] = "HTTP/1.1 429 Tomorrow\r\nRetry-After: 86400\r\nConnection: close\r\n"
                      "Content-Length: 0\r\n\r\n";
    peer_start(peer);
    assert_int_equal(upload(peer, &err), STATUS_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, "does not let this device"));
    assert_int_equal(upload(peer, &err), STATUS_UNAUTHENTICATED);
    assert_int_equal(upload(peer, &err), STATUS_BUSY);
    assert_int_equal(cloud_retry_after_ms(peer->cloud), 3600000);
    peer_finish(peer);
}

static void token_write(const struct peer *peer, const char *text)
{
    assert_int_equal(io_write_secret(io_posix(), peer->file, text, strlen(text), NULL), STATUS_OK);
}

/* peer->file holds the token from here on. */
static void peer_use_tokens(struct peer *peer)
{
    struct cloud_config config = {.url = peer->url, .device = "test", .token_file = peer->file};
    cloud_destroy(peer->cloud);
    assert_int_equal(cloud_create(&config, &peer->cloud, NULL), STATUS_OK);
}

static void test_the_token_is_the_files_at_every_call(void **state)
{
    struct peer *peer = *state;
    struct err err = {0};
    static const char created[] =
        "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer_use_tokens(peer);
    peer->answer[0] = peer->answer[1] = peer->answer[2] = created;
    peer_start(peer);
    assert_int_equal(upload(peer, &err), STATUS_OK);
    token_write(peer, "first\n");
    assert_int_equal(upload(peer, &err), STATUS_OK);
    token_write(peer, "second");
    assert_int_equal(upload(peer, &err), STATUS_OK);
    token_write(peer, "two words");
    assert_int_equal(upload(peer, &err), STATUS_UNAUTHENTICATED);
    assert_non_null(strstr(err.text, peer->file));
    peer_finish(peer);
    assert_int_equal(peer->served, 3);
    assert_null(strstr(peer->asked[0], "Authorization:"));
    assert_non_null(strstr(peer->asked[1], "Authorization: Bearer first\r\n"));
    assert_non_null(strstr(peer->asked[2], "Authorization: Bearer second\r\n"));
    assert_non_null(strstr(peer->asked[2], "\r\n\r\nbody"));
}

static void test_a_token_does_not_travel_unencrypted(void **state)
{
    static const struct {
        const char *url;
        enum status status;
    } cases[] = {
        {"http://192.0.2.1:80", STATUS_USAGE},        {"http://cloud.example", STATUS_USAGE},
        {"http://127.0.0.1.example", STATUS_USAGE},   {"http://localhost:80", STATUS_OK},
        {"http://127.0.0.1:80", STATUS_OK},           {"http://[::1]:80/x", STATUS_OK},
        {"http://localhost@192.0.2.1", STATUS_USAGE}, {"https://cloud.example", STATUS_OK}};
    struct peer *peer = *state;
    token_write(peer, "secret");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cloud *cloud = NULL;
        struct cloud_config config = {.url = cases[i].url, .device = "d", .token_file = peer->file};
        struct err err = {0};
        assert_int_equal(cloud_create(&config, &cloud, &err), cases[i].status);
        if (cases[i].status != STATUS_OK)
            assert_non_null(strstr(err.text, "https://"));
        cloud_destroy(cloud);
    }
}

/* A body that may be refused for its sender is not sent before its headers are welcome. */
static void test_a_large_body_waits_to_be_welcome(void **state)
{
    static char body[64 << 10];
    struct peer *peer = *state;
    struct err err = {0};
    struct hash hash = {{0}};
    int64_t sent = 0;
    token_write(peer, "secret");
    peer_use_tokens(peer);
    peer->answer[0] = "HTTP/1.1 401 Who\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer->heads_only = true;
    peer_start(peer);
    assert_int_equal(cloud_upload(peer->cloud, body, sizeof body, &hash, &sent, &err),
                     STATUS_UNAUTHENTICATED);
    peer_finish(peer);
    assert_non_null(strstr(peer->asked[0], "Expect: 100-continue\r\n"));
    assert_int_equal(sent, 0);
}

static void test_enrolment_is_asked_for_by_code_and_nonce(void **state)
{
    struct peer *peer = *state;
    struct cloud_enrolment out;
    struct err err = {0};
    peer->answer[0] =
        json_answer("{\"device\": \"kiosk-7\", \"token\": \"t\", \"root_key\": \"k\"}");
    peer->answer[1] = json_answer("{\"device\": \"kiosk-7\"}");
    peer->answer[2] = "HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer_start(peer);
    assert_int_equal(cloud_enroll(peer->cloud, "C", "kiosk-7", "N", &out, &err), STATUS_OK);
    assert_string_equal(out.token, "t");
    assert_string_equal(out.root_key, "k");
    assert_int_equal(cloud_enroll(peer->cloud, "C", NULL, "N", &out, &err), STATUS_PEER);
    assert_int_equal(cloud_enroll(peer->cloud, "C", NULL, "N", &out, &err), STATUS_REFUSED);
    peer_finish(peer);
    assert_non_null(strstr(peer->asked[0], "POST /enroll HTTP/1.1"));
    assert_non_null(strstr(peer->asked[0], "\"code\":\"C\""));
    assert_non_null(strstr(peer->asked[0], "\"nonce\":\"N\""));
    assert_non_null(strstr(peer->asked[0], "\"device\":\"kiosk-7\""));
    assert_null(strstr(peer->asked[1], "\"device\""));
}

static void test_urls(void **state)
{
    struct cloud *cloud = NULL;
    static const char *const bad[] = {"",           "127.0.0.1:8080", "ftp://x",
                                      "http://a b", "http://x?y",     "file:///etc/passwd"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(
            cloud_create(&(struct cloud_config){.url = bad[i], .device = "d"}, &cloud, NULL),
            STATUS_USAGE);
    assert_int_equal(
        cloud_create(&(struct cloud_config){.url = "http://host/prefix///", .device = "d"}, &cloud,
                     NULL),
        STATUS_OK);
    assert_string_equal(cloud_url(cloud), "http://host/prefix");
    cloud_destroy(cloud);
}

#define HASH_A "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"

static void test_the_next_release_goes_on_from_ours(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release;
    struct err err = {0};
    peer->answer[0] = json_answer(
        "{\"deltas\":[{\"version\":2,\"base_version\":1,\"size\":9,\"sha256\":\"" HASH_A "\"},"
        "{\"version\":3,\"base_version\":2,\"size\":10,\"sha256\":\"" HASH_A "\",\"x\":1}]}");
    peer->answer[1] = json_answer("{\"deltas\":[]}");
    peer_start(peer);
    if (cloud_next_release(peer->cloud, 2, false, 5, &release, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(release.version, 3);
    assert_int_equal(release.size, 10);
    assert_non_null(strstr(peer->asked[0], "GET /deltas?after=2&device=test&wait=5 "));
    assert_int_equal(cloud_next_release(peer->cloud, 3, false, 0, &release, &err),
                     STATUS_NOT_FOUND);
    peer_finish(peer);
}

/* A cloud that knows no devices says 400 to the question once, and is not asked so again. */
static void test_an_older_cloud_is_asked_without_the_device(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release;
    peer->answer[0] = "HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer->answer[1] = peer->answer[2] = json_answer("{\"deltas\":[]}");
    peer_start(peer);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cloud_next_release(peer->cloud, 2, false, 5, &release, NULL),
                         STATUS_NOT_FOUND);
    peer_finish(peer);
    assert_non_null(strstr(peer->asked[0], "GET /deltas?after=2&device=test&wait=5 "));
    assert_non_null(strstr(peer->asked[1], "GET /deltas?after=2&wait=5 "));
    assert_non_null(strstr(peer->asked[2], "GET /deltas?after=2&wait=5 "));
}

/* A version that is left alone can be passed over. */
static void test_a_patch_over_several_versions(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release;
    struct buf manifest = {.max = 4096};
    struct err err = {0};
    int64_t received;
    peer->answer[0] = json_answer(
        "{\"deltas\":[{\"version\":6,\"base_version\":3,\"size\":5,\"sha256\":\"" HASH_A "\"}]}");
    peer->answer[1] = json_answer("{}");
    peer->answer[2] = json_answer("bytes");
    peer_start(peer);
    if (cloud_next_release(peer->cloud, 3, true, 1, &release, &err) != STATUS_OK ||
        cloud_manifest(peer->cloud, 6, 3, &manifest, &err) != STATUS_OK ||
        cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    peer_finish(peer);
    buf_free(&manifest);
    assert_int_equal(release.version, 6);
    assert_non_null(strstr(peer->asked[0], "GET /deltas?after=3&device=test&squash=1&wait=1 "));
    assert_non_null(strstr(peer->asked[1], "GET /deltas/6/manifest?from=3 "));
    assert_non_null(strstr(peer->asked[2], "GET /deltas/6?from=3 "));
}

static void test_what_a_device_says_about_itself(void **state)
{
    struct peer *peer = *state;
    struct hash key = {{7}};
    peer->answer[0] = json_answer("{}");
    peer->answer[1] = "HTTP/1.1 204 None\r\nConnection: close\r\n\r\n";
    peer->answer[2] = "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer_start(peer);
    assert_int_equal(cloud_put_device(peer->cloud, "{\"a\":1}", 7, NULL), STATUS_OK);
    assert_int_equal(cloud_feedback(peer->cloud, "{}", 2, &key, NULL), STATUS_OK);
    assert_int_equal(cloud_feedback(peer->cloud, "{}", 2, &key, NULL), STATUS_NOT_FOUND);
    peer_finish(peer);
    assert_non_null(strstr(peer->asked[0], "PUT /devices/test "));
    assert_non_null(strstr(peer->asked[0], "{\"a\":1}"));
    assert_non_null(strstr(peer->asked[1], "POST /devices/test/feedback "));
    assert_non_null(strstr(peer->asked[1], "Idempotency-Key: 0700"));
    assert_non_null(strstr(peer->asked[1], "Content-Type: application/json"));
}

static void test_unreadable_lists_are_the_peers_fault(void **state)
{
    static const char *const bad[] = {
        "",
        "[",
        "{\"deltas\":1}",
        "{\"deltas\":[{\"version\":-1,\"base_version\":0,\"size\":9,\"sha256\":\"" HASH_A "\"}]}",
        "{\"deltas\":[{\"version\":1,\"base_version\":0,\"size\":9,\"sha256\":\"xyz\"}]}",
        "{\"deltas\":[{\"version\":1,\"base_version\":0,\"size\":99999999999,\"sha256\":\"" HASH_A
        "\"}]}"};
    struct peer *peer = *state;
    struct cloud_release release;
    for (int i = 1; i < 6; i++)
        peer->answer[i - 1] = json_answer(bad[i]);
    peer->answer[5] = "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    peer_start(peer);
    for (int i = 1; i <= 6; i++) {
        struct err err = {0};
        assert_int_equal(cloud_next_release(peer->cloud, 0, false, 0, &release, &err), STATUS_PEER);
        assert_non_null(strstr(err.text, "/deltas"));
    }
    peer_finish(peer);
}

static void expect_file(const struct peer *peer, const char *text)
{
    struct buf bytes = {.max = 4096};
    assert_int_equal(io_read_file(io_posix(), peer->file, &bytes, NULL), STATUS_OK);
    assert_int_equal(bytes.len, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.len);
    buf_free(&bytes);
}

static void test_a_cut_download_goes_on_by_range(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release = {.version = 1, .size = 10};
    int64_t received;
    peer->answer[0] = OK_HEAD "10\r\n\r\n0123";
    peer->answer[1] = "HTTP/1.1 206 Partial\r\nConnection: close\r\nContent-Length: 6\r\n"
                      "Content-Range: bytes 4-9/10\r\n\r\n456789";
    peer_start(peer);
    assert_int_equal(cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, NULL),
                     STATUS_UNREACHABLE);
    expect_file(peer, "0123");
    assert_int_equal(cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, NULL),
                     STATUS_OK);
    assert_int_equal(received, 6);
    peer_finish(peer);
    expect_file(peer, "0123456789");
    assert_non_null(strstr(peer->asked[1], "Range: bytes=4-"));
    /* whole already: nobody is asked */
    assert_int_equal(cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, NULL),
                     STATUS_OK);
}

static void test_a_server_without_ranges_starts_over(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release = {.version = 1, .size = 10};
    int64_t received;
    peer->answer[0] = OK_HEAD "10\r\n\r\n0123";
    peer->answer[1] = OK_HEAD "10\r\n\r\nabcdefghij";
    peer_start(peer);
    cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, NULL);
    assert_int_equal(cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, NULL),
                     STATUS_OK);
    peer_finish(peer);
    expect_file(peer, "abcdefghij");
}

static void test_an_endless_download_stops_at_the_declared_size(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release = {.version = 1, .size = 10};
    struct err err = {0};
    int64_t received;
    peer->answer[0] = OK_HEAD "20\r\n\r\n01234567890123456789";
    peer_start(peer);
    assert_int_equal(cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, &err),
                     STATUS_PEER);
    peer_finish(peer);
    assert_non_null(strstr(err.text, "more bytes"));
    assert_false(io_exists(peer->file));
}

static void test_an_error_answer_is_not_kept_as_the_file(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release = {.version = 1, .size = 1000};
    int64_t received;
    peer->answer[0] = "HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 4\r\n\r\noops";
    peer_start(peer);
    assert_int_equal(cloud_fetch(peer->cloud, io_posix(), &release, peer->file, &received, NULL),
                     STATUS_PEER);
    peer_finish(peer);
    assert_false(io_exists(peer->file));
}

static void test_a_full_disk_is_said_to_be_one(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release = {.version = 1, .size = 10};
    struct fault_io fault = fault_io_make(1, ENOSPC); /* the open goes well, the write does not */
    struct err err = {0};
    int64_t received;
    peer->answer[0] = OK_HEAD "10\r\n\r\n0123456789";
    peer_start(peer);
    assert_int_equal(cloud_fetch(peer->cloud, &fault.io, &release, peer->file, &received, &err),
                     STATUS_DISK_FULL);
    peer_finish(peer);
    assert_non_null(strstr(err.text, peer->file));
}

static void test_a_stop_breaks_off_a_long_poll(void **state)
{
    struct peer *peer = *state;
    struct cloud_release release;
    stop_request(); /* nobody accepts: the call would hang until its timeout */
    assert_int_equal(cloud_next_release(peer->cloud, 0, false, 30, &release, NULL),
                     STATUS_CANCELLED);
    stop_clear();
}

static void test_rounds(void **state)
{
    struct peer *peer = *state;
    struct cloud_round round;
    int64_t id;
    peer->answer[0] = json_answer("{\"id\": 4, \"state\": \"queued\"}");
    peer->answer[1] = json_answer("{\"id\": 4, \"state\": \"running\"}");
    peer->answer[2] = json_answer("{\"rounds\": [{\"id\": 4, \"state\": \"rejected\"}]}");
    peer->answer[3] = json_answer("{\"rounds\": []}");
    peer_start(peer);
    assert_int_equal(cloud_distill(peer->cloud, &id, NULL), STATUS_OK);
    assert_int_equal(id, 4);
    assert_int_equal(cloud_round(peer->cloud, 4, &round, NULL), STATUS_OK);
    assert_false(round.over);
    assert_int_equal(cloud_round(peer->cloud, 0, &round, NULL), STATUS_OK);
    assert_true(round.over);
    assert_int_equal(cloud_round(peer->cloud, 0, &round, NULL), STATUS_NOT_FOUND);
    peer_finish(peer);
    assert_non_null(strstr(peer->asked[0], "POST /distill "));
    assert_non_null(strstr(peer->asked[1], "GET /distill/4 "));
}

#define CLOUD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOUD_TEST(test_an_upload_names_its_content),
        CLOUD_TEST(test_statuses_say_whether_to_try_again),
        CLOUD_TEST(test_a_device_that_is_turned_away_tries_again),
        CLOUD_TEST(test_the_token_is_the_files_at_every_call),
        CLOUD_TEST(test_a_token_does_not_travel_unencrypted),
        CLOUD_TEST(test_a_large_body_waits_to_be_welcome),
        CLOUD_TEST(test_enrolment_is_asked_for_by_code_and_nonce),
        CLOUD_TEST(test_urls),
        CLOUD_TEST(test_only_this_machine_is_loopback),
        CLOUD_TEST(test_an_endless_envelope_is_broken_off),
        CLOUD_TEST(test_the_next_release_goes_on_from_ours),
        CLOUD_TEST(test_an_older_cloud_is_asked_without_the_device),
        CLOUD_TEST(test_a_patch_over_several_versions),
        CLOUD_TEST(test_what_a_device_says_about_itself),
        CLOUD_TEST(test_unreadable_lists_are_the_peers_fault),
        CLOUD_TEST(test_a_cut_download_goes_on_by_range),
        CLOUD_TEST(test_a_server_without_ranges_starts_over),
        CLOUD_TEST(test_an_endless_download_stops_at_the_declared_size),
        CLOUD_TEST(test_an_error_answer_is_not_kept_as_the_file),
        CLOUD_TEST(test_a_full_disk_is_said_to_be_one),
        CLOUD_TEST(test_a_stop_breaks_off_a_long_poll),
        CLOUD_TEST(test_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
