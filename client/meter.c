/* Device time and the day's bytes; see meter.h. */
#include "client/meter.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/json_out.h"
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

enum { METER_FILE_MAX = 4096, METER_SAVE_MS = 60000 };

struct meter {
    struct io *io;
    struct meter_clock clock;
    char path[PATH_MAX];
    uint64_t daily_bytes;
    pthread_mutex_t lock;             /* guards what follows */
    int64_t served_ms, started_ms;    /* device time when opened, and the monotonic clock then */
    int64_t day, day_bytes, saved_ms; /* the last day that bytes went on; how many */
};

struct meter_clock meter_real_clock(void)
{
    return (struct meter_clock){clock_monotonic_ms, clock_wall_ms};
}

static int64_t meter_now_ms(const struct meter *m)
{
    return m->served_ms + m->clock.monotonic_ms() - m->started_ms;
}

/* ---- DATA/meter.json ---- */

static enum status meter_save(struct meter *m, struct err *err)
{
    json *root = json_object_new();
    bool whole = root && json_set_string(root, "schema", "cdcca.edge-meter/1") &&
                 json_set_int(root, "served_ms", meter_now_ms(m)) &&
                 json_set_int(root, "wall_ms", m->clock.wall_ms()) &&
                 json_set_int(root, "day", m->day) && json_set_int(root, "day_bytes", m->day_bytes);
    TRY(json_save(m->io, m->path, root, whole, err));
    m->saved_ms = m->clock.monotonic_ms();
    return STATUS_OK;
}

static void meter_save_or_say(struct meter *m)
{
    struct err err = {0};
    if (meter_save(m, &err) != STATUS_OK)
        log_line(LOG_WARN, "meter", "%s", err.text);
}

static enum status meter_parse(struct meter *m, const json *root, struct err *err)
{
    int64_t served, wall, day, bytes;
    TRY(json_get_int(root, "served_ms", 0, INT64_MAX / 2, &served, err));
    TRY(json_get_int(root, "wall_ms", INT64_MIN / 2, INT64_MAX / 2, &wall, err));
    TRY(json_get_int(root, "day", 0, INT64_MAX, &day, err));
    TRY(json_get_int(root, "day_bytes", 0, INT64_MAX, &bytes, err));
    int64_t pause = m->clock.wall_ms() - wall, most = METER_PAUSE_S * INT64_C(1000);
    m->served_ms = served + (pause < 0 ? 0 : pause > most ? most : pause);
    m->day = day;
    m->day_bytes = bytes;
    return STATUS_OK;
}

static enum status meter_load(struct meter *m, struct err *err)
{
    struct buf text = {.max = METER_FILE_MAX};
    json *root = NULL;
    enum status status = io_read_file(m->io, m->path, &text, err);
    if (status == STATUS_OK)
        status = json_parse(text.data, text.len, &root, err);
    if (status == STATUS_OK)
        status = meter_parse(m, root, err);
    json_free(root);
    buf_free(&text);
    return status;
}

enum status meter_open(struct io *io, const char *data_dir, struct meter_clock clock,
                       uint64_t daily_bytes, struct meter **out, struct err *err)
{
    struct err problem = {0};
    struct meter *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the meter");
    *m = (struct meter){.io = io,
                        .clock = clock,
                        .daily_bytes = daily_bytes,
                        .started_ms = clock.monotonic_ms(),
                        .saved_ms = clock.monotonic_ms()};
    pthread_mutex_init(&m->lock, NULL);
    enum status status = io_join(m->path, sizeof m->path, data_dir, "meter.json", err);
    if (status != STATUS_OK) {
        pthread_mutex_destroy(&m->lock);
        free(m);
        return status;
    }
    status = meter_load(m, &problem);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        log_line(LOG_WARN, "meter", "device time starts at 0: %s", problem.text);
    meter_save_or_say(m); /* so that a life that is cut short counts, too */
    *out = m;
    return STATUS_OK;
}

void meter_close(struct meter *m)
{
    if (!m)
        return;
    meter_save_or_say(m);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- time and bytes ---- */

int64_t meter_now_s(struct meter *m)
{
    pthread_mutex_lock(&m->lock);
    int64_t now = meter_now_ms(m) / 1000;
    pthread_mutex_unlock(&m->lock);
    return now;
}

/* Lock held: a new day begins with nothing spent. */
static uint64_t meter_left_today(struct meter *m)
{
    int64_t today = meter_now_ms(m) / 1000 / METER_DAY_S;
    if (today != m->day) {
        m->day = today;
        m->day_bytes = 0;
    }
    if (!m->daily_bytes)
        return UINT64_MAX;
    return (uint64_t)m->day_bytes < m->daily_bytes ? m->daily_bytes - (uint64_t)m->day_bytes : 0;
}

uint64_t meter_left(struct meter *m)
{
    pthread_mutex_lock(&m->lock);
    uint64_t left = meter_left_today(m);
    pthread_mutex_unlock(&m->lock);
    return left;
}

static enum status meter_take_locked(struct meter *m, uint64_t bytes, struct err *err)
{
    if (bytes > meter_left_today(m))
        return err_set(err, STATUS_BUSY, "the day's budget of bytes is spent");
    m->day_bytes += (int64_t)bytes;
    if (!m->daily_bytes)
        return STATUS_OK;
    enum status status = meter_save(m, err);
    if (status == STATUS_DISK_FULL)
        return STATUS_OK; /* sending is what makes room */
    if (status != STATUS_OK)
        m->day_bytes -= (int64_t)bytes;
    return status;
}

enum status meter_take(struct meter *m, uint64_t bytes, struct err *err)
{
    pthread_mutex_lock(&m->lock);
    enum status status = meter_take_locked(m, bytes, err);
    pthread_mutex_unlock(&m->lock);
    return status;
}

void meter_give_back(struct meter *m, uint64_t bytes)
{
    pthread_mutex_lock(&m->lock);
    m->day_bytes -= (uint64_t)m->day_bytes < bytes ? m->day_bytes : (int64_t)bytes;
    pthread_mutex_unlock(&m->lock);
}

void meter_tick(struct meter *m)
{
    pthread_mutex_lock(&m->lock);
    if (m->clock.monotonic_ms() - m->saved_ms >= METER_SAVE_MS) {
        meter_save_or_say(m);
        m->saved_ms = m->clock.monotonic_ms(); /* also after a failure: once a minute */
    }
    pthread_mutex_unlock(&m->lock);
}
