/* The simulated fleet: options, threads, what is printed; see simulate.h. The calling thread
 * answers, sim_answer.c; SIM_THREADS others are the devices' networks, each of the devices whose
 * number it divides. */
#include "client/simulate.h"
#include "api/base/clock.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "client/sim_answer.h"
#include "client/stop.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIM_DEVICES = 10000, SIM_THREADS = 8, SIM_STEP_MS = 5, SIM_LINE_MS = 1000, SIM_GROUPS = 8 };

struct simulate_options {
    const char *cloud, *model, *drift, *link, *classes, *channels;
    int64_t devices, duration_s, window, keep, bits, poll_s, segment, seed, threads, rounds;
    double rate, budget;
    bool json;
};

struct simulate {
    struct simulate_options options;
    char drift[256], classes[256], channels[256]; /* cut into parts */
    const char *class_of[SIM_GROUPS], *channel_of[SIM_GROUPS];
    int class_count, channel_count;
    char dir[64], model_room[4096];
    struct sim_fleet fleet;
    struct sim_device *device; /* (devices) */
    int count;                 /* so many are open */
    struct pool *pool;
    struct sim_answer answer;
    pthread_t thread[SIM_THREADS];
    int threads; /* that run */
    atomic_bool ending;
    int64_t started_ms, line_ms;
};

struct sim_lane { /* one network thread */
    struct simulate *s;
    int first;
};

/* ---- what is printed ---- */

struct totals {
    struct sim_counts sum;
    int64_t version[SIM_VERSIONS], devices[SIM_VERSIONS]; /* ascending; how many run it */
    int versions;
    int64_t lowest;
};

static void version_count(struct totals *t, int64_t version)
{
    int i = 0;
    while (i < t->versions && t->version[i] < version)
        i++;
    if (i == t->versions || t->version[i] != version) {
        size_t after = (size_t)(t->versions++ - i);
        memmove(t->version + i + 1, t->version + i, after * sizeof *t->version);
        memmove(t->devices + i + 1, t->devices + i, after * sizeof *t->devices);
        t->version[i] = version;
        t->devices[i] = 0;
    }
    t->devices[i]++;
}

static void totals_add(struct totals *t, const struct sim_counts *c)
{
    t->sum.answered += c->answered;
    t->sum.sampled += c->sampled;
    t->sum.uploaded += c->uploaded;
    t->sum.uplink_bytes += c->uplink_bytes;
    t->sum.downlink_bytes += c->downlink_bytes;
    t->sum.attempts += c->attempts;
    t->sum.lost += c->lost;
    t->sum.errors += c->errors;
    t->sum.dropped += c->dropped;
    t->sum.updates += c->updates;
    t->sum.update_s += c->update_s;
    if (c->last_error[0])
        memcpy(t->sum.last_error, c->last_error, SIM_ERROR);
    if (c->update_s_max > t->sum.update_s_max)
        t->sum.update_s_max = c->update_s_max;
}

static struct totals totals_take(struct simulate *s)
{
    struct totals t = {.lowest = INT64_MAX};
    for (int i = 0; i < s->count; i++) {
        struct sim_counts counts;
        int64_t version;
        sim_device_counts(&s->device[i], &counts, &version);
        totals_add(&t, &counts);
        version_count(&t, version);
        if (version < t.lowest)
            t.lowest = version;
    }
    return t;
}

/* A line a second; on a terminal the same one, drawn anew. */
static void line_print(struct simulate *s, const struct totals *t)
{
    FILE *out = s->options.json ? stderr : stdout;
    bool terminal = isatty(fileno(out)) == 1;
    fprintf(out,
            "%s%4" PRId64 " s  answered %" PRId64 "  uploaded %" PRId64 " of %" PRId64
            "  up %.1f KB  down %.1f KB  lost %" PRId64 "  errors %" PRId64 "  versions",
            terminal ? "\r\033[K" : "", (clock_monotonic_ms() - s->started_ms) / 1000,
            t->sum.answered, t->sum.uploaded, t->sum.sampled, (double)t->sum.uplink_bytes / 1000,
            (double)t->sum.downlink_bytes / 1000, t->sum.lost, t->sum.errors);
    for (int i = 0; i < t->versions; i++)
        fprintf(out, " %" PRId64 ":%" PRId64, t->version[i], t->devices[i]);
    fprintf(out, terminal ? "" : "\n");
    fflush(out);
}

