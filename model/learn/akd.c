/* The distillation loss (akd.h): L = l_ce CE + l_kl T^2 KL + l_query MSE(phi(Q_s), Q_t)
 * + l_repr mean over matched layers of MSE(phi(R_s), R_t) / var(R_t), to which l_wavelet adds the
 * high bands of the difference. PKD and CWD put their own distance in the place of MSE.
 *
 * A shard's means are weighted by its share of the batch's rows (CE, KL) or items (features), so
 * that the sum over shards is the batch's loss, however it was cut. */
#include "model/learn/akd.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIT_CHUNK = 16, TERMS_MAX = 3 + 2 * EXEMPLAR_PAIRS };
static const size_t ARENA_CAP = (size_t)1 << 30;
static const float CWD_TEMPERATURE = 4; /* as in CWD's own experiments */

/* The losses of a shard and their factors, as they are collected. */
struct terms {
    struct tensor loss[TERMS_MAX];
    float factor[TERMS_MAX];
    enum akd_part part[TERMS_MAX];
    float share[TERMS_MAX]; /* of the unweighted batch mean */
    int count;
};

static void term_add(struct terms *t, const struct akd_step *step, enum akd_part part,
                     struct tensor loss, float share)
{
    t->loss[t->count] = loss;
    t->factor[t->count] = share * step->weight[part];
    t->part[t->count] = part;
    t->share[t->count++] = share;
}

static void rows_count(const struct akd_step *step, int *rows, int *soft_rows)
{
    *rows = *soft_rows = 0;
    for (int i = 0; i < step->count; i++) {
        *rows += step->items[i]->label_count;
        *soft_rows += step->items[i]->corrected ? 0 : step->items[i]->label_count;
    }
}

static void label_terms(struct terms *t, const struct akd_step *step, struct tape *tape,
                        struct tensor logits, const struct exemplar_batch *b,
                        const struct exemplar *const *items, int n)
{
    int rows, soft_rows, V = step->student->config.text.vocab;
    rows_count(step, &rows, &soft_rows);
    if (step->weight[AKD_CE] > 0)
        term_add(t, step, AKD_CE, op_cross_entropy(tape, logits, b->labels),
                 (float)b->row_count / (float)rows);
    if (!(step->weight[AKD_KL] > 0) || b->soft_rows == 0)
        return;
    const float *teacher = exemplar_batch_logits(tape, items, n, V);
    term_add(t, step, AKD_KL,
             op_kl(tape, logits, teacher, step->temperature,
                   b->soft_rows < b->row_count ? b->row_weight : NULL),
             (float)b->soft_rows / (float)soft_rows);
}

static struct tensor distance(const struct akd_step *step, struct tape *tape, struct tensor x,
                              const float *target)
{
    if (step->features == FEATURES_PKD)
        return op_pearson(tape, x, target);
    if (step->features == FEATURES_CWD)
        return op_channel_kl(tape, x, target, CWD_TEMPERATURE);
    return op_mse(tape, x, target);
}

/* The matched cross-attention outputs of pair p. */
static void pair_terms(struct terms *t, const struct akd_step *step, struct tape *tape, int p,
                       struct tensor cross, const float *target, float share)
{
    float variance = fmaxf(step->variance[p], 1e-6f);
    struct tensor x = op_linear(tape, cross, &step->phi->map[1 + p]);
    share /= (float)step->match->pairs;
    if (step->weight[AKD_REPR] > 0)
        term_add(t, step, AKD_REPR, distance(step, tape, x, target),
                 step->features == FEATURES_MSE ? share / variance : share);
    if (step->weight[AKD_WAVELET] > 0)
        term_add(t, step, AKD_WAVELET, op_wavelet(tape, x, target), share / sqrtf(variance));
}

static void feature_terms(struct terms *t, const struct akd_step *step, struct tape *tape,
                          const struct mllm_taps *taps, const struct exemplar *const *items, int n)
{
    bool cross = step->weight[AKD_REPR] > 0 || step->weight[AKD_WAVELET] > 0;
    float share = (float)n / (float)step->count;
    if (!cross && !(step->weight[AKD_QUERY] > 0))
        return;
    size_t size = (size_t)step->student->config.queries * (size_t)step->phi->out;
    if (step->weight[AKD_QUERY] > 0) {
        struct tensor x = op_linear(tape, taps->query_output, &step->phi->map[0]);
        const float *target = exemplar_batch_feature(tape, items, n, 0, size);
        term_add(t, step, AKD_QUERY, distance(step, tape, x, target), share);
    }
    for (int p = 0; cross && p < step->match->pairs; p++)
        pair_terms(t, step, tape, p, taps->cross[step->match->student[p]],
                   exemplar_batch_feature(tape, items, n, 1 + p, size), share);
}

static struct tensor nothing(struct tape *tape)
{
    int one = 1;
    struct tensor zero = tape_tensor(tape, true, 1, &one);
    if (zero.data)
        zero.data[0] = 0;
    return zero;
}

