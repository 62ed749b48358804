/* A fleet in one process: net_fleet PORT PAYLOAD AGENTS STEADY_SECONDS
 *
 * AGENTS agents, each with an uplink and a downlink that keep the agent's schedule
 * (client/uplink.c, client/downlink.c, client/backoff.h): a long poll of two seconds after another,
 * never more than one a second; an upload every eight seconds, kept until it is acknowledged; after
 * a failure the backoff's wait. After STEADY_SECONDS it prints "steady"; then somebody takes the
 * service away for a while and brings it back. Ends when every agent has heard of it again and
 * every upload is acknowledged.
 *
 * Holds that the most requests in a second after the return are at most twice the steady rate, and
 * that the service has every upload that was made, once. */
#include "api/base/clock.h"
#include "client/backoff.h"
#include "upload.h"
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    AGENTS_MAX = 2000,
    POLL_S = 2,
    IDLE_MS = 1000,
    UPLOAD_EVERY_MS = 8000,
    STEP_MS = 20,
    SETTLE_MS = 2500, /* of the start, before the rate is steady */
    PATIENCE_MS = 1200000,
    SECONDS_MAX = 2000
};

enum phase { PHASE_STEADY, PHASE_AWAY, PHASE_BACK };

/* One direction of one agent. */
struct line {
    CURL *curl;
    struct backoff backoff;
    bool busy, uplink, heard; /* heard: since the return */
    bool paced;               /* uplink: it failed, and what piled up is not all sent */
    int64_t due_ms, asked_ms;
    int backlog;     /* uplink: made and not acknowledged */
    int64_t make_ms; /* when the next upload is made */
    unsigned number; /* of the oldest in the backlog */
    char *body;      /* what is under way */
    char device[16];
};

struct fleet {
    CURLM *multi;
    struct upload upload;
    struct line *line;
    int lines;
    unsigned made, acknowledged;
    enum phase phase;
    bool making;
    int64_t start_ms, away_ms, back_ms;
    int per_second[SECONDS_MAX];
    char uploads_url[64], deltas_url[96];
    struct curl_slist *headers;
};

static size_t discard(char *data, size_t size, size_t count, void *ctx)
{
    (void)data, (void)ctx;
    return size * count;
}

/* ---- asking ---- */

static void request_count(struct fleet *fleet)
{
    int64_t second = (clock_monotonic_ms() - fleet->start_ms) / 1000;
    if (second < SECONDS_MAX)
        fleet->per_second[second]++;
}

static void line_ask(struct fleet *fleet, struct line *line)
{
    if (line->uplink) {
        upload_copy(&fleet->upload, line->number, line->body);
        curl_easy_setopt(line->curl, CURLOPT_POSTFIELDS, line->body + fleet->upload.head_len);
    }
    line->busy = true;
    line->asked_ms = clock_monotonic_ms();
    request_count(fleet);
    curl_multi_add_handle(fleet->multi, line->curl);
}

/* Numbers are given when an upload's turn comes; an upload that is tried again keeps its own. */
static void line_step(struct fleet *fleet, struct line *line, int64_t now)
{
    if (line->uplink && fleet->making && now >= line->make_ms) {
        line->make_ms += UPLOAD_EVERY_MS;
        fleet->made++;
        line->backlog++;
    }
    if (!line->busy && now >= line->due_ms && (!line->uplink || line->backlog > 0))
        line_ask(fleet, line);
}

/* ---- hearing ---- */

/* answered: it said "later". */
static void line_failed(struct fleet *fleet, struct line *line, bool answered, int64_t now)
{
    curl_off_t retry_s = 0;
    curl_easy_getinfo(line->curl, CURLINFO_RETRY_AFTER, &retry_s);
    line->due_ms = now + backoff_next(&line->backoff, retry_s * 1000);
    line->paced = true;
    if (answered || fleet->phase != PHASE_STEADY)
        return;
    fleet->phase = PHASE_AWAY;
    fleet->away_ms = now;
}

static void line_answered(struct fleet *fleet, struct line *line, int64_t now)
{
    backoff_reset(&line->backoff);
    line->heard = fleet->phase == PHASE_BACK;
    line->due_ms = now;
    if (line->uplink) {
        line->backlog--;
        line->number += (unsigned)fleet->lines;
        fleet->acknowledged++;
        line->paced = line->paced && line->backlog > 0;
        line->due_ms = now + (line->paced ? BACKOFF_PACE_MS : 0);
    } else if (now - line->asked_ms < IDLE_MS) {
        line->due_ms = line->asked_ms + IDLE_MS;
    }
}

static void line_done(struct fleet *fleet, struct line *line, CURLcode code)
{
    long status = 0;
    int64_t now = clock_monotonic_ms();
    curl_multi_remove_handle(fleet->multi, line->curl);
    curl_easy_getinfo(line->curl, CURLINFO_RESPONSE_CODE, &status);
    line->busy = false;
    bool ok = code == CURLE_OK && status / 100 == 2;
    if (ok && fleet->phase == PHASE_AWAY && line->asked_ms > fleet->away_ms) {
        fleet->phase = PHASE_BACK;
        fleet->back_ms = now;
    }
    if (ok)
        line_answered(fleet, line, now);
    else
        line_failed(fleet, line, code == CURLE_OK, now);
}

static void fleet_step(struct fleet *fleet)
{
    int running = 0, waiting = 0;
    int64_t now = clock_monotonic_ms();
    for (int i = 0; i < fleet->lines; i++)
        line_step(fleet, &fleet->line[i], now);
    curl_multi_perform(fleet->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(fleet->multi, &waiting)) != NULL;) {
        struct line *line = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&line);
        line_done(fleet, line, code);
    }
    curl_multi_poll(fleet->multi, NULL, 0, STEP_MS, NULL);
}

