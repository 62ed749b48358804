/* The library's functions over the agent's parts; see cdcca.h. One mutex: the window, the recent
 * answers and the generation belong to whoever holds it. */
#include "client/cdcca.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/utf8.h"
#include "client/correction.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { DEVICE_WINDOW_AGE_MS = 10 * 60 * 1000, DEVICE_STEP_MS = 50 };

/* The public values are ours. */
_Static_assert(
    (int)CDCCA_MALFORMED == STATUS_MALFORMED && (int)CDCCA_SHAPE == STATUS_SHAPE &&
        (int)CDCCA_UNSUPPORTED == STATUS_UNSUPPORTED && (int)CDCCA_TOO_LARGE == STATUS_TOO_LARGE &&
        (int)CDCCA_NOT_FOUND == STATUS_NOT_FOUND && (int)CDCCA_CONFLICT == STATUS_CONFLICT &&
        (int)CDCCA_USAGE == STATUS_USAGE && (int)CDCCA_CORRUPT == STATUS_CORRUPT &&
        (int)CDCCA_WRONG_BASE == STATUS_WRONG_BASE && (int)CDCCA_DIFFERS == STATUS_DIFFERS &&
        (int)CDCCA_NO_MEMORY == STATUS_NO_MEMORY && (int)CDCCA_DISK_FULL == STATUS_DISK_FULL &&
        (int)CDCCA_BUSY == STATUS_BUSY && (int)CDCCA_UNREACHABLE == STATUS_UNREACHABLE &&
        (int)CDCCA_TIMEOUT == STATUS_TIMEOUT && (int)CDCCA_PEER == STATUS_PEER &&
        (int)CDCCA_IO == STATUS_IO && (int)CDCCA_REFUSED == STATUS_REFUSED &&
        (int)CDCCA_CANCELLED == STATUS_CANCELLED,
    "cdcca.h and status.h differ");
_Static_assert(sizeof((struct cdcca_error){0}.text) == sizeof((struct err){0}.text), "error text");
_Static_assert(sizeof((struct cdcca_answer){0}.text) > LIMIT_ANSWER, "answer text");
_Static_assert(sizeof((struct cdcca_answer){0}.id) >= WINDOW_ID, "answer id");

struct cdcca {
    pthread_mutex_t lock; /* held by whoever asks, corrects or flushes: guards all below */
    struct agent *agent;
    struct recent *recent;
    int64_t window_opened_ms;
};

static enum cdcca_status device_tell(enum status status, const struct err *err,
                                     struct cdcca_error *error)
{
    if (error) {
        error->status = (enum cdcca_status)status;
        snprintf(error->text, sizeof error->text, "%s", status == STATUS_OK ? "" : err->text);
    }
    return (enum cdcca_status)status;
}

/* ---- opening and closing ---- */

/* room[PATH_MAX] may hold the built-in model's place. */
static enum status options_convert(const struct cdcca_options *o, char room[PATH_MAX],
                                   struct agent_options *out, struct err *err)
{
    if (!o || o->size < sizeof *o)
        return err_set(err, STATUS_USAGE,
                       "options.size is %zu; sizeof(struct cdcca_options) is %zu", o ? o->size : 0,
                       sizeof *o);
    if (!o->data_dir || !o->data_dir[0])
        return err_set(err, STATUS_USAGE, "options.data_dir is missing: where the state is kept");
    if (!(o->budget >= 0 && o->budget <= 1) || o->window < 0 || o->window > 1 << 20 ||
        o->threads < 0 || o->threads > 64)
        return err_set(err, STATUS_USAGE,
                       "options: budget %g, window %d, threads %d; 0..1, 0..1048576 and 0..64 are "
                       "right",
                       o->budget, o->window, o->threads);
    *out = (struct agent_options){.cloud_url = o->cloud_url,
                                  .model_dir = o->model_dir,
                                  .data_dir = o->data_dir,
                                  .device = o->device,
                                  .source = "applications",
                                  .budget = o->budget > 0 ? o->budget : 0.1,
                                  .window = o->window ? o->window : 100,
                                  .keep = uts_defaults().keep,
                                  .bits = 4,
                                  .threads = o->threads,
                                  .poll_s = 30,
                                  .seed = 1,
                                  .spool_bytes = 64 << 20,
                                  .segment = 1};
    if (out->model_dir)
        return STATUS_OK;
    out->model_dir = room;
    return infer_default_model(room, PATH_MAX, err);
}