static json *versions_json(const struct totals *t)
{
    json *list = json_array_new();
    for (int i = 0; list && i < t->versions; i++) {
        json *one = json_object_new();
        bool ok = one && json_set_int(one, "version", t->version[i]) &&
                  json_set_int(one, "devices", t->devices[i]);
        if (!json_append_take(list, one) || !ok) {
            json_free(list);
            return NULL;
        }
    }
    return list;
}

static bool summary_set(json *root, const struct simulate *s, const struct totals *t)
{
    double seconds = (double)(clock_monotonic_ms() - s->started_ms) / 1000;
    double updates = t->sum.updates ? (double)t->sum.updates : 1;
    return json_set_int(root, "devices", s->count) && json_set_number(root, "seconds", seconds) &&
           json_set_int(root, "answered", t->sum.answered) &&
           json_set_number(root, "answers_per_second", (double)t->sum.answered / seconds) &&
           json_set_int(root, "sampled", t->sum.sampled) &&
           json_set_int(root, "uploaded", t->sum.uploaded) &&
           json_set_int(root, "dropped", t->sum.dropped) &&
           json_set_int(root, "uplink_bytes", t->sum.uplink_bytes) &&
           json_set_int(root, "downlink_bytes", t->sum.downlink_bytes) &&
           json_set_int(root, "attempts", t->sum.attempts) &&
           json_set_int(root, "lost", t->sum.lost) && json_set_int(root, "errors", t->sum.errors) &&
           json_set_string(root, "last_error", t->sum.last_error) &&
           json_set_int(root, "updates", t->sum.updates) &&
           json_set_number(root, "update_seconds_mean", t->sum.update_s / updates) &&
           json_set_number(root, "update_seconds_max", t->sum.update_s_max) &&
           json_set_take(root, "versions", versions_json(t));
}

static enum status summary_print(const struct simulate *s, const struct totals *t, struct err *err)
{
    json *root = json_object_new();
    return json_say(root, root && summary_set(root, s, t), err);
}

/* ---- the networks ---- */

static void *lane_run(void *ctx)
{
    struct sim_lane lane = *(struct sim_lane *)ctx;
    free(ctx);
    while (!atomic_load(&lane.s->ending) && !stop_requested()) {
        bool any = false;
        for (int i = lane.first; i < lane.s->count && !atomic_load(&lane.s->ending);
             i += SIM_THREADS)
            any = sim_device_step(&lane.s->device[i], clock_monotonic_ms()) || any;
        if (!any)
            clock_sleep_ms(SIM_STEP_MS);
    }
    return NULL;
}

static enum status lanes_start(struct simulate *s, struct err *err)
{
    for (; s->threads < SIM_THREADS; s->threads++) {
        struct sim_lane *lane = malloc(sizeof *lane);
        if (lane)
            *lane = (struct sim_lane){s, s->threads};
        if (!lane || pthread_create(&s->thread[s->threads], NULL, lane_run, lane) != 0) {
            free(lane);
            return err_set(err, STATUS_NO_MEMORY, "cannot start the network's threads");
        }
    }
    return STATUS_OK;
}

/* ---- opening ---- */

/* "a,b,c" into parts; how many, or 0 when there are too many or an empty one. */
static int parts_cut(char *text, const char *parts[], int most)
{
    int count = 0;
    for (char *part; (part = strsep(&text, ",")) != NULL; parts[count++] = part)
        if (count == most || !*part)
            return 0;
    return count;
}

