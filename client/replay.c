/* The replay set; see replay.h. */
#include "client/replay.h"
#include "api/base/log.h"
#include "api/wire/payload.h"
#include "api/wire/zst.h"
#include "client/infer.h"
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAY_BITS = 4, REPLAY_SHARE = REPLAY_MAX / 4 };

struct replay_item {
    char id[WINDOW_ID];
    char question[LIMIT_QUESTION + 1], answer[LIMIT_ANSWER + 1], said[LIMIT_ANSWER + 1];
    float entropy, said_entropy;
    uint8_t *codes;   /* (tokens * width / 2), then scales (tokens); one block, owned */
    uint16_t *scales; /* in that block */
};

struct replay_set {
    int tokens, width, most; /* most: items that may be kept */
    int count;               /* the oldest first */
    struct replay_item item[REPLAY_MAX];
};

struct replay {
    struct io *io;
    char path[PATH_MAX], device[LIMIT_ID + 1], encoder[HASH_HEX];
    pthread_mutex_t lock; /* guards the set and its file */
    struct replay_set set;
};

/* ---- items ---- */

static size_t replay_codes_size(const struct replay_set *set)
{
    size_t size = (size_t)set->tokens * (size_t)set->width * REPLAY_BITS / 8;
    return size + size % 2; /* the scales behind it are aligned */
}

static size_t replay_block_size(const struct replay_set *set)
{
    return replay_codes_size(set) + (size_t)set->tokens * sizeof(uint16_t);
}

static enum status replay_item_room(const struct replay_set *set, struct replay_item *item,
                                    struct err *err)
{
    item->codes = calloc(1, replay_block_size(set));
    if (!item->codes)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a sample of the replay set");
    item->scales = (uint16_t *)(void *)(item->codes + replay_codes_size(set));
    return STATUS_OK;
}

static void replay_remove(struct replay_set *set, int i)
{
    free(set->item[i].codes);
    set->count--;
    memmove(&set->item[i], &set->item[i + 1], (size_t)(set->count - i) * sizeof set->item[0]);
}

static void replay_clear(struct replay_set *set)
{
    while (set->count)
        replay_remove(set, set->count - 1);
}

/* Takes the item's block. */
static void replay_append_take(struct replay_set *set, struct replay_item *item)
{
    if (set->count == set->most)
        replay_remove(set, 0);
    set->item[set->count++] = *item;
}

static int replay_same_answers(const struct replay_set *set, const char *answer)
{
    int same = 0;
    for (int i = 0; i < set->count; i++)
        same += strcmp(set->item[i].answer, answer) == 0;
    return same;
}

/* ---- the payload and the items ---- */

static void replay_to_payload(const struct replay *r, struct payload *p)
{
    size_t n = (size_t)r->set.tokens, codes = n * (size_t)r->set.width * REPLAY_BITS / 8;
    for (int i = 0; i < r->set.count; i++) {
        const struct replay_item *item = &r->set.item[i];
        memcpy(p->codes + (size_t)i * codes, item->codes, codes);
        memcpy(p->scales + (size_t)i * n, item->scales, n * sizeof *p->scales);
        for (size_t t = 0; t < n; t++)
            p->positions[(size_t)i * n + t] = (uint16_t)t;
        p->instance[i] = (struct payload_instance){.id = item->id,
                                                   .question = item->question,
                                                   .answer = item->answer,
                                                   .entropy = (double)item->entropy,
                                                   .first = (uint32_t)((size_t)i * n),
                                                   .count = (uint32_t)n};
    }
}

static enum status replay_encode(const struct replay *r, struct buf *out, struct err *err)
{
    struct payload_instance instances[REPLAY_MAX];
    size_t tokens = (size_t)r->set.tokens * (size_t)r->set.count;
    struct payload p = {.device = r->device,
                        .encoder = r->encoder,
                        .bits = REPLAY_BITS,
                        .width = r->set.width,
                        .tokens = tokens,
                        .instances = (size_t)r->set.count,
                        .instance = instances};
    p.codes = malloc(tokens * (size_t)r->set.width * REPLAY_BITS / 8 + 1);
    p.scales = malloc(tokens * sizeof *p.scales + 1);
    p.positions = malloc(tokens * sizeof *p.positions + 1);
    enum status status = STATUS_OK;
    if (p.codes && p.scales && p.positions) {
        replay_to_payload(r, &p);
        status = payload_encode_zstd(&p, out, err);
    } else {
        status = err_set(err, STATUS_NO_MEMORY, "no memory to save the replay set");
    }
    free(p.codes);
    free(p.scales);
    free(p.positions);
    return status;
}

