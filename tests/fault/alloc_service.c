/* alloc_service DIR [MOST]: requests through the whole stack (HTTP, routes, writer, store) with
 * each allocation of the process failing in turn; DIR holds the tiny models of make_tiny. A request
 * is answered, or its connection closed; the service lives on and serves the same request
 * afterwards; an upload that was answered with 201 is there. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/http/listen.h"
#include "server/routes.h"
#include "server/shared.h"
#include "tests/fault/alloc_fault.h"
#include "tests/unit/http_client.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { BODY = 64 << 10 };

struct service {
    struct cloud cloud;
    struct http *http;
    int port;
    char request[BODY], answer[ANSWER];
    size_t request_len;
    char *device; /* in the request: the five digits of its name */
};

static enum status service_open(struct service *service, const char *dir, struct err *err)
{
    struct cloud *cloud = &service->cloud;
    char data[512], teacher[512], student[512], bound[LISTEN_TEXT];
    struct http_config config = http_defaults();
    int fd = -1;
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(teacher, sizeof teacher, "%s/teacher", dir);
    snprintf(student, sizeof student, "%s/student", dir);
    struct learner_config learner = {.io = io_posix(),
                                     .data_dir = data,
                                     .teacher_dir = teacher,
                                     .student_dir = student,
                                     .threads = 1};
    cloud->io = io_posix();
    TRY(listen_open("127.0.0.1:0", &fd, bound, err));
    TRY(events_create(&cloud->events, err));
    TRY(metrics_create(&cloud->metrics, err));
    TRY(store_open(cloud->io, data, &cloud->store, err));
    TRY(quota_create(cloud->store, (int64_t)1 << 40, &cloud->quota, err));
    TRY(learner_create(&learner, &cloud->learner, err));
    TRY(learner_restore(cloud->learner, cloud->store, err));
    TRY(writer_create(cloud->store, 64, &cloud->writer, err));
    struct fleet_config fleet = {.store = cloud->store, .silent_ms = 900000, .data_dir = data};
    TRY(fleet_create(&fleet, &cloud->fleet, err));
    struct rounds_config rounds = {.store = cloud->store, .learner = cloud->learner};
    TRY(rounds_create(&rounds, &cloud->rounds, err));
    config.routes = routes;
    config.app = cloud;
    config.threads = 1;
    config.connections = 16;
    service->port = atoi(strrchr(bound, ':') + 1);
    TRY(http_start(&config, fd, &service->http, err));
    atomic_store(&cloud->http, service->http);
    return STATUS_OK;
}

static void service_close(struct service *service)
{
    struct cloud *cloud = &service->cloud;
    http_drain(service->http, 2000);
    writer_destroy(cloud->writer);
    http_stop(service->http);
    fleet_destroy(cloud->fleet);
    rounds_destroy(cloud->rounds);
    learner_destroy(cloud->learner);
    quota_destroy(cloud->quota);
    store_close(cloud->store);
    events_destroy(cloud->events);
    metrics_destroy(cloud->metrics);
}

/* The status; 0 when the connection was closed without an answer, -1 when neither happened. */
static int ask(struct service *service, const char *request, size_t len)
{
    int fd = client_connect(service->port);
    if (fd < 0)
        return -1;
    client_send(fd, request, len);
    bool closed = client_read(fd, service->answer, PATIENCE_MS);
    close(fd);
    if (!closed)
        return -1;
    return strncmp(service->answer, "HTTP/1.1 ", 9) == 0 ? atoi(service->answer + 9) : 0;
}

static int ask_text(struct service *service, const char *request)
{
    return ask(service, request, strlen(request));
}

/* 0, 503 and 500 are honest answers to a lack of memory; what the client did is not to blame. */
static bool honest(int status, int good, bool faulty)
{
    return status == good || (faulty && (status == 0 || status / 100 == 5));
}

/* ---- scenarios ---- */

static bool get_run(struct service *service, const char *target, bool faulty)
{
    char request[128];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" END, target);
    int status = ask_text(service, request);
    alloc_disarm();
    int again = ask_text(service, request);
    if (honest(status, 200, faulty) && again == 200)
        return true;
    printf("GET %s: %d, then %d\n%s\n", target, status, again, service->answer);
    return false;
}

static bool deltas_run(void *service, bool faulty)
{
    return get_run(service, "/deltas?after=0", faulty);
}

static bool metrics_run(void *service, bool faulty)
{
    return get_run(service, "/metrics", faulty);
}

static bool model_run(void *ctx, bool faulty)
{
    return get_run(ctx, "/model", faulty);
}

/* The upload is deleted at the end, so that the next one is stored anew; each is another device's,
 * because one has a quota. */
static bool post_run(void *ctx, bool faulty)
{
    static unsigned count;
    struct service *service = ctx;
    unsigned left = ++count;
    for (int i = 4; i >= 0; i--, left /= 10)
        service->device[i] = (char)('0' + left % 10);
    int status = ask(service, service->request, service->request_len);
    alloc_disarm();
    int again = ask(service, service->request, service->request_len);
    const char *id = strstr(service->answer, "/tokens/");
    bool kept = again == 200 || (again == 201 && status != 201 && status != 200);
    if (honest(status, 201, faulty) && kept && id) {
        char request[128];
        snprintf(request, sizeof request, "DELETE /tokens/%d HTTP/1.1\r\n" END, atoi(id + 8));
        if (ask_text(service, request) == 204)
            return true;
    }
    printf("POST /tokens: %d, then %d\n%s\n", status, again, service->answer);
    return false;
}

static bool request_read(struct service *service, const char *path, const char *type)
{
    static char body[BODY / 2];
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t len = fread(body, 1, sizeof body, file);
    fclose(file);
    int head = snprintf(service->request, sizeof service->request,
                        "POST /tokens HTTP/1.1\r\nContent-Type: %s\r\nIdempotency-Key: k\r\n"
                        "Content-Length: %zu\r\n" END,
                        type, len);
    memcpy(service->request + head, body, len);
    service->request_len = (size_t)head + len;
    service->device = memmem(service->request, service->request_len, "alloc-00000", 11);
    if (service->device)
        service->device += 6;
    return service->device && len < sizeof body;
}

static bool posts_torture(struct service *service, const char *dir, long most)
{
    static const char *const forms[][2] = {{"upload.safetensors", "application/x-safetensors"},
                                           {"upload.json", "application/json"}};
    bool fine = true;
    for (int i = 0; i < 2 && fine; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, forms[i][0]);
        fine = request_read(service, path, forms[i][1]) &&
               alloc_torture(forms[i][1], post_run, service, most);
    }
    return fine;
}

int main(int argc, char **argv)
{
    static struct service service;
    struct err err = {0};
    long most = argc > 2 ? atol(argv[2]) : 100;
    signal(SIGPIPE, SIG_IGN);
    alloc_hooks();
    log_set_level(LOG_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || service_open(&service, argv[1], &err) != STATUS_OK)
        return fprintf(stderr, "alloc_service DIR [MOST]: %s\n", err.text), 1;
    bool fine = posts_torture(&service, argv[1], most) &&
                alloc_torture("GET /deltas", deltas_run, &service, most) &&
                alloc_torture("GET /metrics", metrics_run, &service, most) &&
                alloc_torture("GET /model", model_run, &service, most);
    service_close(&service);
    return !fine;
}
