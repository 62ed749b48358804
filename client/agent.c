/* The agent's loop; see agent.h. Rounds in lockstep are in round.c, opening and closing in
 * agent_open.c. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/notify.h"
#include "api/wire/json.h"
#include "client/agent_state.h"
#include "client/stop.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    AGENT_PACE_STEP_MS = 1000,
    AGENT_DRY_CLOSE_MS = 2000,
    AGENT_DRY_STEP_MS = 200,
    AGENT_DRAIN_MS = 30000
};

/* ---- gathering samples ---- */

/* Upload ids allow [A-Za-z0-9._-]: the position makes it unique, the sample's own id readable. */
static void agent_make_id(int64_t position, const char *name, char out[WINDOW_ID])
{
    snprintf(out, WINDOW_ID, "%" PRId64 "-%.42s", position, name);
    for (char *c = out; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
              *c == '.' || *c == '-'))
            *c = '_';
}

size_t agent_jpeg_bytes(struct agent *a, const uint8_t *pixels)
{
    buf_clear(&a->jpeg);
    if (image_encode_jpeg(pixels, a->side, a->side, 85, &a->jpeg, NULL) != STATUS_OK)
        return 0;
    return a->jpeg.len;
}

static void agent_keep_sample(struct agent *a, const struct sample *sample)
{
    struct agent_sample *s = &a->batch[a->batched];
    uint8_t *pixels = a->rgb + (size_t)a->batched * a->image_bytes;
    memcpy(pixels, sample->pixels, a->image_bytes);
    snprintf(s->question, sizeof s->question, "%s", sample->question.text);
    agent_make_id((int64_t)stream_position(a->stream) - 1, sample->id, s->id);
    s->jpeg_bytes = agent_jpeg_bytes(a, pixels);
    a->batched++;
}

/* How many samples may be taken before something must happen: a full window, the end of a segment
 * or of the run. */
static int64_t agent_room(struct agent *a)
{
    const struct agent_options *o = &a->options;
    int64_t room = o->window - window_count(a->window), seen = agent_seen(a);
    if (o->count && o->count - seen < room)
        room = o->count - seen;
    if (agent_has_segments(a) && o->segment - seen % o->segment < room)
        room = o->segment - seen % o->segment;
    return room;
}

/* Fills the batch; false when the source has nothing (more) now. A sample that cannot be read is
 * reported and passed over. */
static bool agent_gather(struct agent *a)
{
    int64_t room = agent_room(a), limit = a->options.rate > 0 ? 1 : INFER_BATCH;
    a->batched = 0;
    while (a->batched < (room < limit ? room : limit) && !stop_requested()) {
        struct sample sample;
        struct err err = {0};
        enum status status = stream_next(a->stream, &sample, &err);
        if (status == STATUS_NOT_FOUND)
            break;
        if (status == STATUS_OK)
            agent_keep_sample(a, &sample);
        else
            board_note_error(&a->board, "source", err.text);
    }
    a->position = (int64_t)stream_position(a->stream);
    return a->batched > 0;
}

/* ---- answering ---- */

static void agent_print(const struct agent *a, const struct agent_sample *sample,
                        const struct answer *answer, int64_t version)
{
    struct buf line = {.max = 8192};
    json *root = json_object_new();
    if (root && json_set_string(root, "id", sample->id) &&
        json_set_string(root, "question", sample->question) &&
        json_set_string(root, "answer", answer->text) &&
        json_set_number(root, "entropy", (double)answer->entropy) &&
        json_set_int(root, "version", version) && json_set_string(root, "device", a->device) &&
        json_print(root, false, &line) == STATUS_OK)
        printf("%.*s\n", (int)line.len, (const char *)line.data);
    json_free(root);
    buf_free(&line);
}

void agent_keep_record(struct agent *a, const struct window_record *record)
{
    window_add(a->window, record);
    a->open.raw_bytes += (int64_t)a->image_bytes;
    a->open.jpeg_bytes += (int64_t)record->jpeg_bytes;
}

static void agent_record(struct agent *a, int i, const struct answer *answer, int64_t version)
{
    const struct agent_sample *sample = &a->batch[i];
    struct window_record record = {
        .entropy = answer->entropy, .jpeg_bytes = sample->jpeg_bytes, .version = version};
    snprintf(record.id, sizeof record.id, "%s", sample->id);
    snprintf(record.question, sizeof record.question, "%s", sample->question);
    snprintf(record.answer, sizeof record.answer, "%s", answer->text);
    agent_keep_record(a, &record);
    if (a->options.json && !a->options.lockstep)
        agent_print(a, sample, answer, version);
}