/* Lock held. */
static enum status replay_save(struct replay *r, struct err *err)
{
    struct buf body = {.max = LIMIT_UPLOAD_BYTES};
    if (r->set.count == 0) {
        r->io->unlink(r->io, r->path);
        return STATUS_OK;
    }
    enum status status = replay_encode(r, &body, err);
    if (status == STATUS_OK)
        status = io_write_file(r->io, r->path, body.data, body.len, err);
    buf_free(&body);
    return status;
}

static enum status replay_from_payload(struct replay *r, const struct payload *p, struct err *err)
{
    struct replay_set *set = &r->set;
    size_t codes = (size_t)set->tokens * (size_t)set->width * REPLAY_BITS / 8;
    if (strcmp(p->encoder, r->encoder) != 0 || p->width != set->width || p->bits != REPLAY_BITS)
        return err_set(err, STATUS_CONFLICT, "its tokens are another vision encoder's");
    for (size_t i = 0; i < p->instances && i < REPLAY_MAX; i++) {
        const struct payload_instance *from = &p->instance[i];
        struct replay_item item = {.entropy = (float)from->entropy};
        if (from->count != (uint32_t)set->tokens)
            return err_set(err, STATUS_SHAPE, "sample %zu has %u tokens, not %d", i,
                           (unsigned)from->count, set->tokens);
        TRY(replay_item_room(set, &item, err));
        snprintf(item.id, sizeof item.id, "%s", from->id);
        snprintf(item.question, sizeof item.question, "%s", from->question);
        snprintf(item.answer, sizeof item.answer, "%s", from->answer);
        memcpy(item.codes, p->codes + (size_t)from->first * (size_t)set->width * REPLAY_BITS / 8,
               codes);
        memcpy(item.scales, p->scales + from->first, (size_t)from->count * sizeof *item.scales);
        replay_append_take(set, &item);
    }
    return STATUS_OK;
}

static enum status replay_load(struct replay *r, struct err *err)
{
    struct buf packed = {.max = LIMIT_UPLOAD_BYTES}, raw = {.max = LIMIT_UPLOAD_RAW_BYTES};
    struct payload p = {0};
    enum status status = io_read_file(r->io, r->path, &packed, err);
    if (status == STATUS_OK)
        status = zst_decompress(packed.data, packed.len, &raw, err);
    if (status == STATUS_OK)
        status = payload_decode("application/x-safetensors", raw.data, raw.len, &p, err);
    if (status == STATUS_OK)
        status = replay_from_payload(r, &p, err);
    payload_free(&p);
    buf_free(&packed);
    buf_free(&raw);
    return status;
}

/* ---- life ---- */

enum status replay_open(struct io *io, const char *data_dir, const char *device,
                        const struct mllm *m, struct replay **out, struct err *err)
{
    struct err problem = {0};
    struct replay *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the replay set");
    r->io = io;
    r->set.tokens = infer_tokens(m);
    r->set.width = infer_width(m);
    size_t fits = REPLAY_BYTES / replay_block_size(&r->set);
    r->set.most = fits < REPLAY_SHARE ? REPLAY_SHARE : fits < REPLAY_MAX ? (int)fits : REPLAY_MAX;
    snprintf(r->device, sizeof r->device, "%s", device);
    hash_hex(&m->encoder, r->encoder);
    pthread_mutex_init(&r->lock, NULL);
    enum status status = io_join(r->path, sizeof r->path, data_dir, "replay.tokens", err);
    if (status != STATUS_OK) {
        replay_close(r);
        return status;
    }
    status = replay_load(r, &problem);
    if (status != STATUS_OK)
        replay_clear(&r->set);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        log_line(LOG_WARN, "replay", "%s: begins empty: %s", r->path, problem.text);
    *out = r;
    return STATUS_OK;
}

