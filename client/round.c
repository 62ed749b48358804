/* Lockstep: one segment of the stream, then one round of the cloud, and so on; what the demo and
 * the benches run. See agent_state.h. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/json.h"
#include "client/agent_state.h"
#include "client/stop.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { ROUND_WAIT_MS = 2000 };

int64_t agent_rounds_done(struct agent *a)
{
    struct board_fields fields;
    board_read_fields(&a->board, &fields);
    return fields.segment;
}

bool agent_round_is_open(struct agent *a)
{
    struct board_fields fields;
    board_read_fields(&a->board, &fields);
    return fields.seen / a->options.segment > fields.segment;
}

struct request { /* for a round of the cloud */
    bool asked;
    int64_t id; /* 0: another one's, the newest is to be followed */
    bool over;  /* nothing will come of it */
};

/* CONFLICT and the like: a round is running already, or there is nothing to learn from. */
static void round_ask(struct agent *a, struct request *request)
{
    struct err err = {0};
    switch (cloud_distill(a->cloud, &request->id, &err)) {
    case STATUS_OK:
        request->asked = true;
        break;
    case STATUS_UNREACHABLE:
    case STATUS_TIMEOUT:
    case STATUS_BUSY:
    case STATUS_PEER:
    case STATUS_UNAUTHENTICATED:
        board_note_error(&a->board, "round", err.text);
        stop_sleep_ms(ROUND_WAIT_MS);
        break;
    default:
        log_line(LOG_INFO, "round", "%s", err.text);
        request->asked = true;
        request->id = 0;
    }
}

/* A round that is over without a version after `base` will not bring one. */
static void round_follow(struct agent *a, struct request *request, int64_t base)
{
    struct err err = {0};
    struct cloud_round round = {0};
    char text[200];
    enum status status = cloud_round(a->cloud, request->id, &round, &err);
    if (status == STATUS_OK && round.over && round.version <= base)
        snprintf(text, sizeof text, "round %" PRId64 " of the cloud was %s; no new version",
                 round.id, round.state);
    else if (status == STATUS_NOT_FOUND)
        snprintf(text, sizeof text, "the cloud knows of no round; no new version");
    else
        return;
    request->over = true;
    board_note_error(&a->board, "round", text);
}

/* Until the spool is empty; false when the time is over first. */
static bool round_drain(struct agent *a, int64_t until)
{
    bool empty = false;
    while (!empty && !stop_requested() && clock_monotonic_ms() < until) {
        notify_alive(&a->notify);
        empty = uplink_drain(a->uplink, ROUND_WAIT_MS);
    }
    return empty;
}

/* Until the version after `base` is active, or the cloud's round ended without one. */
static void round_wait(struct agent *a, int64_t base)
{
    int64_t until = clock_monotonic_ms() + a->options.lockstep_timeout_s * 1000;
    struct request request = {0};
    bool done = !round_drain(a, until);
    while (!done && !stop_requested() && clock_monotonic_ms() < until) {
        notify_alive(&a->notify);
        done = downlink_wait(a->downlink, base, request.asked ? ROUND_WAIT_MS : 0);
        if (!done && !request.asked)
            round_ask(a, &request);
        else if (!done)
            round_follow(a, &request, base);
        done = done || request.over;
    }
    if (!done && !stop_requested())
        board_note_error(&a->board, "round", "no new version within the round's time; going on");
}

/* Deltas applied since the round began. */
static int64_t round_delta_bytes(const struct board_fields *f, int64_t *parameters)
{
    int64_t bytes = 0;
    *parameters = 0;
    for (int i = 0; i < f->applied_count; i++)
        if (f->applied[i].version > f->round_version) {
            bytes += f->applied[i].delta_bytes;
            *parameters += f->applied[i].parameters;
        }
    return bytes;
}

/* The most memory that this process has held; 0 where the system does not say. */
static int64_t peak_kib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : 0;
}

static void round_print(const struct board_fields *f, double seconds, double waited)
{
    struct buf line = {.max = 8192};
    int64_t parameters, delta_bytes = round_delta_bytes(f, &parameters);
    json *root = json_object_new();
    if (root && json_set_int(root, "round", f->segment + 1) &&
        json_set_int(root, "version", f->version) && json_set_string(root, "sha256", f->sha256) &&
        json_set_int(root, "instances_seen", f->seen - f->round_seen) &&
        json_set_int(root, "instances_uploaded", f->uploaded - f->round_uploaded) &&
        json_set_int(root, "uplink_bytes", f->uplink_bytes - f->round_uplink_bytes) &&
        json_set_int(root, "raw_bytes", f->raw_bytes - f->round_raw_bytes) &&
        json_set_int(root, "jpeg_bytes", f->jpeg_bytes - f->round_jpeg_bytes) &&
        json_set_int(root, "delta_bytes", delta_bytes) &&
        json_set_int(root, "parameters_updated", parameters) &&
        json_set_number(root, "seconds", seconds) &&
        json_set_number(root, "wait_seconds", waited) &&
        json_set_int(root, "peak_kib", peak_kib()) && json_print(root, false, &line) == STATUS_OK)
        printf("%.*s\n", (int)line.len, (const char *)line.data);
    fflush(stdout);
    json_free(root);
    buf_free(&line);
}

/* The next round's marks, durable. */
static void round_mark(struct agent *a)
{
    struct err err = {0};
    struct board_fields *f = board_lock(&a->board);
    f->segment++;
    f->round_version = f->version;
    f->round_seen = f->seen;
    f->round_uploaded = f->uploaded;
    f->round_uplink_bytes = f->uplink_bytes;
    f->round_raw_bytes = f->raw_bytes;
    f->round_jpeg_bytes = f->jpeg_bytes;
    snprintf(f->state, sizeof f->state, "running");
    if (board_commit(&a->board, &err) != STATUS_OK)
        log_line(LOG_WARN, "round", "%s", err.text);
}

static void round_set_waiting(struct agent *a)
{
    struct board_fields *f = board_lock(&a->board);
    snprintf(f->state, sizeof f->state, "waiting");
    if (board_commit(&a->board, NULL) != STATUS_OK)
        log_line(LOG_WARN, "round", "the notebook is not saved");
}

void agent_finish_round(struct agent *a)
{
    struct board_fields fields;
    int64_t flushed_ms = clock_monotonic_ms();
    round_set_waiting(a);
    board_read_fields(&a->board, &fields);
    round_wait(a, fields.round_version);
    if (stop_requested())
        return; /* the round stays open; a restart waits on */
    int64_t now = clock_monotonic_ms();
    board_read_fields(&a->board, &fields);
    if (a->options.json)
        round_print(&fields, (double)(now - a->round_started_ms) / 1000.0,
                    (double)(now - flushed_ms) / 1000.0);
    round_mark(a);
    a->round_started_ms = now;
}
