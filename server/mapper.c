/* See mapper.h. */
#include "server/mapper.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/json.h"
#include "model/learn/tsne.h"
#include "server/lessons.h"
#include "server/store_maps.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WANTED_MAX = 16 };

struct mapper {
    struct mapper_config config;
    pthread_t thread;
    bool started;
    volatile int stop;    /* polled between the steps of t-SNE */
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;
    int64_t wanted[WANTED_MAX]; /* rounds; the first is being made */
    int count;
    int64_t failed; /* the last that could not be made, and why */
    struct err why;
};

/* ---- which tokens ---- */

struct source {
    int64_t id, first, tokens; /* first: how many tokens the uploads before it have */
    char sha256[HASH_HEX], device[LIMIT_ID + 1], class_id[LIMIT_ID + 1]; /* "": not known */
};

struct point {
    const struct source *source;
    int position;
};

/* A map on its way. */
struct making {
    struct mapper *mapper;
    int64_t round, tokens;
    struct source *source;
    int sources, cap, points, width;
    bool failed; /* no memory for a source */
    struct point point[MAPPER_POINTS];
    float *x;  /* (points, width) */
    double *y; /* (points, 2) */
    double perplexity;
    struct buf text;
};

static bool source_take(void *ctx, const struct upload *upload)
{
    struct making *m = ctx;
    if (m->sources == m->cap) {
        int cap = m->cap ? m->cap * 2 : 64;
        struct source *grown = realloc(m->source, (size_t)cap * sizeof *grown);
        m->failed = !grown;
        if (!grown)
            return false;
        m->source = grown;
        m->cap = cap;
    }
    struct source *source = &m->source[m->sources++];
    *source = (struct source){.id = upload->id, .first = m->tokens, .tokens = upload->tokens};
    snprintf(source->sha256, sizeof source->sha256, "%s", upload->sha256);
    snprintf(source->device, sizeof source->device, "%s", upload->device);
    m->tokens += upload->tokens;
    return true;
}

static enum status sources_read(struct making *m, struct err *err)
{
    TRY(store_round_uploads(m->mapper->config.store, m->round, source_take, m, err));
    return m->failed ? err_set(err, STATUS_NO_MEMORY, "out of memory") : STATUS_OK;
}

/* The k-th token that is wanted, of `total`: evenly spread. */
static int64_t pick_at(int64_t total, int64_t k)
{
    return total <= MAPPER_POINTS ? k : k * total / MAPPER_POINTS;
}

static int64_t picks(int64_t total)
{
    return total < MAPPER_POINTS ? total : MAPPER_POINTS;
}

static bool class_take(void *ctx, const struct device *device)
{
    struct source *source = ctx;
    snprintf(source->class_id, sizeof source->class_id, "%s",
             device->class_id ? device->class_id : "");
    return false;
}

/* ---- their values ---- */

static enum status room_make(struct making *m, int width, struct err *err)
{
    if (m->x && m->width != width)
        return err_set(err, STATUS_SHAPE, "its tokens are %d wide, others %d", width, m->width);
    if (!m->x) {
        m->width = width;
        m->x = malloc((size_t)picks(m->tokens) * (size_t)width * sizeof *m->x);
    }
    return m->x ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* From one instance, whose first token is the `first` of all: those that are wanted, from the k-th
 * on. values: (count, width). */
static void instance_take(struct making *m, const struct source *source, const struct payload *p,
                          size_t i, const float *values, int64_t *k)
{
    const struct payload_instance *instance = &p->instance[i];
    int64_t first = source->first + instance->first, end = first + instance->count;
    for (int64_t at; *k < picks(m->tokens) && (at = pick_at(m->tokens, *k)) < end; ++*k) {
        int64_t t = at - first;
        m->point[m->points] = (struct point){source, p->positions[instance->first + t]};
        memcpy(m->x + (size_t)m->points++ * (size_t)m->width, values + t * m->width,
               (size_t)m->width * sizeof *m->x);
    }
}

static enum status payload_take(struct making *m, const struct source *source,
                                const struct payload *p, int64_t *k, struct err *err)
{
    TRY(room_make(m, p->width, err));
    float *values = malloc(p->tokens * (size_t)p->width * sizeof *values);
    if (!values)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < p->instances; i++) {
        payload_dequantize(p, i, values);
        instance_take(m, source, p, i, values, k);
    }
    free(values);
    return STATUS_OK;
}

