/* Head refit (refit.h): read the payloads, train the head with the distiller's own machinery
 * (head_only, no gate), score. */
#include "model/tool/refit.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "api/wire/zst.h"
#include "model/task/evaluate.h"
#include "model/tool/simulated.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct flags {
    const char *teacher, *student, *data, *labels;
    int64_t count, seed, steps, threads;
    double lr;
    bool json;
};

struct refit {
    struct flags flags;
    struct pool *pool;
    struct mllm *teacher, *student;
    struct trainable set;
    struct distiller *distiller;
    int uploads;
    struct evaluation after;
};

static enum status flags_parse(struct flags *f, int argc, char **argv, int *files, struct err *err)
{
    *f = (struct flags){.data = "world:target",
                        .labels = "soft",
                        .count = 1300,
                        .seed = 1,
                        .steps = 600,
                        .lr = 3e-3};
    const struct option table[] = {
        {"teacher", OPTION_STRING, &f->teacher, 0, 0, "DIR", "gives the labels"},
        {"student", OPTION_STRING, &f->student, 0, 0, "DIR", "its head is re-fitted"},
        {"data", OPTION_STRING, &f->data, 0, 0, "SPEC",
         "what is scored: world:NAME or a directory"},
        {"count", OPTION_INT, &f->count, 1, 100000, "N", "samples scored"},
        {"labels", OPTION_STRING, &f->labels, 0, 0, "KIND", "soft or hard"},
        {"steps", OPTION_INT, &f->steps, 1, 100000, "N", "optimiser steps of 32 uploads"},
        {"lr", OPTION_NUMBER, &f->lr, 1e-8, 10, "RATE", "learning rate"},
        {"seed", OPTION_INT, &f->seed, 0, 1 << 30, "N", "of the evaluation data and the training"},
        {"threads", OPTION_INT, &f->threads, 0, 64, "N", "0: one per core"},
        {"json", OPTION_FLAG, &f->json, 0, 0, NULL, "print one JSON document"},
        {0}};
    const struct options options = {.program = "cdcca-model refit",
                                    .summary = "re-fit the output head alone on stored uploads",
                                    .positional = "PAYLOAD...",
                                    .table = table,
                                    .positional_min = 1,
                                    .positional_max = 1 << 20};
    TRY(options_parse(&options, argc, argv, files, err));
    if (!f->teacher || !f->student)
        return err_set(err, STATUS_USAGE, "--teacher DIR and --student DIR are needed");
    if (strcmp(f->labels, "soft") != 0 && strcmp(f->labels, "hard") != 0)
        return err_set(err, STATUS_USAGE, "--labels %s: soft or hard", f->labels);
    return STATUS_OK;
}

static bool is_zstd(const struct buf *file)
{
    static const unsigned char magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    return file->len >= sizeof magic && memcmp(file->data, magic, sizeof magic) == 0;
}

static enum status payload_open(const char *path, struct payload *out, struct err *err)
{
    struct buf file = {.max = LIMIT_UPLOAD_RAW_BYTES}, raw = {.max = LIMIT_UPLOAD_RAW_BYTES};
    enum status s = io_read_file(io_posix(), path, &file, err);
    bool packed = s == STATUS_OK && is_zstd(&file);
    if (packed)
        s = zst_decompress(file.data, file.len, &raw, err);
    const struct buf *bytes = packed ? &raw : &file;
    if (s == STATUS_OK)
        s = payload_decode("application/x-safetensors", bytes->data, bytes->len, out, err);
    if (s != STATUS_OK)
        err_prefix(err, "%s", path);
    buf_free(&file);
    buf_free(&raw);
    return s;
}

static enum status encoder_check(const struct refit *r, const struct payload *p, struct err *err)
{
    char encoder[HASH_HEX];
    hash_hex(&r->student->encoder, encoder);
    if (strcmp(encoder, p->encoder) != 0 || p->width != r->student->config.vision.hidden)
        return err_set(err, STATUS_WRONG_BASE, "tokens of another encoder, %.12s, expected %.12s",
                       p->encoder, encoder);
    return STATUS_OK;
}

