/* Adaptation without a teacher (adapt.h). A batch is labelled like an upload, by the model itself:
 * exemplars with their own greedy answers, along which the entropy (TENT) or the divergence from
 * the average's predictions (CoTTA) is taken. */
#include "model/learn/adapt.h"
#include "model/learn/akd.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 2, BATCH_MAX = 256, VIEWS_MAX = 64 };
static const size_t ARENA_CAP = (size_t)4 << 30; /* address space, per shard */

struct adapt {
    struct adapt_options options;
    struct mllm *model;
    struct pool *pool;
    struct trainable set, average_set;
    struct mllm *average;       /* CoTTA */
    float *source, *now, *mean; /* CoTTA: values of the set at the start, of both models */
    struct param **list;        /* what is trained */
    int list_count;
    struct trainer trainer;
    bool ready; /* trainer is initialised */
    struct exemplar_match match;
    struct exemplars batch;
    const struct exemplar *items[BATCH_MAX];
    struct rng rng;
};

struct adapt_options adapt_defaults(enum adapt_method method)
{
    return (struct adapt_options){.method = method,
                                  .lr = method == ADAPT_TENT ? 1e-3f : 1e-4f,
                                  .batch = 32,
                                  .momentum = 0.999f,
                                  .restore = 0.01f,
                                  .confidence = 0.92f,
                                  .views = 8,
                                  .view_drop = 0.5f};
}

enum status adapt_options_check(const struct adapt_options *o, struct err *err)
{
    const struct {
        const char *name;
        double value, low, high;
    } fields[] = {
        {"lr", (double)o->lr, 1e-8, 10},
        {"batch", o->batch, 1, BATCH_MAX},
        {"momentum", (double)o->momentum, 0, 1},
        {"restore", (double)o->restore, 0, 1},
        {"confidence", (double)o->confidence, 0, 1},
        {"views", o->views, 1, VIEWS_MAX},
        {"view_drop", (double)o->view_drop, 0, 0.9},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!(fields[i].value >= fields[i].low && fields[i].value <= fields[i].high))
            return err_set(err, STATUS_MALFORMED, "%s is %g, expected %g .. %g", fields[i].name,
                           fields[i].value, fields[i].low, fields[i].high);
    return STATUS_OK;
}

/* ---- life ---- */

/* TENT: norms' weights and biases; CoTTA: the whole set. */
static bool is_norm(const char *name)
{
    return strstr(name, "norm.") || strstr(name, "Norm.");
}

static enum status list_make(struct adapt *a, struct err *err)
{
    a->list = calloc((size_t)a->set.count + 1, sizeof(struct param *));
    if (!a->list)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the list of parameters");
    for (int i = 0; i < a->set.count; i++)
        if (a->options.method == ADAPT_COTTA || is_norm(a->set.params[i]->name))
            a->list[a->list_count++] = a->set.params[i];
    return STATUS_OK;
}

static enum status average_make(struct adapt *a, struct err *err)
{
    TRY(mllm_clone(a->model, &a->average, err));
    TRY(trainable_list(a->average, &a->average_set, err));
    a->source = calloc(3 * a->set.values, sizeof *a->source);
    if (!a->source)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu parameters", a->set.values);
    a->now = a->source + a->set.values;
    a->mean = a->now + a->set.values;
    trainable_read(&a->set, a->source);
    return STATUS_OK;
}