static enum status source_read(struct making *m, struct source *source, int64_t *k, struct err *err)
{
    const struct mapper_config *c = &m->mapper->config;
    struct payload payload;
    enum status known = store_device(c->store, source->device, 0, class_take, source, err);
    if (known != STATUS_OK && known != STATUS_NOT_FOUND)
        return known;
    TRY(lessons_read_upload(c->store, source->sha256, &payload, err));
    enum status status = (int64_t)payload.tokens == source->tokens
                             ? payload_take(m, source, &payload, k, err)
                             : err_set(err, STATUS_CORRUPT, "it has another number of tokens");
    payload_free(&payload);
    return status;
}

static bool stopping(const struct mapper *mapper)
{
    return __atomic_load_n(&mapper->stop, __ATOMIC_RELAXED) != 0;
}

/* An upload that cannot be read is left out, as a round leaves it out. */
static void points_read(struct making *m)
{
    int64_t k = 0;
    for (int i = 0; i < m->sources && !stopping(m->mapper); i++) {
        struct source *source = &m->source[i];
        int64_t end = source->first + source->tokens;
        struct err err = {0};
        if (k < picks(m->tokens) && pick_at(m->tokens, k) < end &&
            source_read(m, source, &k, &err) != STATUS_OK)
            log_line(LOG_WARN, "mapper", "upload %lld is left out: %s", (long long)source->id,
                     err.text);
        while (k < picks(m->tokens) && pick_at(m->tokens, k) < end)
            k++;
    }
}

/* ---- the picture ---- */

static enum status points_place(struct making *m, struct err *err)
{
    struct tsne_options options = tsne_defaults();
    options.cancel = &m->mapper->stop;
    m->perplexity = tsne_perplexity(options.perplexity, m->points);
    m->y = calloc(2 * (size_t)m->points + 1, sizeof *m->y);
    if (!m->y)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    return tsne_embed(m->x, m->points, m->width, &options, m->y, err);
}

/* The middle of the picture and half its longer side. */
struct frame {
    double middle[2], reach;
};

static struct frame frame_of(const double *y, int points)
{
    struct frame frame = {{0, 0}, 0};
    for (int axis = 0; axis < 2 && points > 0; axis++) {
        double least = y[axis], most = y[axis];
        for (int i = 0; i < points; i++) {
            least = fmin(least, y[2 * i + axis]);
            most = fmax(most, y[2 * i + axis]);
        }
        frame.middle[axis] = (least + most) / 2;
        frame.reach = fmax(frame.reach, (most - least) / 2);
    }
    return frame;
}

/* Only who is near whom means something: the picture is made to fill -1 to 1, in steps that an eye
 * can see. */
static double framed(const struct frame *frame, double y, int axis)
{
    return frame->reach > 0 ? round((y - frame->middle[axis]) / frame->reach * 1e4) / 1e4 : 0;
}

static json *point_json(const struct point *point, const double *y, const struct frame *frame)
{
    const struct source *source = point->source;
    json *out = json_object_new();
    bool ok = out && json_set_number(out, "x", framed(frame, y[0], 0)) &&
              json_set_number(out, "y", framed(frame, y[1], 1)) &&
              json_set_string(out, "device", source->device) &&
              (!source->class_id[0] || json_set_string(out, "class", source->class_id)) &&
              json_set_int(out, "upload", source->id) &&
              (point->position == PAYLOAD_REST || json_set_int(out, "position", point->position));
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static json *points_json(const struct making *m)
{
    json *points = json_array_new();
    struct frame frame = frame_of(m->y, m->points);
    bool ok = points != NULL;
    for (int i = 0; i < m->points && ok; i++)
        ok = json_append_take(points, point_json(&m->point[i], m->y + 2 * (size_t)i, &frame));
    if (ok)
        return points;
    json_free(points);
    return NULL;
}

static enum status map_write(struct making *m, struct err *err)
{
    json *out = json_object_new();
    bool ok = out && json_set_int(out, "round", m->round) && json_set_int(out, "of", m->tokens) &&
              json_set_number(out, "perplexity", m->perplexity) &&
              json_set_take(out, "points", points_json(m)) &&
              json_print(out, false, &m->text) == STATUS_OK &&
              buf_append(&m->text, "", 1) == STATUS_OK;
    json_free(out);
    return ok ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "out of memory");
}

static enum status map_put(struct store *store, void *ctx, struct err *err)
{
    struct making *m = ctx;
    return store_map_put(store, m->round, m->sources, (const char *)m->text.data, err);
}

static enum status making_run(struct making *m, struct err *err)
{
    TRY(sources_read(m, err));
    points_read(m);
    TRY(points_place(m, err));
    TRY(map_write(m, err));
    return store_run(m->mapper->config.store, map_put, m, err);
}

