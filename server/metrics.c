/* See metrics.h. */
#include "server/metrics.h"
#include "api/base/clock.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CELLS = 512, ROUTES = 64, BUCKETS = 10, STATES = 4 };

static const double request_bounds[BUCKETS] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60};
static const double round_bounds[BUCKETS] = {1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400};
static const char *const states[STATES] = {"released", "rejected", "cancelled", "failed"};

struct histogram {
    uint64_t bucket[BUCKETS + 1]; /* the last: above every bound */
    double sum;
};

/* Requests of one label set. */
struct cell {
    const char *route, *method; /* static texts */
    int code;
    uint64_t count;
};

struct metrics {
    int64_t started_s;    /* wall clock */
    pthread_mutex_t lock; /* guards what follows */
    struct cell cells[CELLS];
    int cell_count;
    const char *routes[ROUTES];
    struct histogram durations[ROUTES];
    int route_count;
    uint64_t uploads[2], upload_bytes; /* stored, repeated */
    uint64_t rounds[STATES];
    struct histogram round_seconds;
};

enum status metrics_create(struct metrics **out, struct err *err)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    metrics->started_s = clock_wall_ms() / 1000;
    pthread_mutex_init(&metrics->lock, NULL);
    *out = metrics;
    return STATUS_OK;
}

void metrics_destroy(struct metrics *metrics)
{
    if (!metrics)
        return;
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* ---- counting ---- */

static void histogram_add(struct histogram *histogram, const double *bounds, double value)
{
    int i = 0;
    while (i < BUCKETS && value > bounds[i])
        i++;
    histogram->bucket[i]++;
    histogram->sum += value;
}

static const char *method_label(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], method) == 0)
            return known[i];
    return "other";
}

/* Its histogram; NULL when there are too many routes. */
static struct histogram *route_find(struct metrics *metrics, const char *route)
{
    int i = 0;
    while (i < metrics->route_count && strcmp(metrics->routes[i], route) != 0)
        i++;
    if (i == ROUTES)
        return NULL;
    if (i == metrics->route_count)
        metrics->routes[metrics->route_count++] = route;
    return &metrics->durations[i];
}

static void cell_count(struct metrics *metrics, const char *route, const char *method, int code)
{
    struct cell *cell = metrics->cells, *end = cell + metrics->cell_count;
    while (cell < end &&
           (cell->code != code || cell->method != method || strcmp(cell->route, route) != 0))
        cell++;
    if (cell == metrics->cells + CELLS)
        return;
    if (cell == end) {
        *cell = (struct cell){route, method, code, 0};
        metrics->cell_count++;
    }
    cell->count++;
}

