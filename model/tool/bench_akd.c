/* Runs what the cloud runs (distiller_round) on uploads of one picture: the student answers, the
 * teacher labels and gives its logits and features, the student's trainable set takes a step. The
 * picture is noise unless one is given; the models are whatever the directories hold. */
#include "model/tool/bench_akd.h"

#include "api/base/rng.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/learn/distill.h"
#include "model/task/image.h"
#include "model/tensor/blas.h"
#include "model/tool/bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { UPLOADS_MAX = 64, PHASES = 6 };

struct akd_bench {
    const char *teacher_dir, *student_dir, *image, *question;
    int64_t threads, uploads, steps;
    bool json;
    struct pool *pool;
    struct mllm *teacher, *student;
    struct trainable set;
    float *visual;
    int visual_count;
    struct answer answer;
    struct distill_report report;
    struct {
        const char *name;
        double seconds, gib; /* the most memory held so far, when it ended */
    } phase[PHASES];
    int phases;
};

static double peak_gib(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 0x1p20;
}

static void phase_end(struct akd_bench *b, const char *name, double seconds)
{
    b->phase[b->phases].name = name;
    b->phase[b->phases].seconds = seconds;
    b->phase[b->phases++].gib = peak_gib();
    if (!b->json)
        printf("%-12s %9.2f s   peak %6.2f GiB\n", name, seconds, peak_gib());
    (void)fflush(stdout);
}

/* ---- phases ---- */

static enum status models_load(struct akd_bench *b, struct err *err)
{
    struct trainable_options options = trainable_defaults();
    double start = bench_clock();
    TRY(mllm_load(io_posix(), b->student_dir, &b->student, err));
    TRY(mllm_load(io_posix(), b->teacher_dir, &b->teacher, err));
    TRY(trainable_attach(b->student, &options, &b->set, err));
    phase_end(b, "load", bench_clock() - start);
    return STATUS_OK;
}

static enum status picture(const struct akd_bench *b, int S, struct image *out, struct err *err)
{
    struct rng rng;
    struct image whole = {0};
    if (b->image) {
        TRY(image_load(io_posix(), b->image, &whole, err));
        enum status status = image_resize(&whole, S, S, out, err);
        image_free(&whole);
        return status;
    }
    rng_init(&rng, 1, 1);
    size_t bytes = 3 * (size_t)S * (size_t)S;
    *out = (struct image){.width = S, .height = S, .rgb = malloc(bytes)};
    for (size_t i = 0; out->rgb && i < bytes; i++)
        out->rgb[i] = (uint8_t)rng_below(&rng, 256);
    return out->rgb ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for a picture");
}

static enum status encode(struct akd_bench *b, struct err *err)
{
    const struct mllm_config *c = &b->student->config;
    int side = c->vision.image / c->vision.patch;
    struct image image = {0};
    double start = bench_clock();
    b->visual_count = 1 + side * side;
    b->visual = malloc((size_t)b->visual_count * (size_t)c->vision.hidden * sizeof *b->visual);
    if (!b->visual)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a picture's tokens");
    TRY(picture(b, c->vision.image, &image, err));
    enum status status = answer_encode(b->student, b->pool, image.rgb, 1, b->visual, err);
    image_free(&image);
    phase_end(b, "encode", bench_clock() - start);
    return status;
}

static enum status ask(struct akd_bench *b, struct err *err)
{
    const struct ask ask = {
        .visual = b->visual, .visual_count = b->visual_count, .question = b->question};
    double start = bench_clock();
    TRY(answer_batch(b->student, b->pool, &ask, 1, 16, &b->answer, err));
    phase_end(b, "answer", bench_clock() - start);
    return STATUS_OK;
}

static enum status round_run(struct akd_bench *b, struct distiller *d, struct err *err)
{
    struct distill_instance uploads[UPLOADS_MAX];
    struct distill_options o = distill_defaults();
    for (int i = 0; i < b->uploads; i++)
        uploads[i] = (struct distill_instance){
            .question = b->question, .visual = b->visual, .count = b->visual_count};
    o.steps = (int)b->steps;
    o.batch = (int)b->uploads;
    o.holdout = 0;
    distiller_cross(d, 0);
    TRY(distiller_round(d, uploads, (int)b->uploads, &o, NULL, NULL, NULL, &b->report, err));
    phase_end(b, "teacher", b->report.teacher_seconds);
    phase_end(b, "steps", b->report.seconds - b->report.teacher_seconds);
    return STATUS_OK;
}