void replay_close(struct replay *r)
{
    if (!r)
        return;
    replay_clear(&r->set);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

int replay_count(struct replay *r)
{
    pthread_mutex_lock(&r->lock);
    int count = r->set.count;
    pthread_mutex_unlock(&r->lock);
    return count;
}

/* ---- asking ---- */

static void replay_dequantize(const struct replay_set *set, const struct replay_item *item,
                              float *out)
{
    struct payload_instance instance = {.count = (uint32_t)set->tokens};
    struct payload p = {.bits = REPLAY_BITS,
                        .width = set->width,
                        .tokens = (size_t)set->tokens,
                        .instances = 1,
                        .instance = &instance,
                        .codes = item->codes,
                        .scales = item->scales};
    payload_dequantize(&p, 0, out);
}

/* Items from .. from+n-1, n <= INFER_BATCH; visual has room for n of them. */
static enum status replay_ask_some(struct replay_set *set, int from, int n, const struct mllm *m,
                                   float *visual, struct answer *answers, struct err *err)
{
    const char *questions[INFER_BATCH] = {0};
    for (int i = 0; i < n; i++) {
        questions[i] = set->item[from + i].question;
        replay_dequantize(set, &set->item[from + i],
                          visual + (size_t)i * (size_t)set->tokens * (size_t)set->width);
    }
    TRY(infer_ask(m, NULL, visual, questions, n, answers, err));
    for (int i = 0; i < n; i++) {
        struct replay_item *item = &set->item[from + i];
        snprintf(item->said, sizeof item->said, "%s", answers[i].text);
        item->said_entropy = answers[i].entropy > 0 ? answers[i].entropy : 0;
    }
    return STATUS_OK;
}

enum status replay_set_ask(struct replay_set *set, const struct mllm *m, struct err *err)
{
    size_t floats = (size_t)set->tokens * (size_t)set->width * INFER_BATCH;
    float *visual = malloc(floats * sizeof *visual);
    struct answer *answers = malloc(INFER_BATCH * sizeof *answers);
    enum status status = visual && answers
                             ? STATUS_OK
                             : err_set(err, STATUS_NO_MEMORY, "no memory to ask the replay set");
    for (int i = 0; status == STATUS_OK && i < set->count; i += INFER_BATCH) {
        int n = set->count - i < INFER_BATCH ? set->count - i : INFER_BATCH;
        status = replay_ask_some(set, i, n, m, visual, answers, err);
    }
    free(visual);
    free(answers);
    return status;
}

/* ---- snapshots ---- */

static enum status replay_copy(const struct replay_set *from, struct replay_set *to,
                               struct err *err)
{
    *to = (struct replay_set){.tokens = from->tokens, .width = from->width, .most = from->most};
    for (int i = 0; i < from->count; i++) {
        struct replay_item item = from->item[i];
        TRY(replay_item_room(to, &item, err));
        memcpy(item.codes, from->item[i].codes, replay_block_size(to));
        replay_append_take(to, &item);
    }
    return STATUS_OK;
}

enum status replay_snapshot(struct replay *r, struct replay_set **out, struct err *err)
{
    struct replay_set *set = calloc(1, sizeof *set);
    if (!set)
        return err_set(err, STATUS_NO_MEMORY, "no memory to ask the replay set");
    pthread_mutex_lock(&r->lock);
    enum status status = replay_copy(&r->set, set, err);
    pthread_mutex_unlock(&r->lock);
    if (status != STATUS_OK) {
        replay_set_free(set);
        return status;
    }
    *out = set;
    return STATUS_OK;
}

void replay_set_free(struct replay_set *set)
{
    if (!set)
        return;
    replay_clear(set);
    free(set);
}

int replay_set_count(const struct replay_set *set)
{
    return set->count;
}

const char *replay_set_answer(const struct replay_set *set, int i)
{
    return set->item[i].answer;
}

const char *replay_set_said(const struct replay_set *set, int i)
{
    return set->item[i].said;
}

static const struct replay_item *replay_find(const struct replay_set *set, const char *id)
{
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->item[i].id, id) == 0)
            return &set->item[i];
    return NULL;
}