struct tensor akd_loss(void *ctx, struct tape *tape, int shard, int shards)
{
    struct akd_step *step = ctx;
    struct exemplar_batch batch;
    struct mllm_taps taps = {0};
    struct terms terms = {0};
    int from = (int)((int64_t)step->count * shard / shards);
    int n = (int)((int64_t)step->count * (shard + 1) / shards) - from;
    const struct exemplar *const *items = step->items + from;
    memset(step->part[shard], 0, sizeof step->part[shard]);
    if (n == 0)
        return nothing(tape);
    exemplar_batch_build(tape, step->student, items, n, step->token_drop, &batch);
    if (tape->status != STATUS_OK)
        return (struct tensor){0};
    struct tensor logits =
        mllm_row_logits(tape, step->student, &batch.model, &taps, batch.rows, batch.row_count);
    label_terms(&terms, step, tape, logits, &batch, items, n);
    feature_terms(&terms, step, tape, &taps, items, n);
    struct tensor loss = op_weighted_sum(tape, terms.loss, terms.factor, terms.count);
    if (tape->status == STATUS_OK)
        for (int i = 0; i < terms.count; i++)
            step->part[shard][terms.part[i]] += terms.share[i] * terms.loss[i].data[0];
    return loss;
}

float akd_part_sum(const struct akd_step *step, enum akd_part part, int shards)
{
    float sum = 0;
    for (int s = 0; s < shards; s++)
        sum += step->part[s][part];
    return sum;
}

float akd_variance(const struct exemplar *const *items, int n, int f, size_t size)
{
    double sum = 0, squares = 0, count = (double)n * (double)size;
    for (int i = 0; i < n; i++) {
        const float *x = items[i]->feature[f];
        for (size_t j = 0; j < size; j++) {
            sum += (double)x[j];
            squares += (double)x[j] * (double)x[j];
        }
    }
    return (float)(squares / count - sum / count * (sum / count));
}

/* ---- phi's start ---- */

/* The student's features of a chunk, into x[f] from exemplar `from` on. */
static enum status features_read(const struct mllm *student, const struct exemplar_match *match,
                                 const struct exemplar *const *items, int from, int n,
                                 struct tape *tape, float **x, struct err *err)
{
    struct exemplar_batch batch;
    struct mllm_taps taps = {0};
    size_t size = (size_t)student->config.queries * (size_t)student->config.qformer.hidden;
    exemplar_batch_build(tape, student, items + from, n, 0, &batch);
    TRY(tape_check(tape, err));
    qformer_forward(tape, student, &batch.model, &taps);
    TRY(tape_check(tape, err));
    memcpy(x[0] + (size_t)from * size, taps.query_output.data, (size_t)n * size * sizeof(float));
    for (int p = 0; p < match->pairs; p++)
        memcpy(x[1 + p] + (size_t)from * size, taps.cross[match->student[p]].data,
               (size_t)n * size * sizeof(float));
    return STATUS_OK;
}

static enum status features_read_all(const struct mllm *student, const struct exemplar_match *match,
                                     const struct exemplar *const *items, int n, float **x,
                                     struct err *err)
{
    struct arena arena;
    struct tape tape = {0};
    enum status s = STATUS_OK;
    if (!arena_init(&arena, ARENA_CAP))
        return err_set(err, STATUS_NO_MEMORY, "no address space for the student");
    for (int from = 0; from < n && s == STATUS_OK; from += FIT_CHUNK) {
        int count = n - from < FIT_CHUNK ? n - from : FIT_CHUNK;
        arena_reset(&arena, 0);
        tape_begin(&tape, &arena, false, NULL);
        s = features_read(student, match, items, from, count, &tape, x, err);
    }
    arena_deinit(&arena);
    return s;
}

/* y: the teacher's feature f of all exemplars in one array, as phi_fit wants it. */
static enum status maps_fit(struct phi *phi, const struct exemplar *const *items, int n, int Q,
                            float **x, float *y, struct err *err)
{
    size_t size = (size_t)Q * (size_t)phi->out;
    for (int f = 0; f < phi->maps; f++) {
        for (int i = 0; i < n; i++)
            memcpy(y + (size_t)i * size, items[i]->feature[f], size * sizeof *y);
        TRY(phi_fit(phi, f, x[f], y, (size_t)n * (size_t)Q, err));
    }
    return STATUS_OK;
}

enum status akd_phi_fit(struct phi *phi, const struct mllm *student,
                        const struct exemplar_match *match, const struct exemplar *const *items,
                        int n, struct err *err)
{
    int Q = student->config.queries;
    size_t rows = (size_t)n * (size_t)Q, each = rows * (size_t)phi->in;
    float *room = malloc((each * (size_t)phi->maps + rows * (size_t)phi->out) * sizeof *room);
    float *x[EXEMPLAR_FEATURES] = {0};
    if (!room)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu rows of features", rows);
    for (int f = 0; f < phi->maps; f++)
        x[f] = room + each * (size_t)f;
    enum status s = features_read_all(student, match, items, n, x, err);
    if (s == STATUS_OK)
        s = maps_fit(phi, items, n, Q, x, room + each * (size_t)phi->maps, err);
    free(room);
    return s;
}
