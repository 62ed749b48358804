/* The model under test, from whichever files, and the list of checks; see verify_parts.h. */
#include "model/tool/verify_parts.h"

#include "model/tensor/optim.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 30, PATH_BYTES = 4096 };

/* ---- other files in the place of the usual ones ---- */

struct alias {
    struct io io; /* io_posix, but for open */
    const char *config, *weights;
};

static int alias_open(struct io *io, const char *path, int flags, mode_t mode)
{
    const struct alias *a = (const struct alias *)io;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *to = NULL;
    char other[PATH_BYTES];
    if (strcmp(name, "config.json") == 0)
        to = a->config;
    if (strcmp(name, "model.safetensors") == 0)
        to = a->weights;
    if (to) {
        snprintf(other, sizeof other, "%.*s%s", (int)(name - path), path, to);
        path = other;
    }
    return io_posix()->open(io_posix(), path, flags, mode);
}

bool verify_has(const struct verify *v, const char *name)
{
    char path[PATH_BYTES];
    return io_join(path, sizeof path, v->dir, name, NULL) == STATUS_OK && io_exists(path);
}

enum status verify_open(struct verify *v, const char *folder, const char *config,
                        const char *weights, struct err *err)
{
    char dir[PATH_BYTES];
    struct alias alias = {*v->io, config, weights};
    if (config || weights)
        alias.io.open = alias_open;
    snprintf(dir, sizeof dir, "%s", v->dir);
    if (folder)
        TRY(io_join(dir, sizeof dir, v->dir, folder, err));
    verify_close(v);
    struct io *io = config || weights ? &alias.io : v->io;
    TRY(v->trains ? mllm_load_within(io, dir, SIZE_MAX, &v->m, err)
                  : mllm_load(io, dir, &v->m, err));
    return verify_train(v, NULL, err);
}

void verify_close(struct verify *v)
{
    if (v->m)
        mllm_release(v->m);
    free(v->params);
    free(v->grads);
    v->m = NULL, v->params = NULL, v->grads = NULL;
}

enum status verify_train(struct verify *v, const char *part, struct err *err)
{
    struct mllm *m = v->m;
    free(v->params);
    free(v->grads);
    v->count = 0;
    v->grads = NULL;
    v->params = calloc((size_t)m->param_count, sizeof *v->params);
    for (int i = 0; v->params && i < m->param_count; i++) {
        m->params[i].grad_at = -1;
        if (m->params[i].data && (!part || strstr(m->params[i].name, part)))
            v->params[v->count++] = &m->params[i];
    }
    if (v->params) {
        v->values = optim_assign(v->params, v->count);
        v->grads = calloc(v->values + 1, sizeof *v->grads);
    }
    return v->grads ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory to verify");
}

void verify_begin(struct verify *v, bool recording)
{
    memset(v->grads, 0, v->values * sizeof *v->grads);
    tape_begin(&v->tape, &v->arena, recording, v->grads);
}

enum status verify_read(struct io *io, const char *dir, const char *name, json **out,
                        struct err *err)
{
    char path[PATH_BYTES];
    struct buf file = {.max = FILE_BYTES};
    TRY(io_join(path, sizeof path, dir, name, err));
    enum status status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK && (status = json_parse(file.data, file.len, out, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    buf_free(&file);
    return status;
}

/* ---- checks ---- */

/* A difference that is not a number stays the largest. */
static bool grow(double *largest, double difference)
{
    bool grows = *largest == *largest && !(difference <= *largest);
    if (grows)
        *largest = difference;
    return grows;
}

struct verify_check *verify_add(struct verify *v, const char *name, const char *what,
                                double difference)
{
    struct verify_check *c = &v->report->check[v->report->count];
    v->report->count += v->report->count < VERIFY_CHECKS - 1;
    snprintf(c->name, sizeof c->name, "%s%.60s %.30s", v->prefix, name, what);
    c->difference = difference;
    c->ids = false;
    c->where[0] = 0;
    return c;
}

struct verify_check *verify_add_numbers(struct verify *v, const char *name, const char *what,
                                        const float *have, const double *want, size_t n)
{
    double largest = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (grow(&largest, fabs((double)have[i] - want[i])))
            at = i;
    struct verify_check *c = verify_add(v, name, what, largest);
    if (n > 0)
        snprintf(c->where, sizeof c->where, "[%zu] is %.6g, reference %.6g", at, (double)have[at],
                 want[at]);
    return c;
}

enum status verify_add_number(struct verify *v, const char *name, const char *what,
                              const json *object, const char *key, double have, struct err *err)
{
    double want = 0;
    if (!json_has(object, key))
        return STATUS_OK;
    TRY(json_get_number(object, key, -1e30, 1e30, &want, err));
    struct verify_check *c = verify_add(v, name, what, fabs(have - want));
    snprintf(c->where, sizeof c->where, "is %.9g, reference %.9g", have, want);
    return STATUS_OK;
}

static enum status stat_number(const json *stat, const char *key, double have, double *largest,
                               struct err *err)
{
    double want = have;
    TRY(json_opt_number(stat, key, -1e30, 1e30, &want, err));
    grow(largest, fabs(have - want));
    return STATUS_OK;
}

static enum status stat_some(struct verify *v, const json *stat, const char *key, const float *x,
                             size_t n, double *largest, struct err *err)
{
    struct numbers some;
    TRY(numbers_read(&v->tape, stat, key, &some, err));
    if (some.count > n)
        return err_set(err, STATUS_SHAPE, "%s: %zu numbers of a tensor of %zu", key, some.count, n);
    const float *from = key[0] == 'l' ? x + n - some.count : x;
    for (size_t i = 0; i < some.count; i++)
        grow(largest, fabs((double)from[i] - some.at[i]));
    return STATUS_OK;
}

enum status verify_stat(struct verify *v, const json *stat, const float *x, size_t n,
                        double *largest, struct err *err)
{
    static const char *const parts[] = {"first8", "first4", "last4"};
    double norm = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        norm += (double)x[i] * (double)x[i];
        sum += (double)x[i];
    }
    *largest = 0;
    TRY(stat_number(stat, "norm", sqrt(norm), largest, err));
    TRY(stat_number(stat, "sum", sum, largest, err));
    for (int i = 0; i < 3; i++)
        TRY(stat_some(v, stat, parts[i], x, n, largest, err));
    return STATUS_OK;
}