static bool fleet_is_whole(const struct fleet *fleet)
{
    for (int i = 0; i < fleet->lines; i++)
        if (fleet->line[i].backlog > 0 || (!fleet->line[i].uplink && !fleet->line[i].heard))
            return false;
    return fleet->phase == PHASE_BACK;
}

/* ---- life ---- */

static void line_open(struct fleet *fleet, struct line *line, int i)
{
    struct rng rng;
    rng_init(&rng, 7, (uint64_t)i);
    backoff_init(&line->backoff, (uint64_t)i);
    line->uplink = i % 2 == 1;
    line->curl = curl_easy_init();
    line->number = (unsigned)i;
    line->body = line->uplink ? malloc(fleet->upload.len) : NULL;
    if (!line->curl || (line->uplink && !line->body))
        exit(1);
    line->due_ms = fleet->start_ms + rng_below(&rng, POLL_S * 1000);
    line->make_ms = fleet->start_ms + rng_below(&rng, UPLOAD_EVERY_MS);
    curl_easy_setopt(line->curl, CURLOPT_PRIVATE, line);
    curl_easy_setopt(line->curl, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(line->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(line->curl, CURLOPT_URL,
                     line->uplink ? fleet->uploads_url : fleet->deltas_url);
    if (!line->uplink)
        return;
    curl_easy_setopt(line->curl, CURLOPT_HTTPHEADER, fleet->headers);
    curl_easy_setopt(line->curl, CURLOPT_POSTFIELDSIZE,
                     (long)(fleet->upload.len - fleet->upload.head_len));
}

static void fleet_open(struct fleet *fleet, int port, int agents)
{
    snprintf(fleet->uploads_url, sizeof fleet->uploads_url, "http://127.0.0.1:%d/tokens", port);
    snprintf(fleet->deltas_url, sizeof fleet->deltas_url, "http://127.0.0.1:%d/deltas?wait=%d",
             port, POLL_S);
    fleet->headers = curl_slist_append(NULL, "Content-Type: application/x-safetensors");
    fleet->multi = curl_multi_init();
    fleet->lines = 2 * agents;
    fleet->line = calloc((size_t)fleet->lines, sizeof *fleet->line);
    if (!fleet->multi || !fleet->line)
        exit(1);
    curl_multi_setopt(fleet->multi, CURLMOPT_MAXCONNECTS, (long)fleet->lines);
    fleet->start_ms = clock_monotonic_ms();
    fleet->making = true;
    for (int i = 0; i < fleet->lines; i++)
        line_open(fleet, &fleet->line[i], i);
}

static void fleet_close(struct fleet *fleet)
{
    for (int i = 0; i < fleet->lines; i++) {
        curl_multi_remove_handle(fleet->multi, fleet->line[i].curl);
        curl_easy_cleanup(fleet->line[i].curl);
        free(fleet->line[i].body);
    }
    curl_multi_cleanup(fleet->multi);
    curl_slist_free_all(fleet->headers);
    free(fleet->line);
    upload_close(&fleet->upload);
}

static double steady_rate(const struct fleet *fleet, int64_t steady_ms)
{
    int first = SETTLE_MS / 1000 + 1, last = (int)(steady_ms / 1000), sum = 0;
    for (int s = first; s < last; s++)
        sum += fleet->per_second[s];
    return (double)sum / (last - first);
}

static int peak_after_return(const struct fleet *fleet)
{
    int64_t first = (fleet->back_ms - fleet->start_ms) / 1000;
    int peak = 0;
    for (int64_t s = first; s < SECONDS_MAX; s++)
        peak = fleet->per_second[s] > peak ? fleet->per_second[s] : peak;
    return peak;
}

int main(int argc, char **argv)
{
    static struct fleet fleet;
    struct rlimit files = {0};
    int agents = argc == 5 ? atoi(argv[3]) : 0;
    if (agents < 1 || agents > AGENTS_MAX || atoi(argv[4]) < 5)
        return fprintf(stderr, "usage: net_fleet PORT PAYLOAD AGENTS STEADY_SECONDS(>=5)\n"), 2;
    int64_t steady_ms = atoll(argv[4]) * 1000;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    upload_open(&fleet.upload, argv[2]);
    fleet_open(&fleet, atoi(argv[1]), agents);
    while (clock_monotonic_ms() - fleet.start_ms < steady_ms)
        fleet_step(&fleet);
    double steady = steady_rate(&fleet, steady_ms);
    bool ok = fleet.phase == PHASE_STEADY;
    puts(ok ? "steady" : "the service was away too early");
    fflush(stdout);
    while (ok && !fleet_is_whole(&fleet)) {
        fleet.making = fleet.phase != PHASE_BACK;
        fleet_step(&fleet);
        ok = clock_monotonic_ms() - fleet.start_ms < PATIENCE_MS;
    }
    int peak = peak_after_return(&fleet);
    long stored = uploads_count(atoi(argv[1]));
    printf(
        "%d agents: %.0f requests a second steadily, %d at most after the return; uploads made %u, "
        "acknowledged %u, stored %ld\n",
        agents, steady, peak, fleet.made, fleet.acknowledged, stored);
    ok = ok && peak <= 2 * steady && fleet.acknowledged == fleet.made && stored == fleet.made;
    fleet_close(&fleet);
    return ok ? 0 : 1;
}