static enum status device_open(const struct cdcca_options *options, struct cdcca *device,
                               struct err *err)
{
    char room[PATH_MAX];
    struct agent_options converted;
    int64_t version;
    TRY(options_convert(options, room, &converted, err));
    TRY(agent_open(&converted, &device->agent, err));
    struct mllm *m = slots_acquire(device->agent->slots, &version);
    enum status status = recent_create(infer_tokens(m), infer_width(m), &device->recent, err);
    mllm_release(m);
    return status;
}

enum cdcca_status cdcca_open(const struct cdcca_options *options, struct cdcca **out,
                             struct cdcca_error *error)
{
    struct err err = {0};
    struct cdcca *device = calloc(1, sizeof *device);
    log_set_level(LOG_ERROR);
    if (!device)
        return device_tell(err_set(&err, STATUS_NO_MEMORY, "no memory for a device"), &err, error);
    pthread_mutex_init(&device->lock, NULL);
    enum status status = device_open(options, device, &err);
    if (status != STATUS_OK) {
        cdcca_close(device);
        device = NULL;
    }
    *out = device;
    return device_tell(status, &err, error);
}

void cdcca_close(struct cdcca *device)
{
    if (!device)
        return;
    if (device->agent) {
        agent_close_window(device->agent);
        agent_close(device->agent);
    }
    recent_destroy(device->recent);
    pthread_mutex_destroy(&device->lock);
    free(device);
}

const char *cdcca_library_version(void)
{
    return CDCCA_VERSION;
}

/* ---- asking ---- */

static enum status text_check(const char *what, const char *text, size_t most, struct err *err)
{
    size_t len = text ? strlen(text) : 0;
    if (len < 1 || len > most || !utf8_valid(text, len))
        return err_set(err, STATUS_USAGE, "the %s has %zu bytes; 1 to %zu bytes of UTF-8 are right",
                       what, len, most);
    return STATUS_OK;
}

/* At the model's input size. Pixels are borrowed. */
static enum status picture_read(const struct cdcca_picture *p, int side, struct image *out,
                                struct err *err)
{
    struct image decoded = {0};
    if (!p || !p->data || !p->len)
        return err_set(err, STATUS_USAGE, "the picture is missing");
    if (p->width == 0 && p->height == 0) {
        TRY(image_decode(p->data, p->len, &decoded, err));
        enum status status = image_resize(&decoded, side, side, out, err);
        image_free(&decoded);
        return status;
    }
    if (p->width < 1 || p->width > LIMIT_IMAGE_SIDE || p->height < 1 ||
        p->height > LIMIT_IMAGE_SIDE || p->len != (size_t)p->width * (size_t)p->height * 3)
        return err_set(err, STATUS_SHAPE,
                       "%d x %d pixels in %zu bytes; sides from 1 to %d and 3 bytes a pixel are "
                       "right",
                       p->width, p->height, p->len, (int)LIMIT_IMAGE_SIDE);
    uint8_t *rgb = malloc(p->len);
    if (!rgb)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a picture");
    memcpy(rgb, p->data, p->len);
    decoded = (struct image){.width = p->width, .height = p->height, .rgb = rgb};
    enum status status = image_resize(&decoded, side, side, out, err);
    image_free(&decoded);
    return status;
}

static enum status device_answer_once(struct agent *a, const uint8_t *rgb, const char *question,
                                      float *visual, struct answer *answer, int64_t *version,
                                      struct err *err)
{
    struct mllm *m = slots_acquire(a->slots, version);
    enum status status = infer_answer(m, a->pool, rgb, &question, 1, visual, answer, err);
    mllm_release(m);
    if (status == STATUS_OK)
        agent_watch(a, *version, 1, answer->text[0] == '\0');
    else if (status == STATUS_CORRUPT)
        agent_watch(a, *version, 1, 1);
    return status;
}

/* By the active version; where it was left for giving no numbers, by the one before. */
static enum status device_answer(struct cdcca *device, const uint8_t *rgb, const char *question,
                                 float *visual, struct answer *answer, int64_t *version,
                                 struct err *err)
{
    struct agent *a = device->agent;
    struct slots_info now;
    enum status status = device_answer_once(a, rgb, question, visual, answer, version, err);
    slots_info(a->slots, &now);
    if (status != STATUS_CORRUPT || now.version == *version)
        return status;
    return device_answer_once(a, rgb, question, visual, answer, version, err);
}

static void record_name(char id[WINDOW_ID])
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint64_t)clock_monotonic_ms();
    snprintf(id, WINDOW_ID, "ask-%" PRId64 "-%016" PRIx64, clock_wall_ms(), random);
}