static enum status phases_run(struct akd_bench *b, struct err *err)
{
    struct distiller *d = NULL;
    TRY(models_load(b, err));
    TRY(encode(b, err));
    TRY(ask(b, err));
    TRY(distiller_create(b->teacher, b->student, b->pool, &d, err));
    enum status status = round_run(b, d, err);
    distiller_destroy(d);
    return status;
}

/* ---- the report ---- */

static bool phases_json(const struct akd_bench *b, json *o)
{
    json *list = json_object_new();
    bool whole = list != NULL;
    for (int i = 0; whole && i < b->phases; i++)
        whole = json_set_number(list, b->phase[i].name, b->phase[i].seconds);
    return json_set_take(o, "seconds", list) && whole;
}

static int64_t values_of(const struct mllm *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->checkpoint_count; i++)
        n += (int64_t)param_count(&m->params[i]);
    return n;
}

static enum status report(const struct akd_bench *b, struct err *err)
{
    if (!b->json) {
        printf("teacher %.2f billion parameters, student %.2f, %zu trained; %d upload%s, label of "
               "%d tokens at most, loss %.3f\n",
               (double)values_of(b->teacher) / 1e9, (double)values_of(b->student) / 1e9,
               b->set.values, b->report.trained, b->report.trained == 1 ? "" : "s", 32,
               (double)b->report.loss_first);
        return STATUS_OK;
    }
    json *o = json_object_new();
    bool whole = o && json_set_int(o, "teacher_parameters", values_of(b->teacher)) &&
                 json_set_int(o, "student_parameters", values_of(b->student)) &&
                 json_set_int(o, "trained_values", (int64_t)b->set.values) &&
                 json_set_int(o, "uploads", b->report.trained) &&
                 json_set_int(o, "steps", b->steps) &&
                 json_set_int(o, "threads", pool_threads(b->pool)) &&
                 json_set_int(o, "answer_tokens", b->answer.count) &&
                 json_set_number(o, "loss", (double)b->report.loss_first) && phases_json(b, o) &&
                 json_set_number(o, "peak_gib", peak_gib());
    return json_say(o, whole, err);
}

enum status bench_akd_run(int argc, char **argv, struct err *err)
{
    struct akd_bench b = {.question = "what is in the picture?", .uploads = 1, .steps = 1};
    int positional = 0;
    const struct option table[] = {
        {"teacher", OPTION_STRING, &b.teacher_dir, 0, 0, "DIR", "the teacher"},
        {"student", OPTION_STRING, &b.student_dir, 0, 0, "DIR", "the student"},
        {"image", OPTION_STRING, &b.image, 0, 0, "FILE", "PNG or JPEG (default: noise)"},
        {"question", OPTION_STRING, &b.question, 0, 0, "TEXT", "about it"},
        {"uploads", OPTION_INT, &b.uploads, 1, UPLOADS_MAX, "N", "in the batch (default 1)"},
        {"steps", OPTION_INT, &b.steps, 1, 1000, "N", "of training (default 1)"},
        {"threads", OPTION_INT, &b.threads, 0, 64, "N", "0: one a core"},
        {"json", OPTION_FLAG, &b.json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        "cdcca-model bench akd", "One round of AKD: seconds and memory.", NULL, table, 0, 0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!b.teacher_dir || !b.student_dir)
        return err_set(err, STATUS_USAGE, "--teacher DIR and --student DIR are needed");
    TRY(blas_load(err));
    TRY(pool_create((int)b.threads, &b.pool, err));
    enum status status = phases_run(&b, err);
    if (status == STATUS_OK)
        status = report(&b, err);
    trainable_free(&b.set);
    free(b.visual);
    mllm_release(b.student);
    mllm_release(b.teacher);
    pool_destroy(b.pool);
    return status;
}