static enum status adapt_init(struct adapt *a, struct err *err)
{
    const struct adamw adam = {.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
    TRY(trainable_list(a->model, &a->set, err));
    TRY(list_make(a, err));
    if (a->options.method == ADAPT_COTTA)
        TRY(average_make(a, err));
    exemplar_match_init(&a->match, a->model, a->model);
    TRY(exemplars_reserve(&a->batch, BATCH_MAX, err));
    a->ready = true;
    return trainer_init(&a->trainer, a->pool, a->list, a->list_count, adam, SHARDS, ARENA_CAP, err);
}

enum status adapt_create(struct mllm *model, struct pool *pool, const struct adapt_options *options,
                         struct adapt **out, struct err *err)
{
    TRY(adapt_options_check(options, err));
    struct adapt *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(err, STATUS_NO_MEMORY, "no memory to adapt a model");
    mllm_retain(model);
    a->options = *options;
    a->model = model;
    a->pool = pool;
    rng_init(&a->rng, options->seed, 11);
    enum status s = adapt_init(a, err);
    if (s == STATUS_OK)
        *out = a;
    else
        adapt_destroy(a);
    return s;
}

void adapt_destroy(struct adapt *a)
{
    if (!a)
        return;
    if (a->ready)
        trainer_deinit(&a->trainer);
    exemplars_truncate(&a->batch, 0);
    trainable_free(&a->set);
    trainable_free(&a->average_set);
    mllm_release(a->average);
    mllm_release(a->model);
    free(a->source);
    free(a->list);
    free(a);
}

const struct mllm *adapt_model(const struct adapt *a)
{
    return a->average ? a->average : a->model;
}

/* ---- a batch ---- */

/* Labelled by the model that answers. Samples that cannot be used are left out. */
static enum status batch_fill(struct adapt *a, const struct distill_instance *samples, int n,
                              struct err *err)
{
    while (a->batch.count > 0)
        exemplar_deinit(&a->batch.item[--a->batch.count]);
    for (int i = 0; i < n; i++) {
        struct distill_instance sample = samples[i];
        sample.correction = NULL;
        enum status s = exemplar_init(&a->batch.item[a->batch.count], a->model, &sample, err);
        if (s == STATUS_NO_MEMORY)
            return s;
        a->batch.count += s == STATUS_OK;
    }
    for (int i = 0; i < a->batch.count; i++)
        a->items[i] = &a->batch.item[i];
    return exemplar_teach(adapt_model(a), a->pool, &a->match, a->batch.item, a->batch.count, err);
}

/* Tokens of the batch's answers. */
static int rows_count(const struct adapt *a)
{
    int rows = 0;
    for (int i = 0; i < a->batch.count; i++)
        rows += a->batch.item[i].label_count;
    return rows;
}

/* ---- TENT ---- */

/* The loss of a shard without items. */
static struct tensor nothing(struct tape *tape)
{
    struct tensor zero = tape_tensor(tape, true, 1, (int[]){1});
    if (zero.data)
        zero.data[0] = 0;
    return zero;
}

static struct tensor tent_loss(void *ctx, struct tape *tape, int shard, int shards)
{
    struct adapt *a = ctx;
    struct exemplar_batch batch;
    int from = a->batch.count * shard / shards, n = a->batch.count * (shard + 1) / shards - from;
    if (n == 0)
        return nothing(tape);
    exemplar_batch_build(tape, a->model, a->items + from, n, 0, &batch);
    struct tensor logits =
        mllm_row_logits(tape, a->model, &batch.model, NULL, batch.rows, batch.row_count);
    struct tensor entropy = op_entropy(tape, logits);
    float share = (float)batch.row_count / (float)rows_count(a);
    return op_weighted_sum(tape, &entropy, &share, 1);
}

/* ---- CoTTA ---- */

/* p += softmax of one view's logits, over the rows of all items; p (rows,V) */
static enum status view_add(struct adapt *a, struct arena *arena, float drop, float *p,
                            struct err *err)
{
    struct exemplar_batch batch;
    struct tape tape = {0};
    int V = a->model->config.text.vocab;
    tape_begin(&tape, arena, false, NULL);
    rng_init(&tape.rng, rng_u64(&a->rng), 0);
    exemplar_batch_build(&tape, a->average, a->items, a->batch.count, drop, &batch);
    struct tensor logits =
        mllm_row_logits(&tape, a->average, &batch.model, NULL, batch.rows, batch.row_count);
    float *row = tape_alloc(&tape, (size_t)V * sizeof *row);
    TRY(tape_check(&tape, err));
    for (int r = 0; r < batch.row_count; r++) {
        softmax_row(logits.data + (size_t)r * (size_t)V, V, 1, row);
        for (int v = 0; v < V; v++)
            p[(size_t)r * (size_t)V + (size_t)v] += row[v];
    }
    return STATUS_OK;
}

/* Mean probability of the likeliest token. */
static float confidence_of(const float *p, int rows, int V)
{
    double sum = 0;
    for (int r = 0; r < rows; r++) {
        float most = 0;
        for (int v = 0; v < V; v++)
            most = fmaxf(most, p[(size_t)r * (size_t)V + (size_t)v]);
        sum += (double)most;
    }
    return (float)(sum / rows);
}

/* The average's predictions become the items' logits: log of the mean probability over views. */
static enum status predictions_take(struct adapt *a, struct arena *arena, struct err *err)
{
    int V = a->model->config.text.vocab, rows = rows_count(a), views = 1;
    size_t values = (size_t)rows * (size_t)V;
    float *p = calloc(values, sizeof *p), *at = p;
    if (!p)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d predictions", rows);
    enum status s = view_add(a, arena, 0, p, err);
    if (s == STATUS_OK && confidence_of(p, rows, V) < a->options.confidence) {
        views = a->options.views;
        for (int i = 1; i < views && s == STATUS_OK; i++)
            s = view_add(a, arena, a->options.view_drop, p, err);
    }
    for (int i = 0; s == STATUS_OK && i < a->batch.count; i++) {
        struct exemplar *e = &a->batch.item[i];
        size_t n = (size_t)e->label_count * (size_t)V;
        for (size_t j = 0; j < n; j++)
            e->logits[j] = logf(fmaxf(at[j] / (float)views, 1e-12f));
        at += n;
    }
    free(p);
    return s;
}

/* mean = momentum mean + (1 - momentum) now; then weights go back to their source, some. */
static void average_follow(struct adapt *a)
{
    float m = a->options.momentum;
    trainable_read(&a->set, a->now);
    trainable_read(&a->average_set, a->mean);
    for (size_t i = 0; i < a->set.values; i++) {
        a->mean[i] = m * a->mean[i] + (1 - m) * a->now[i];
        if (rng_uniform(&a->rng) < a->options.restore)
            a->now[i] = a->source[i];
    }
    trainable_write(&a->average_set, a->mean);
    trainable_write(&a->set, a->now);
}

static enum status cotta_step(struct adapt *a, float *loss, struct err *err)
{
    struct akd_step step = {.student = a->model,
                            .items = a->items,
                            .count = a->batch.count,
                            .weight = {[AKD_KL] = 1},
                            .temperature = 1};
    struct arena arena;
    if (!arena_init(&arena, ARENA_CAP))
        return err_set(err, STATUS_NO_MEMORY, "no address space for predictions");
    enum status s = predictions_take(a, &arena, err);
    arena_deinit(&arena);
    if (s == STATUS_OK)
        s = trainer_step(&a->trainer, akd_loss, &step, rng_u64(&a->rng), a->options.lr, 0, loss,
                         err);
    if (s == STATUS_OK)
        average_follow(a);
    return s;
}

/* ---- a window ---- */

enum status adapt_window(struct adapt *a, const struct distill_instance *samples, int n,
                         float *loss, struct err *err)
{
    double sum = 0;
    int steps = 0;
    for (int from = 0; from < n; from += a->options.batch) {
        float step_loss = 0;
        int count = n - from < a->options.batch ? n - from : a->options.batch;
        TRY(batch_fill(a, samples + from, count, err));
        if (a->batch.count == 0)
            continue;
        if (a->options.method == ADAPT_COTTA)
            TRY(cotta_step(a, &step_loss, err));
        else
            TRY(trainer_step(&a->trainer, tent_loss, a, rng_u64(&a->rng), a->options.lr, 0,
                             &step_loss, err));
        sum += (double)step_loss;
        steps++;
    }
    *loss = steps ? (float)(sum / steps) : 0;
    return STATUS_OK;
}