/* Samples from .. from+n-1 of the batch by the active version, which is told in *version. */
static enum status agent_answer_some(struct agent *a, int from, int n, int64_t *version,
                                     struct err *err)
{
    const char *questions[INFER_BATCH];
    for (int i = 0; i < n; i++)
        questions[i] = a->batch[from + i].question;
    struct mllm *m = slots_acquire(a->slots, version);
    enum status status = infer_answer(m, a->pool, a->rgb + (size_t)from * a->image_bytes, questions,
                                      n, window_room(a->window, n), a->answers, err);
    mllm_release(m);
    for (int i = 0; status == STATUS_OK && i < n; i++)
        agent_record(a, from + i, &a->answers[i], *version);
    return status;
}

/* A version that fails its probation: back to the one before. Where there is none, it stays. */
static void agent_roll_back(struct agent *a, int64_t bad)
{
    struct err err = {0};
    struct slots_info good;
    char text[200];
    if (slots_rollback(a->slots, bad, &err) != STATUS_OK) {
        board_note_error(&a->board, "agent", err.text);
        return;
    }
    slots_info(a->slots, &good);
    snprintf(text, sizeof text,
             "version %" PRId64
             " gives too many empty or unusable answers; back to version %" PRId64,
             bad, good.version);
    board_note_error(&a->board, "agent", text);
    agent_note_version(a);
    reports_add_untold(a->reports, a->slots, "too many empty or unusable answers in probation");
}

void agent_watch(struct agent *a, int64_t version, int64_t answers, int64_t bad)
{
    if (probation_note(a->probation, version, answers, bad))
        agent_roll_back(a, version);
}

static void agent_watch_batch(struct agent *a, int64_t version, int n)
{
    int64_t empty = 0;
    for (int i = 0; i < n; i++)
        empty += a->answers[i].text[0] == '\0';
    agent_watch(a, version, n, empty);
}

/* One sample of a batch that failed as a whole: so that one bad question costs one answer. Numbers
 * that are not finite are the version's fault; one that is left for that does not answer again. */
static void agent_answer_one(struct agent *a, int i)
{
    struct err err = {0};
    int64_t version, before;
    enum status status = agent_answer_some(a, i, 1, &version, &err);
    if (status == STATUS_CORRUPT) {
        before = version;
        agent_watch(a, version, 1, 1);
        mllm_release(slots_acquire(a->slots, &version));
        if (version != before)
            status = agent_answer_some(a, i, 1, &version, &err);
    }
    if (status == STATUS_OK) {
        agent_watch_batch(a, version, 1);
        return;
    }
    board_note_error(&a->board, "agent", err.text);
    a->open.skipped++;
}

static void agent_answer(struct agent *a)
{
    struct err problem = {0};
    int64_t version;
    if (agent_answer_some(a, 0, a->batched, &version, &problem) == STATUS_OK)
        agent_watch_batch(a, version, a->batched);
    else
        for (int i = 0; i < a->batched; i++)
            agent_answer_one(a, i);
    fflush(stdout);
    struct board_fields *f = board_lock(&a->board);
    f->answered += a->batched;
    board_unlock(&a->board);
}

/* Waits until the next sample is due. */
static void agent_pace(struct agent *a)
{
    double now = (double)clock_monotonic_ms();
    if (a->options.rate <= 0)
        return;
    if (a->due_ms < now - 1000.0)
        a->due_ms = now;
    while (a->due_ms > now && !stop_requested()) {
        double left = a->due_ms - now;
        stop_sleep_ms(left < AGENT_PACE_STEP_MS ? (int64_t)left + 1 : AGENT_PACE_STEP_MS);
        notify_alive(&a->notify);
        now = (double)clock_monotonic_ms();
    }
    a->due_ms += 1000.0 / a->options.rate;
}

/* ---- closing a window ---- */

enum status agent_emit(void *ctx, const struct window_upload *upload, struct err *err)
{
    struct agent *a = ctx;
    const struct spool_facts facts = {.instances = upload->instances,
                                      .corrections = upload->corrections,
                                      .jpeg_bytes = upload->jpeg_bytes,
                                      .entropy = upload->entropy};
    if (upload->corrections) /* a user's word waits for no window */
        return spool_append(a->spool, upload->body, upload->size, &facts, err);
    int64_t window = board_lock(&a->board)->windows;
    board_unlock(&a->board);
    return spool_hold(a->spool, upload->body, upload->size, &facts, (uint64_t)window, err);
}

/* The notebook after a closed window: from here a restart goes on. */
static void agent_commit_window(struct agent *a, const struct window_result *result, int64_t seen)
{
    struct err err = {0};
    struct spool_counts counts;
    spool_count(a->spool, &counts);
    struct board_fields *f = board_lock(&a->board);
    f->seen = seen;
    f->position = a->position;
    int64_t windows = ++f->windows;
    f->raw_bytes += a->open.raw_bytes;
    f->jpeg_bytes += a->open.jpeg_bytes;
    f->sampled += result->sampled;
    f->sampled_raw_bytes += (int64_t)a->image_bytes * result->sampled;
    f->sampled_jpeg_bytes += (int64_t)result->jpeg_bytes;
    f->dropped += (int64_t)(counts.dropped - a->dropped_before);
    f->spool_files = (int64_t)counts.files;
    f->spool_bytes = (int64_t)counts.bytes;
    if (result->entropy_cut >= 0)
        f->entropy_cut = result->entropy_cut;
    enum status status = board_commit(&a->board, &err);
    if (status == STATUS_OK)
        status = spool_release(a->spool, (uint64_t)windows, &err);
    if (status != STATUS_OK)
        board_note_error(&a->board, "agent", err.text);
    a->dropped_before = counts.dropped;
    a->open = (struct agent_open_window){0};
}

