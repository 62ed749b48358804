/* Probation of a new version; see probation.h. */
#include "client/probation.h"
#include "api/base/log.h"
#include "api/wire/json_out.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { PROBATION_FILE_MAX = 4096, PROBATION_NONE = -1 };

struct probation {
    struct io *io;
    char path[PATH_MAX];
    pthread_mutex_t lock;          /* guards what follows */
    int64_t version, answers, bad; /* since it came into use; PROBATION_NONE: no version yet */
    int64_t allowed;               /* bad answers within PROBATION_ANSWERS */
};

static enum status probation_save(const struct probation *p, struct err *err)
{
    json *root = json_object_new();
    bool whole = root && json_set_string(root, "schema", "cdcca.edge-probation/1") &&
                 json_set_int(root, "version", p->version) &&
                 json_set_int(root, "answers", p->answers) && json_set_int(root, "bad", p->bad) &&
                 json_set_int(root, "allowed", p->allowed);
    return json_save(p->io, p->path, root, whole, err);
}

static void probation_save_or_say(const struct probation *p)
{
    struct err err = {0};
    if (p->version != PROBATION_NONE && probation_save(p, &err) != STATUS_OK)
        log_line(LOG_WARN, "probation", "%s", err.text);
}

static enum status probation_load(struct probation *p, struct err *err)
{
    struct buf text = {.max = PROBATION_FILE_MAX};
    json *root = NULL;
    int64_t version = 0, answers = 0, bad = 0, allowed = 0;
    enum status status = io_read_file(p->io, p->path, &text, err);
    if (status == STATUS_OK)
        status = json_parse(text.data, text.len, &root, err);
    if (status == STATUS_OK)
        status = json_get_int(root, "version", 0, INT64_MAX, &version, err);
    if (status == STATUS_OK)
        status = json_get_int(root, "answers", 0, INT64_MAX, &answers, err);
    if (status == STATUS_OK)
        status = json_get_int(root, "bad", 0, answers, &bad, err);
    if (status == STATUS_OK)
        status = json_get_int(root, "allowed", 0, PROBATION_ANSWERS, &allowed, err);
    if (status == STATUS_OK) {
        p->version = version;
        p->answers = answers;
        p->bad = bad;
        p->allowed = allowed;
    }
    json_free(root);
    buf_free(&text);
    return status;
}

enum status probation_open(struct io *io, const char *data_dir, struct probation **out,
                           struct err *err)
{
    struct err problem = {0};
    struct probation *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a probation");
    p->io = io;
    p->version = PROBATION_NONE;
    pthread_mutex_init(&p->lock, NULL);
    enum status status = io_join(p->path, sizeof p->path, data_dir, "probation.json", err);
    if (status != STATUS_OK) {
        probation_close(p);
        return status;
    }
    status = probation_load(p, &problem);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        log_line(LOG_WARN, "probation", "begins again: %s", problem.text);
    *out = p;
    return STATUS_OK;
}

void probation_close(struct probation *p)
{
    if (!p)
        return;
    probation_save_or_say(p);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void probation_begin(struct probation *p, int64_t version)
{
    double before = p->answers ? (double)p->bad / (double)p->answers : 0;
    double share = before + PROBATION_SHARE;
    p->allowed = share < 1 ? (int64_t)floor(share * PROBATION_ANSWERS) : PROBATION_ANSWERS;
    p->version = version;
    p->answers = p->bad = 0;
    probation_save_or_say(p);
}

static bool probation_count(struct probation *p, int64_t answers, int64_t bad)
{
    bool watched = p->answers < PROBATION_ANSWERS;
    p->answers += answers;
    p->bad += bad;
    if (!watched)
        return false;
    if (bad || p->answers >= PROBATION_ANSWERS)
        probation_save_or_say(p);
    return p->version > 0 && p->bad > p->allowed;
}

bool probation_note(struct probation *p, int64_t version, int64_t answers, int64_t bad)
{
    pthread_mutex_lock(&p->lock);
    if (version != p->version)
        probation_begin(p, version);
    bool leave = probation_count(p, answers, bad);
    pthread_mutex_unlock(&p->lock);
    return leave;
}