/* Into the recent answers and the window; visual lies among the former already. */
static void device_learn(struct cdcca *device, const struct image *image, const float *visual,
                         const struct window_record *named)
{
    struct agent *a = device->agent;
    struct window_record record = *named;
    int64_t version, now = clock_monotonic_ms();
    struct mllm *m = slots_acquire(a->slots, &version);
    size_t floats = (size_t)infer_tokens(m) * (size_t)infer_width(m);
    mllm_release(m);
    record.jpeg_bytes = agent_jpeg_bytes(a, image->rgb);
    if (window_count(a->window) == 0)
        device->window_opened_ms = now;
    memcpy(window_room(a->window, 1), visual, floats * sizeof(float));
    agent_keep_record(a, &record);
    recent_add(device->recent, &record);
    a->position++;
    board_lock(&a->board)->answered++;
    board_unlock(&a->board);
    if (window_full(a->window) || now - device->window_opened_ms >= DEVICE_WINDOW_AGE_MS)
        agent_close_window(a);
}

static enum status device_ask(struct cdcca *device, const struct image *image, const char *question,
                              struct cdcca_answer *out, struct err *err)
{
    struct answer answer;
    struct window_record record = {0};
    float *visual = recent_room(device->recent);
    TRY(device_answer(device, image->rgb, question, visual, &answer, &record.version, err));
    record_name(record.id);
    record.entropy = answer.entropy;
    snprintf(record.question, sizeof record.question, "%s", question);
    snprintf(record.answer, sizeof record.answer, "%s", answer.text);
    *out = (struct cdcca_answer){.entropy = (double)answer.entropy, .version = record.version};
    snprintf(out->id, sizeof out->id, "%s", record.id);
    snprintf(out->text, sizeof out->text, "%s", record.answer);
    device_learn(device, image, visual, &record);
    return STATUS_OK;
}

enum cdcca_status cdcca_ask(struct cdcca *device, const struct cdcca_picture *picture,
                            const char *question, struct cdcca_answer *out,
                            struct cdcca_error *error)
{
    struct err err = {0};
    struct image image = {0};
    enum status status = text_check("question", question, LIMIT_QUESTION, &err);
    if (status == STATUS_OK)
        status = picture_read(picture, device->agent->side, &image, &err);
    if (status == STATUS_OK) {
        pthread_mutex_lock(&device->lock);
        status = device_ask(device, &image, question, out, &err);
        pthread_mutex_unlock(&device->lock);
    }
    image_free(&image);
    return device_tell(status, &err, error);
}

enum cdcca_status cdcca_correct(struct cdcca *device, const char *id, const char *text,
                                struct cdcca_error *error)
{
    struct err err = {0};
    enum status status = text_check("correction", text, LIMIT_ANSWER, &err);
    if (status == STATUS_OK)
        status = text_check("id", id, LIMIT_ID, &err);
    if (status == STATUS_OK) {
        pthread_mutex_lock(&device->lock);
        status = agent_correct(device->agent, device->recent, id, text, &err);
        pthread_mutex_unlock(&device->lock);
    }
    return device_tell(status, &err, error);
}

/* ---- waiting ---- */

int64_t cdcca_version(struct cdcca *device)
{
    struct slots_info info;
    slots_info(device->agent->slots, &info);
    return info.version;
}

enum cdcca_status cdcca_wait(struct cdcca *device, int64_t version, int64_t ms,
                             struct cdcca_error *error)
{
    struct err err = {0};
    int64_t until = clock_monotonic_ms() + ms;
    while (cdcca_version(device) <= version && clock_monotonic_ms() < until)
        clock_sleep_ms(DEVICE_STEP_MS);
    if (cdcca_version(device) > version)
        return device_tell(STATUS_OK, &err, error);
    return device_tell(err_set(&err, STATUS_TIMEOUT,
                               "no version above %" PRId64 " within %" PRId64 " ms", version, ms),
                       &err, error);
}

enum cdcca_status cdcca_flush(struct cdcca *device, int64_t ms, struct cdcca_error *error)
{
    struct err err = {0};
    struct agent *a = device->agent;
    enum status status = STATUS_OK;
    pthread_mutex_lock(&device->lock);
    agent_close_window(a);
    pthread_mutex_unlock(&device->lock);
    if (!a->uplink)
        status = err_set(&err, STATUS_USAGE, "no cloud_url was given: uploads wait");
    else if (!uplink_drain(a->uplink, ms))
        status =
            err_set(&err, STATUS_TIMEOUT,
                    "the cloud has not acknowledged all within %" PRId64 " ms; the rest waits", ms);
    return device_tell(status, &err, error);
}
