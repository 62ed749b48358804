/* See events.h. */
#include "server/events.h"
#include "api/base/clock.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 32 << 10 }; /* handed to a reader at once; the rest when it asks again */

static const char *const type_names[EVENT_TYPES] = {"upload", "round", "step", "release", "device"};

struct event {
    enum event_type type;
    char data[EVENT_BYTES];
};

struct events {
    uint32_t process; /* first half of every id */
    pthread_mutex_t lock;
    void (*wake)(void *ctx); /* this and what follows are guarded by the lock */
    void *ctx;
    uint64_t next; /* number of the event that comes next; the first is 1 */
    bool stopping;
    struct event ring[EVENTS_KEPT]; /* event n lies at n % EVENTS_KEPT */
};

enum status events_create(struct events **out, struct err *err)
{
    struct events *events = calloc(1, sizeof *events);
    if (!events)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    events->process = (uint32_t)(clock_wall_ms() / 16);
    events->next = 1;
    pthread_mutex_init(&events->lock, NULL);
    *out = events;
    return STATUS_OK;
}

void events_destroy(struct events *events)
{
    if (!events)
        return;
    pthread_mutex_destroy(&events->lock);
    free(events);
}

void events_on_news(struct events *events, void (*wake)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&events->lock);
    events->wake = wake;
    events->ctx = ctx;
    pthread_mutex_unlock(&events->lock);
}

/* ---- publishing ---- */

static void news(struct events *events)
{
    pthread_mutex_lock(&events->lock);
    void (*wake)(void *ctx) = events->wake;
    void *ctx = events->ctx;
    pthread_mutex_unlock(&events->lock);
    if (wake)
        wake(ctx);
}

void events_publish(struct events *events, enum event_type type, const char *format, ...)
{
    struct event event = {.type = type};
    if (!events)
        return;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(event.data, sizeof event.data, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof event.data)
        return;
    pthread_mutex_lock(&events->lock);
    events->ring[events->next % EVENTS_KEPT] = event;
    events->next++;
    pthread_mutex_unlock(&events->lock);
    news(events);
}

void events_stop(struct events *events)
{
    if (!events)
        return;
    pthread_mutex_lock(&events->lock);
    events->stopping = true;
    pthread_mutex_unlock(&events->lock);
    news(events);
}

/* ---- reading ---- */

enum status event_types_parse(const char *text, unsigned *out, struct err *err)
{
    *out = (1u << EVENT_TYPES) - 1;
    if (!text)
        return STATUS_OK;
    *out = 0;
    for (;;) {
        size_t len = strcspn(text, ",");
        int type = 0;
        while (type < EVENT_TYPES &&
               (strlen(type_names[type]) != len || memcmp(type_names[type], text, len) != 0))
            type++;
        if (type == EVENT_TYPES)
            return err_set(err, STATUS_USAGE,
                           "\"%.*s\" is no type of event; there are upload, round, step, release "
                           "and device",
                           len < 40 ? (int)len : 40, text);
        *out |= 1u << type;
        if (!text[len])
            return STATUS_OK;
        text += len + 1;
    }
}

static uint64_t oldest(const struct events *events)
{
    return events->next > EVENTS_KEPT ? events->next - EVENTS_KEPT : 1;
}

/* "5f1c2a3b-17" */
static bool id_parse(const char *id, uint32_t *process, uint64_t *number)
{
    char *end = NULL;
    size_t digits = strspn(id, "0123456789abcdef");
    if (digits != 8 || id[8] != '-' || strspn(id + 9, "0123456789") != strlen(id + 9) || !id[9] ||
        strlen(id + 9) > 18)
        return false;
    *process = (uint32_t)strtoul(id, &end, 16);
    *number = strtoull(id + 9, &end, 10);
    return true;
}

void events_reader_init(struct events *events, unsigned types, const char *last_id,
                        struct events_reader *out)
{
    uint32_t process = 0;
    uint64_t last = 0;
    pthread_mutex_lock(&events->lock);
    *out = (struct events_reader){.events = events, .types = types, .next = events->next};
    if (last_id) {
        bool known = id_parse(last_id, &process, &last) && process == events->process &&
                     last < events->next && last + 1 >= oldest(events);
        if (known)
            out->next = last + 1;
        out->reset = !known;
    }
    pthread_mutex_unlock(&events->lock);
}

static bool append(const struct events *events, struct buf *out, uint64_t number, const char *type,
                   const char *data)
{
    return buf_printf(out, "id: %08" PRIx32 "-%" PRIu64 "\nevent: %s\ndata: %s\n\n",
                      events->process, number, type, data) == STATUS_OK;
}

/* Under the lock. */
static bool read_some(struct events_reader *reader, struct buf *out)
{
    const struct events *events = reader->events;
    bool fine = true;
    if (reader->reset)
        fine = append(events, out, reader->next - 1, "reset", "{}");
    reader->reset = false;
    if (reader->next < oldest(events)) {
        append(events, out, reader->next - 1, "end", "{\"reason\":\"too slow\"}");
        return false;
    }
    for (; fine && reader->next < events->next && out->len < READ_BYTES; reader->next++) {
        const struct event *event = &events->ring[reader->next % EVENTS_KEPT];
        if (reader->types & 1u << event->type)
            fine = append(events, out, reader->next, type_names[event->type], event->data);
    }
    if (!fine || !events->stopping || reader->next < events->next)
        return fine;
    append(events, out, reader->next - 1, "end", "{\"reason\":\"stopping\"}");
    return false;
}

bool events_read(struct events_reader *reader, struct buf *out)
{
    pthread_mutex_lock(&reader->events->lock);
    bool more = read_some(reader, out);
    pthread_mutex_unlock(&reader->events->lock);
    return more;
}