static enum status ids_cut(char room[256], const char *text, const char *flag, const char *parts[],
                           int most, int *count, struct err *err)
{
    snprintf(room, 256, "%s", text);
    *count = strlen(text) < 256 ? parts_cut(room, parts, most) : 0;
    for (int i = 0; i < *count; i++)
        if (strlen(parts[i]) > LIMIT_ID ||
            parts[i][strspn(parts[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789._:-")])
            *count = 0;
    return *count ? STATUS_OK
                  : err_set(err, STATUS_USAGE, "--%s \"%.60s\": 1 to %d ids such as a,b are right",
                            flag, text, most);
}

static enum status domains_check(struct simulate *s, struct err *err)
{
    struct world_domain domain;
    TRY(ids_cut(s->drift, s->options.drift, "drift", s->fleet.domain, SIM_DOMAINS,
                &s->fleet.domains, err));
    for (int i = 0; i < s->fleet.domains; i++)
        TRY(world_domain_parse(s->fleet.domain[i], &domain, err));
    return STATUS_OK;
}

static enum status fleet_open(struct simulate *s, struct err *err)
{
    const struct simulate_options *o = &s->options;
    struct mllm *m;
    TRY(infer_load(o->model, &m, err));
    int tokens = infer_tokens(m);
    s->fleet.side = m->config.vision.image;
    TRY(sim_models_create(m, &s->fleet.models, err));
    snprintf(s->dir, sizeof s->dir, "/tmp/cdcca-simulate-XXXXXX");
    if (!mkdtemp(s->dir)) {
        s->dir[0] = '\0';
        return err_set(err, STATUS_IO, "cannot make a folder in /tmp");
    }
    s->fleet.cloud_url = o->cloud;
    s->fleet.dir = s->dir;
    s->fleet.segment = o->segment;
    s->fleet.poll_s = o->poll_s;
    s->fleet.seed = (uint64_t)o->seed;
    s->fleet.window = (struct window_options){.capacity = (int)o->window,
                                              .budget = o->budget,
                                              .pool_factor = 3,
                                              .bits = (int)o->bits,
                                              .uts = uts_defaults()};
    s->fleet.window.uts.keep = o->keep < tokens ? (int)o->keep : tokens;
    return STATUS_OK;
}

static enum status devices_open(struct simulate *s, struct err *err)
{
    s->device = calloc((size_t)s->options.devices, sizeof *s->device);
    if (!s->device)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the devices");
    while (s->count < s->options.devices) {
        int i = s->count++;
        TRY(sim_device_init(&s->device[i], &s->fleet, i + 1, s->class_of[i % s->class_count],
                            s->channel_of[i % s->channel_count], err));
    }
    return STATUS_OK;
}

static enum status simulate_open(struct simulate *s, struct err *err)
{
    const struct simulate_options *o = &s->options;
    TRY(sim_link_parse(o->link, &s->fleet.link, err));
    TRY(domains_check(s, err));
    TRY(ids_cut(s->classes, o->classes, "classes", s->class_of, SIM_GROUPS, &s->class_count, err));
    TRY(ids_cut(s->channels, o->channels, "channels", s->channel_of, SIM_GROUPS, &s->channel_count,
                err));
    TRY(fleet_open(s, err));
    TRY(devices_open(s, err));
    TRY(pool_create((int)o->threads, &s->pool, err));
    TRY(sim_answer_init(&s->answer, s->device, s->count, o->rate, s->pool, err));
    return lanes_start(s, err);
}

static void simulate_close(struct simulate *s)
{
    atomic_store(&s->ending, true);
    while (s->threads > 0)
        pthread_join(s->thread[--s->threads], NULL);
    for (int i = 0; i < s->count; i++)
        sim_device_deinit(&s->device[i]);
    free(s->device);
    sim_answer_deinit(&s->answer);
    pool_destroy(s->pool);
    sim_models_destroy(s->fleet.models);
    if (s->dir[0])
        rmdir(s->dir);
}

/* ---- running ---- */

/* *reached: every device is at --rounds. */
static enum status fleet_run(struct simulate *s, bool *reached, struct err *err)
{
    int64_t end_ms = s->started_ms + s->options.duration_s * 1000, now_ms = s->started_ms;
    *reached = false;
    while (now_ms < end_ms && !*reached && !stop_requested()) {
        bool any;
        TRY(sim_answer_step(&s->answer, now_ms, &any, err));
        if (!any)
            stop_sleep_ms(SIM_STEP_MS);
        now_ms = clock_monotonic_ms();
        if (now_ms < s->line_ms)
            continue;
        struct totals totals = totals_take(s);
        line_print(s, &totals);
        s->line_ms = now_ms + SIM_LINE_MS;
        *reached = s->options.rounds && totals.lowest >= s->options.rounds;
    }
    return STATUS_OK;
}

static enum status simulate_end(struct simulate *s, bool reached, struct err *err)
{
    struct totals totals = totals_take(s);
    line_print(s, &totals);
    if (isatty(fileno(s->options.json ? stderr : stdout)) == 1)
        fprintf(s->options.json ? stderr : stdout, "\n");
    if (totals.sum.last_error[0])
        fprintf(stderr, "one of the errors: %s\n", totals.sum.last_error);
    if (s->options.json)
        TRY(summary_print(s, &totals, err));
    if (s->options.rounds && !reached && !stop_requested())
        return err_set(err, STATUS_TIMEOUT,
                       "after %" PRId64 " s a device is still at version %" PRId64,
                       s->options.duration_s, totals.lowest);
    return STATUS_OK;
}

static enum status simulate(struct simulate *s, struct err *err)
{
    bool reached = false;
    TRY(simulate_open(s, err));
    s->started_ms = clock_monotonic_ms();
    s->line_ms = s->started_ms + SIM_LINE_MS;
    TRY(fleet_run(s, &reached, err));
    return simulate_end(s, reached, err);
}

/* ---- the command ---- */

static enum status options_check(struct simulate *s, struct err *err)
{
    struct simulate_options *o = &s->options;
    if (!o->cloud)
        return err_set(err, STATUS_USAGE, "--cloud URL is missing, such as http://127.0.0.1:8080");
    if (o->bits != 4 && o->bits != 8)
        return err_set(err, STATUS_USAGE, "--bits is 4 or 8");
    if (o->model)
        return STATUS_OK;
    o->model = s->model_room;
    return infer_default_model(s->model_room, sizeof s->model_room, err);
}

static enum status options_read(struct simulate *s, int argc, char **argv, struct err *err)
{
    struct simulate_options *o = &s->options;
    int count;
    const struct option table[] = {
        {"cloud", OPTION_STRING, &o->cloud, 0, 0, "URL", "the cdcca-cloud to work with"},
        {"model", OPTION_STRING, &o->model, 0, 0, "DIR", "factory model (the built-in student)"},
        {"devices", OPTION_INT, &o->devices, 1, SIM_DEVICES, "N", "how many (200)"},
        {"duration", OPTION_INT, &o->duration_s, 1, 1e7, "SECONDS", "how long (60)"},
        {"rounds", OPTION_INT, &o->rounds, 0, 1 << 20, "N",
         "end when every device is at version N; 0: at the end of the duration"},
        {"drift", OPTION_STRING, &o->drift, 0, 0, "LIST",
         "domains of the built-in world, in turn (source,night,fog)"},
        {"segment", OPTION_INT, &o->segment, 1, 1 << 20, "N", "samples of each (100)"},
        {"rate", OPTION_NUMBER, &o->rate, 1e-3, 1e3, "N", "samples a second and device (1)"},
        {"link", OPTION_STRING, &o->link, 0, 0, "LIST",
         "rate, loss, latency, such as 256kbit,2%loss,50ms (perfect)"},
        {"classes", OPTION_STRING, &o->classes, 0, 0, "LIST", "of devices, in turn (simulated)"},
        {"channels", OPTION_STRING, &o->channels, 0, 0, "LIST", "in turn (stable)"},
        {"budget", OPTION_NUMBER, &o->budget, 0, 1, "SHARE", "of the samples, to upload (0.1)"},
        {"window", OPTION_INT, &o->window, 1, 1 << 16, "N", "samples per window (20)"},
        {"keep", OPTION_INT, &o->keep, 1, LIMIT_TOKENS, "N", "visual tokens per upload (29)"},
        {"bits", OPTION_INT, &o->bits, 4, 8, "4|8", "bits per uploaded value (4)"},
        {"poll", OPTION_INT, &o->poll_s, 1, 86400, "SECONDS", "between two looks for news (10)"},
        {"seed", OPTION_INT, &o->seed, 0, 1e12, "N", "of streams, draws and losses (1)"},
        {"threads", OPTION_INT, &o->threads, 0, 64, "N", "for answering; 0: one per core (0)"},
        {"json", OPTION_FLAG, &o->json, 0, 0, NULL, "a summary as JSON; lines go to stderr"},
        {0}};
    const struct options options = {.program = "cdcca-edge simulate",
                                    .summary = "A fleet in one process, against a real cloud.",
                                    .table = table};
    TRY(options_parse(&options, argc, argv, &count, err));
    return options_check(s, err);
}

enum status simulate_run(int argc, char **argv, struct err *err)
{
    struct simulate *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a fleet");
    s->options = (struct simulate_options){.drift = "source,night,fog",
                                           .classes = "simulated",
                                           .channels = "stable",
                                           .devices = 200,
                                           .duration_s = 60,
                                           .window = 20,
                                           .keep = 29,
                                           .bits = 4,
                                           .poll_s = 10,
                                           .segment = 100,
                                           .seed = 1,
                                           .rate = 1,
                                           .budget = 0.1};
    enum status status = options_read(s, argc, argv, err);
    if (status == STATUS_OK) {
        stop_install();
        status = simulate(s, err);
        simulate_close(s);
    }
    free(s);
    return status;
}