void metrics_request(struct metrics *metrics, const struct http_seen *seen)
{
    if (!metrics)
        return;
    pthread_mutex_lock(&metrics->lock);
    cell_count(metrics, seen->route, method_label(seen->method), seen->status);
    struct histogram *durations = seen->stream ? NULL : route_find(metrics, seen->route);
    if (durations)
        histogram_add(durations, request_bounds, seen->seconds);
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_upload(struct metrics *metrics, int64_t bytes, bool repeated)
{
    if (!metrics)
        return;
    pthread_mutex_lock(&metrics->lock);
    metrics->uploads[repeated]++;
    if (!repeated)
        metrics->upload_bytes += (uint64_t)bytes;
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_round(struct metrics *metrics, const char *state, double seconds)
{
    if (!metrics)
        return;
    pthread_mutex_lock(&metrics->lock);
    for (int i = 0; i < STATES; i++)
        metrics->rounds[i] += strcmp(states[i], state) == 0;
    histogram_add(&metrics->round_seconds, round_bounds, seconds);
    pthread_mutex_unlock(&metrics->lock);
}

/* ---- writing ---- */

static bool head(struct buf *out, const char *name, const char *type, const char *help)
{
    return buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type) == STATUS_OK;
}

static bool number(struct buf *out, const char *name, const char *type, const char *help,
                   double value)
{
    return head(out, name, type, help) && buf_printf(out, "%s %.17g\n", name, value) == STATUS_OK;
}

/* labels: "" or "route=\"/tokens\"," */
static bool histogram_write(struct buf *out, const char *name, const char *labels,
                            const double *bounds, const struct histogram *histogram)
{
    uint64_t count = 0;
    bool fine = true;
    for (int i = 0; i <= BUCKETS && fine; i++) {
        char bound[32] = "+Inf";
        count += histogram->bucket[i];
        if (i < BUCKETS)
            snprintf(bound, sizeof bound, "%g", bounds[i]);
        fine = buf_printf(out, "%s_bucket{%sle=\"%s\"} %" PRIu64 "\n", name, labels, bound,
                          count) == STATUS_OK;
    }
    int len = (int)strlen(labels);
    const char *open = len ? "{" : "", *close = len ? "}" : "";
    len -= len > 0; /* without its comma */
    return fine && buf_printf(out, "%s_sum%s%.*s%s %.17g\n%s_count%s%.*s%s %" PRIu64 "\n", name,
                              open, len, labels, close, histogram->sum, name, open, len, labels,
                              close, count) == STATUS_OK;
}

static bool requests_write(struct metrics *metrics, struct buf *out)
{
    static const char name[] = "cdcca_http_request_duration_seconds";
    bool fine = head(out, "cdcca_http_requests_total", "counter",
                     "Requests that are over; code 0: the client went before an answer.");
    for (int i = 0; i < metrics->cell_count && fine; i++) {
        const struct cell *cell = &metrics->cells[i];
        fine = buf_printf(out,
                          "cdcca_http_requests_total{route=\"%s\",method=\"%s\",code=\"%d\"} "
                          "%" PRIu64 "\n",
                          cell->route, cell->method, cell->code, cell->count) == STATUS_OK;
    }
    fine = fine && head(out, name, "histogram", "From a request's first line to its answer's end.");
    for (int i = 0; i < metrics->route_count && fine; i++) {
        char labels[96];
        snprintf(labels, sizeof labels, "route=\"%.80s\",", metrics->routes[i]);
        fine = histogram_write(out, name, labels, request_bounds, &metrics->durations[i]);
    }
    return fine;
}

static bool work_write(struct metrics *metrics, struct buf *out)
{
    bool fine = head(out, "cdcca_uploads_total", "counter", "Uploads acknowledged.") &&
                buf_printf(out,
                           "cdcca_uploads_total{result=\"stored\"} %" PRIu64 "\n"
                           "cdcca_uploads_total{result=\"repeated\"} %" PRIu64 "\n",
                           metrics->uploads[0], metrics->uploads[1]) == STATUS_OK &&
                number(out, "cdcca_upload_bytes_total", "counter", "Bytes of uploads stored.",
                       (double)metrics->upload_bytes) &&
                head(out, "cdcca_rounds_total", "counter", "Rounds that are over, by their end.");
    for (int i = 0; i < STATES && fine; i++)
        fine = buf_printf(out, "cdcca_rounds_total{state=\"%s\"} %" PRIu64 "\n", states[i],
                          metrics->rounds[i]) == STATUS_OK;
    return fine &&
           head(out, "cdcca_round_seconds", "histogram", "From a round's start to its end.") &&
           histogram_write(out, "cdcca_round_seconds", "", round_bounds, &metrics->round_seconds);
}

static bool gauges_write(const struct metrics_gauges *now, struct buf *out)
{
    const struct gauge {
        const char *name, *type, *help;
        int64_t value;
    } gauges[] = {
        {"cdcca_round_running", "gauge", "1 while a round is under way.", now->round_running},
        {"cdcca_instances_new", "gauge", "Instances that no round has used.", now->uploads_new},
        {"cdcca_release_version", "gauge", "The newest release; 0: none.", now->release_version},
        {"cdcca_release_bytes", "gauge", "Size of its patch.", now->release_bytes},
        {"cdcca_connections", "gauge", "Open connections.", now->http.connections},
        {"cdcca_parked_requests", "gauge", "Long polls that wait.", now->http.parked},
        {"cdcca_event_streams", "gauge", "Open event streams.", now->http.streams},
        {"cdcca_write_queue_depth", "gauge", "Writes that wait for a commit.", now->writes_waiting},
        {"cdcca_write_groups_total", "counter", "Commits, each of a group of writes.",
         now->write_groups},
        {"cdcca_writes_total", "counter", "Writes in them.", now->writes},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++)
        if (!number(out, gauges[i].name, gauges[i].type, gauges[i].help, (double)gauges[i].value))
            return false;
    return head(out, "cdcca_devices", "gauge", "Devices, by their health.") &&
           buf_printf(out,
                      "cdcca_devices{health=\"ok\"} %" PRId64 "\n"
                      "cdcca_devices{health=\"failing\"} %" PRId64 "\n"
                      "cdcca_devices{health=\"silent\"} %" PRId64 "\n",
                      now->devices_ok, now->devices_failing, now->devices_silent) == STATUS_OK;
}

/* The second number of statm, in pages. */
static int64_t resident_bytes(void)
{
    char line[128], *end = line;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    bool read = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    if (!read || strtol(line, &end, 10) <= 0)
        return 0;
    return strtol(end, NULL, 10) * (int64_t)sysconf(_SC_PAGESIZE);
}

static bool process_write(const struct metrics *metrics, struct buf *out)
{
    struct rusage used = {0};
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    return number(out, "process_resident_memory_bytes", "gauge", "Memory in use.",
                  (double)resident_bytes()) &&
           number(out, "process_cpu_seconds_total", "counter", "Processor time.", cpu) &&
           number(out, "process_start_time_seconds", "gauge", "Start, since 1970.",
                  (double)metrics->started_s) &&
           head(out, "cdcca_build_info", "gauge", "The program.") &&
           buf_printf(out, "cdcca_build_info{version=\"%s\"} 1\n", CDCCA_VERSION) == STATUS_OK;
}

enum status metrics_write(struct metrics *metrics, const struct metrics_gauges *now,
                          struct buf *out, struct err *err)
{
    pthread_mutex_lock(&metrics->lock);
    bool fine = requests_write(metrics, out) && work_write(metrics, out);
    pthread_mutex_unlock(&metrics->lock);
    if (fine && gauges_write(now, out) && process_write(metrics, out))
        return STATUS_OK;
    return err_set(err, STATUS_NO_MEMORY, "out of memory");
}