static enum status payload_learn(struct refit *r, const struct payload *p, struct err *err)
{
    struct distill_instance *instances;
    float *visual;
    TRY(encoder_check(r, p, err));
    int side = r->student->config.vision.image / r->student->config.vision.patch;
    TRY(simulated_instances(p, 1 + side * side, &instances, &visual, err));
    enum status s = distiller_recall(r->distiller, instances, (int)p->instances, err);
    r->uploads += (int)p->instances;
    free(instances);
    free(visual);
    return s;
}

static enum status payloads_learn(struct refit *r, char **paths, int n, struct err *err)
{
    for (int i = 0; i < n; i++) {
        struct payload payload;
        TRY(payload_open(paths[i], &payload, err));
        enum status s = payload_learn(r, &payload, err);
        payload_free(&payload);
        TRY(s);
    }
    return STATUS_OK;
}

static enum status head_train(struct refit *r, struct err *err)
{
    struct distill_report report;
    struct distill_options options = distill_defaults();
    options.head_only = true;
    options.holdout = 0;
    options.labels = strcmp(r->flags.labels, "soft") == 0 ? LABELS_SOFT : LABELS_HARD;
    options.steps = (int)r->flags.steps;
    options.lr = (float)r->flags.lr;
    options.seed = (uint64_t)r->flags.seed;
    return distiller_round(r->distiller, NULL, 0, &options, NULL, NULL, NULL, &report, err);
}

static enum status refit_open(struct refit *r, struct err *err)
{
    struct trainable_options options = trainable_defaults();
    TRY(pool_create((int)r->flags.threads, &r->pool, err));
    TRY(mllm_load(io_posix(), r->flags.teacher, &r->teacher, err));
    TRY(mllm_load(io_posix(), r->flags.student, &r->student, err));
    TRY(trainable_attach(r->student, &options, &r->set, err));
    return distiller_create(r->teacher, r->student, r->pool, &r->distiller, err);
}

static void score_add(json *object, const char *key, const struct score *score)
{
    json *value = json_object_new();
    json_set_number(value, "mc", score->mc);
    json_set_number(value, "da", score->da);
    json_set_take(object, key, value);
}

static void evaluation_add(json *document, const char *key, const struct evaluation *e)
{
    json *object = json_object_new();
    score_add(object, "target", &e->five);
    score_add(object, "all_kinds", &e->all);
    score_add(object, "new_concepts", &e->new_concepts);
    json_set_take(document, key, object);
}

static enum status refit_print(const struct refit *r, struct err *err)
{
    if (!r->flags.json) {
        printf("head refit on %d uploads: %.1f/%.1f, new concepts %.1f/%.1f\n", r->uploads,
               r->after.five.mc, r->after.five.da, r->after.new_concepts.mc,
               r->after.new_concepts.da);
        return STATUS_OK;
    }
    json *document = json_object_new();
    json_set_int(document, "uploads", r->uploads);
    evaluation_add(document, "head_refit", &r->after);
    return json_say(document, true, err);
}

static enum status refit_all(struct refit *r, char **paths, int n, struct err *err)
{
    TRY(refit_open(r, err));
    TRY(payloads_learn(r, paths, n, err));
    TRY(head_train(r, err));
    TRY(evaluate(r->student, r->pool, r->flags.data, (uint64_t)r->flags.seed, (int)r->flags.count,
                 true, &r->after, err));
    return refit_print(r, err);
}

enum status refit_run(int argc, char **argv, struct err *err)
{
    struct refit r = {0};
    int files;
    TRY(flags_parse(&r.flags, argc, argv, &files, err));
    enum status s = refit_all(&r, argv + 1, files, err);
    distiller_destroy(r.distiller);
    trainable_free(&r.set);
    if (r.student)
        mllm_release(r.student);
    if (r.teacher)
        mllm_release(r.teacher);
    if (r.pool)
        pool_destroy(r.pool);
    return s;
}