static enum status map_make(struct mapper *mapper, int64_t round, struct err *err)
{
    int64_t begun_ms = clock_monotonic_ms();
    struct making *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    m->mapper = mapper;
    m->round = round;
    m->text.max = 1 << 20;
    enum status status = making_run(m, err);
    if (status == STATUS_OK)
        log_line(LOG_INFO, "mapper", "round=%lld: %d of %lld tokens, %.1f s", (long long)round,
                 m->points, (long long)m->tokens, (double)(clock_monotonic_ms() - begun_ms) / 1000);
    buf_free(&m->text);
    free(m->source);
    free(m->x);
    free(m->y);
    free(m);
    return status;
}

/* ---- the thread ---- */

static bool wanted_next(struct mapper *mapper, int64_t *round)
{
    pthread_mutex_lock(&mapper->lock);
    while (!mapper->stop && mapper->count == 0)
        pthread_cond_wait(&mapper->wake, &mapper->lock);
    *round = mapper->wanted[0];
    bool more = !mapper->stop;
    pthread_mutex_unlock(&mapper->lock);
    return more;
}

/* A map whose uploads changed meanwhile is no failure: whoever waits asks again. */
static void wanted_end(struct mapper *mapper, enum status status, const struct err *why)
{
    pthread_mutex_lock(&mapper->lock);
    if (status != STATUS_OK && status != STATUS_CONFLICT) {
        mapper->failed = mapper->wanted[0];
        mapper->why = *why;
    }
    mapper->count--;
    memmove(mapper->wanted, mapper->wanted + 1, (size_t)mapper->count * sizeof mapper->wanted[0]);
    pthread_mutex_unlock(&mapper->lock);
}

static void *mapper_main(void *arg)
{
    struct mapper *mapper = arg;
    int64_t round;
    while (wanted_next(mapper, &round)) {
        struct err err = {0};
        enum status status = map_make(mapper, round, &err);
        if (status != STATUS_OK && status != STATUS_CANCELLED)
            log_line(LOG_WARN, "mapper", "round=%lld: %s", (long long)round, err.text);
        wanted_end(mapper, status, &err);
        mapper->config.on_change(mapper->config.ctx);
    }
    return NULL;
}

enum status mapper_create(const struct mapper_config *config, struct mapper **out, struct err *err)
{
    struct mapper *mapper = calloc(1, sizeof *mapper);
    if (!mapper)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    mapper->config = *config;
    pthread_mutex_init(&mapper->lock, NULL);
    pthread_cond_init(&mapper->wake, NULL);
    mapper->started = pthread_create(&mapper->thread, NULL, mapper_main, mapper) == 0;
    if (!mapper->started) {
        mapper_destroy(mapper);
        return err_set(err, STATUS_NO_MEMORY, "cannot start a thread");
    }
    *out = mapper;
    return STATUS_OK;
}

void mapper_stop(struct mapper *mapper)
{
    pthread_mutex_lock(&mapper->lock);
    __atomic_store_n(&mapper->stop, 1, __ATOMIC_RELAXED);
    pthread_cond_signal(&mapper->wake);
    pthread_mutex_unlock(&mapper->lock);
    if (mapper->started)
        pthread_join(mapper->thread, NULL);
    mapper->started = false;
}

void mapper_destroy(struct mapper *mapper)
{
    if (!mapper)
        return;
    mapper_stop(mapper);
    pthread_cond_destroy(&mapper->wake);
    pthread_mutex_destroy(&mapper->lock);
    free(mapper);
}

/* With the lock held. */
static enum status want_add(struct mapper *mapper, int64_t round, struct err *err)
{
    if (mapper->failed == round) {
        enum status status = mapper->why.code;
        if (err)
            *err = mapper->why;
        mapper->failed = 0;
        return status;
    }
    for (int i = 0; i < mapper->count; i++)
        if (mapper->wanted[i] == round)
            return STATUS_OK;
    if (mapper->count == WANTED_MAX || mapper->stop)
        return err_set(err, STATUS_BUSY, "too many maps are waiting to be made; try again");
    mapper->wanted[mapper->count++] = round;
    pthread_cond_signal(&mapper->wake);
    return STATUS_OK;
}

enum status mapper_want(struct mapper *mapper, int64_t round, struct err *err)
{
    pthread_mutex_lock(&mapper->lock);
    enum status status = want_add(mapper, round, err);
    pthread_mutex_unlock(&mapper->lock);
    return status;
}