enum status replay_adopt(struct replay *r, const struct replay_set *set, struct err *err)
{
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->set.count;) {
        struct replay_item *item = &r->set.item[i];
        const struct replay_item *asked = replay_find(set, item->id);
        if (asked && asked->said_entropy > REPLAY_SURE) {
            replay_remove(&r->set, i);
            continue;
        }
        if (asked) {
            memcpy(item->answer, asked->said, sizeof item->answer);
            item->entropy = asked->said_entropy;
        }
        i++;
    }
    enum status status = replay_save(r, err);
    pthread_mutex_unlock(&r->lock);
    return status;
}

/* ---- learning from a window ---- */

static bool replay_is_picked(const int *picked, int n, int at)
{
    for (int i = 0; i < n; i++)
        if (picked[i] == at)
            return true;
    return false;
}

/* The confident record whose answer has the fewest places; -1 when there is none. */
static int replay_pick(const struct replay *r, const struct window *window, const int *picked,
                       int n)
{
    int best = -1, fewest = REPLAY_SHARE;
    for (int i = 0; i < window_count(window); i++) {
        const struct window_record *record = window_record(window, i);
        if (record->entropy > REPLAY_SURE || replay_is_picked(picked, n, i))
            continue;
        int same = replay_same_answers(&r->set, record->answer);
        for (int j = 0; j < n; j++)
            same += strcmp(window_record(window, picked[j])->answer, record->answer) == 0;
        if (same < fewest) {
            fewest = same;
            best = i;
        }
    }
    return best;
}

static enum status replay_make_item(const struct replay *r, const struct window *window, int at,
                                    struct replay_item *item, struct err *err)
{
    const struct window_record *record = window_record(window, at);
    *item = (struct replay_item){0};
    snprintf(item->id, sizeof item->id, "%s", record->id);
    snprintf(item->question, sizeof item->question, "%s", record->question);
    snprintf(item->answer, sizeof item->answer, "%s", record->answer);
    TRY(replay_item_room(&r->set, item, err));
    enum status status =
        payload_quantize(window_visual(window, record->at), (size_t)r->set.tokens, r->set.width,
                         REPLAY_BITS, item->codes, item->scales, err);
    if (status != STATUS_OK)
        free(item->codes);
    return status;
}

static enum status replay_pick_all(struct replay *r, const struct window *window,
                                   struct replay_set *fresh, struct err *err)
{
    int picked[REPLAY_PER_WINDOW], most = window_count(window) / 16;
    most = most < 1 ? 1 : most > REPLAY_PER_WINDOW ? REPLAY_PER_WINDOW : most;
    for (int n = 0; n < most; n++) {
        struct replay_item item;
        picked[n] = replay_pick(r, window, picked, n);
        if (picked[n] < 0)
            return STATUS_OK;
        TRY(replay_make_item(r, window, picked[n], &item, err));
        replay_append_take(fresh, &item);
    }
    return STATUS_OK;
}

/* Those that say the same from quantized tokens, and as surely, come into the set. */
static enum status replay_merge(struct replay *r, struct replay_set *fresh, struct err *err)
{
    int before = r->set.count;
    while (fresh->count) {
        struct replay_item item = fresh->item[0];
        fresh->item[0].codes = NULL;
        replay_remove(fresh, 0);
        item.entropy = item.said_entropy;
        if (item.said_entropy <= REPLAY_SURE && strcmp(item.said, item.answer) == 0 &&
            !replay_find(&r->set, item.id)) {
            replay_append_take(&r->set, &item);
            before = -1;
        } else {
            free(item.codes);
        }
    }
    return before < 0 ? replay_save(r, err) : STATUS_OK;
}

enum status replay_learn(struct replay *r, const struct window *window, const struct mllm *m,
                         struct err *err)
{
    struct replay_set *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the replay set");
    fresh->tokens = r->set.tokens;
    fresh->width = r->set.width;
    fresh->most = REPLAY_PER_WINDOW;
    pthread_mutex_lock(&r->lock);
    enum status status = replay_pick_all(r, window, fresh, err);
    pthread_mutex_unlock(&r->lock);
    if (status == STATUS_OK && fresh->count)
        status = replay_set_ask(fresh, m, err);
    pthread_mutex_lock(&r->lock);
    if (status == STATUS_OK)
        status = replay_merge(r, fresh, err);
    pthread_mutex_unlock(&r->lock);
    replay_set_free(fresh);
    return status;
}