/* Of the window's sure answers, a few for the self-test of versions to come. */
static void agent_remember(struct agent *a, const struct mllm *m)
{
    struct err err = {0};
    if (replay_learn(a->replay, a->window, m, &err) != STATUS_OK)
        log_line(LOG_WARN, "agent", "%s", err.text);
}

/* A window that cannot be closed (no room on disk, say) is given up: answers matter more. */
void agent_close_window(struct agent *a)
{
    struct err err = {0};
    struct window_result result;
    int64_t version, sampled, windows, seen = agent_seen(a);
    if (window_count(a->window) == 0 && a->open.skipped == 0)
        return;
    struct board_fields *f = board_lock(&a->board);
    sampled = f->sampled;
    windows = f->windows;
    board_unlock(&a->board);
    struct mllm *m = slots_acquire(a->slots, &version);
    agent_remember(a, m);
    enum status status =
        window_close(a->window, m, (uint64_t)windows, seen, sampled, agent_emit, a, &result, &err);
    mllm_release(m);
    if (status != STATUS_OK) {
        err_prefix(&err, "%d samples go unsampled", window_count(a->window));
        board_note_error(&a->board, "agent", err.text);
        window_clear(a->window);
        spool_discard(a->spool, (uint64_t)windows);
        result = (struct window_result){.entropy_cut = -1};
    }
    agent_commit_window(a, &result, seen);
    log_line(LOG_INFO, "agent",
             "%" PRId64 " seen; %d sampled of this window, entropy from %.2f; version %" PRId64,
             seen, result.sampled, result.entropy_cut, version);
}

/* ---- the loop ---- */

static bool agent_finished(struct agent *a)
{
    const struct agent_options *o = &a->options;
    struct slots_info info;
    int64_t seen = agent_seen(a);
    slots_info(a->slots, &info);
    if (o->lockstep)
        return (o->rounds && agent_rounds_done(a) >= o->rounds) || (o->count && seen >= o->count);
    if (o->rounds && info.version < o->rounds)
        return false;
    return o->count ? seen >= o->count : o->rounds > 0;
}

/* Nothing to answer just now: a directory that may grow, or a finished count that waits for
 * versions. An open window is closed rather than kept waiting. */
static void agent_idle(struct agent *a)
{
    int64_t now = clock_monotonic_ms();
    if (!a->dry_since_ms)
        a->dry_since_ms = now;
    if (now - a->dry_since_ms >= AGENT_DRY_CLOSE_MS)
        agent_close_window(a);
    stop_sleep_ms(AGENT_DRY_STEP_MS);
}

/* After an answered batch: what is due at a boundary? */
static enum status agent_boundary(struct agent *a, struct err *err)
{
    const struct agent_options *o = &a->options;
    int64_t seen = agent_seen(a);
    bool segment_end = agent_has_segments(a) && seen && seen % o->segment == 0;
    if (window_full(a->window) || segment_end || (o->count && seen >= o->count))
        agent_close_window(a);
    if (!segment_end)
        return STATUS_OK;
    if (o->lockstep)
        agent_finish_round(a);
    return agent_open_segment(a, err);
}

static enum status agent_loop(struct agent *a, struct err *err)
{
    while (!stop_requested() && !agent_finished(a)) {
        notify_alive(&a->notify);
        agent_pace(a);
        if (!agent_gather(a)) {
            agent_idle(a);
            continue;
        }
        a->dry_since_ms = 0;
        agent_answer(a);
        TRY(agent_boundary(a, err));
    }
    return STATUS_OK;
}

enum status agent_run(const struct agent_options *options, struct err *err)
{
    struct agent *a;
    TRY(agent_open(options, &a, err));
    enum status status = agent_open_segment(a, err);
    if (status == STATUS_OK) {
        notify_send(&a->notify, "READY=1");
        if (a->options.lockstep && agent_round_is_open(a))
            agent_finish_round(a);
        status = agent_loop(a, err);
    }
    notify_send(&a->notify, "STOPPING=1");
    agent_close_window(a);
    if (status == STATUS_OK && !stop_requested() && !uplink_drain(a->uplink, AGENT_DRAIN_MS))
        log_line(LOG_WARN, "agent", "uploads are left in the spool; the next start sends them");
    agent_close(a);
    return status;
}
