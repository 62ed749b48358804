/* UTS (uncertainty.h). Stage 2 never scores a token by the variance of the token itself: dropout
 * applied to a feature gives x^2 p/(1-p), its norm. What is looked at is the token's contribution
 * to the queries, attention probability x |value| in each cross-attention layer: its sum (the
 * default) or its variance while other tokens' channels drop out. */
#include "model/learn/uncertainty.h"
#include "api/wire/limits.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES_MAX = 64, CROSS_MAX = 16, QUESTION_IDS = 512 };
static const size_t ARENA_CAP = (size_t)1 << 30;
static const float EXPLORE = 0.7f; /* share of the picks that entropy does not decide */

struct uts_options uts_defaults(void)
{
    return (struct uts_options){
        .score = UTS_ATTENTION, .passes = 8, .dropout = 0.2f, .keep = 10, .rest = true};
}

/* ---- ranking ---- */

struct ranked {
    float score;
    int32_t index;
};

/* Highest score first, equal scores in their order; NaN last. */
static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score > y->score || (!isnan(x->score) && isnan(y->score)))
        return -1;
    if (y->score > x->score || (!isnan(y->score) && isnan(x->score)))
        return 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int index_compare(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* order[0..n-1]: indices by falling score. */
static bool rank(const float *score, int n, int32_t *order)
{
    struct ranked *ranked = malloc((size_t)n * sizeof *ranked + 1);
    if (!ranked)
        return false;
    for (int i = 0; i < n; i++)
        ranked[i] = (struct ranked){score[i], i};
    qsort(ranked, (size_t)n, sizeof *ranked, ranked_compare);
    for (int i = 0; i < n; i++)
        order[i] = ranked[i].index;
    free(ranked);
    return true;
}

/* Gives the last EXPLORE of the n places to the rest of the window, drawn evenly. */
static void explore(int32_t *order, int count, int n, int pool, struct rng *rng)
{
    int picks = pool < count && pool > n ? (int)(EXPLORE * (float)n) : 0;
    rng_shuffle(rng, order + n - picks, count - (n - picks));
}

int uts_select_instances(const float *entropy, int count, int n, float pool_factor, struct rng *rng,
                         int32_t *chosen)
{
    if (n > count)
        n = count;
    if (n <= 0)
        return 0;
    int32_t *order = malloc((size_t)count * sizeof *order);
    if (!order || !rank(entropy, count, order)) {
        free(order);
        return 0;
    }
    float wanted = ceilf(pool_factor * (float)n);
    int pool = wanted >= (float)count ? count : wanted <= (float)n ? n : (int)wanted;
    rng_shuffle(rng, order, pool);
    explore(order, count, n, pool, rng);
    memcpy(chosen, order, (size_t)n * sizeof *chosen);
    qsort(chosen, (size_t)n, sizeof *chosen, index_compare);
    free(order);
    return n;
}

/* ---- scores of tokens ---- */

struct question {
    int32_t ids[QUESTION_IDS];
    int count;
};

static enum status question_encode(const struct mllm *m, const char *text, struct question *out,
                                   struct err *err)
{
    int32_t ids[QUESTION_IDS];
    int count;
    out->count = 0;
    if (!m->config.qformer.text)
        return STATUS_OK;
    return answer_prompt(m, text, ids, &count, out->ids, &out->count, QUESTION_IDS, err);
}

/* One image and question, B times over. */
static void batch_build(struct tape *tape, const struct mllm *m, const float *visual, int count,
                        const struct question *q, int B, struct mllm_batch *out)
{
    size_t size = (size_t)count * (size_t)m->config.vision.hidden;
    int dim[3] = {B, count, m->config.vision.hidden};
    memset(out, 0, sizeof *out);
    out->B = B;
    out->visual = tape_tensor(tape, false, 3, dim);
    int32_t *ids = tape_alloc(tape, (size_t)B * QUESTION_IDS * sizeof *ids);
    int *counts = tape_alloc(tape, (size_t)B * sizeof *counts);
    if (tape->status != STATUS_OK)
        return;
    for (int b = 0; b < B; b++) {
        memcpy(out->visual.data + (size_t)b * size, visual, size * sizeof(float));
        memcpy(ids + (size_t)b * (size_t)q->count, q->ids, (size_t)q->count * sizeof *ids);
        counts[b] = q->count;
    }
    out->question = ids;
    out->question_count = counts;
    out->question_T = q->count;
}

static int cross_layers(const struct mllm *m)
{
    int n = 0;
    for (int i = 0; i < m->config.qformer.layers; i++)
        n += m->qformer.layer[i].cross;
    return n < CROSS_MAX ? n : CROSS_MAX;
}

static void taps_prepare(struct tape *tape, const struct mllm *m, int B, int L,
                         struct mllm_taps *taps)
{
    size_t size =
        (size_t)B * (size_t)m->config.qformer.heads * (size_t)m->config.queries * (size_t)L;
    for (int i = 0; i < cross_layers(m); i++)
        taps->cross_probs[i] = tape_alloc(tape, size * sizeof(float));
}

/* |value| of one head of one token */
static float value_norm(const float *value, int D)
{
    float sum = 0;
    for (int d = 0; d < D; d++)
        sum += value[d] * value[d];
    return sqrtf(sum);
}

/* Adds, for each token l, the sum over queries of mean (one pass) or variance (several) over the B
 * passes of prob * |value| in head h of one layer. probs (B,H,Q,L), value (B,L,H*D). */
static void head_score(const float *probs, const float *value, int B, int H, int Q, int L, int D,
                       int h, float *score)
{
    for (int l = 0; l < L; l++) {
        float norm[PASSES_MAX];
        for (int b = 0; b < B; b++)
            norm[b] = value_norm(
                value + (((size_t)b * (size_t)L + (size_t)l) * (size_t)H + (size_t)h) * (size_t)D,
                D);
        for (int q = 0; q < Q; q++) {
            float sum = 0, squares = 0;
            for (int b = 0; b < B; b++) {
                size_t row = ((size_t)b * (size_t)H + (size_t)h) * (size_t)Q + (size_t)q;
                float c = probs[row * (size_t)L + (size_t)l] * norm[b];
                sum += c;
                squares += c * c;
            }
            float mean = sum / (float)B, variance = squares / (float)B - mean * mean;
            score[l] += B == 1 ? mean : fmaxf(variance, 0);
        }
    }
}

/* passes 1 without dropout: attention mass; more with dropout: variance. */
static enum status score_by_attention(const struct mllm *m, struct tape *tape, const float *visual,
                                      int count, const struct question *q, int passes,
                                      float dropout, float *score, struct err *err)
{
    struct mllm_batch batch;
    struct mllm_taps taps = {.visual_dropout = dropout};
    int H = m->config.qformer.heads;
    batch_build(tape, m, visual, count, q, passes, &batch);
    taps_prepare(tape, m, passes, count, &taps);
    if (tape->status == STATUS_OK)
        qformer_forward(tape, m, &batch, &taps);
    TRY(tape_check(tape, err));
    memset(score, 0, (size_t)count * sizeof *score);
    for (int i = 0; i < cross_layers(m); i++)
        for (int h = 0; h < H; h++)
            head_score(taps.cross_probs[i], taps.cross_value[i].data, passes, H, m->config.queries,
                       count, m->config.qformer.hidden / H, h, score);
    return STATUS_OK;
}

static void score_simply(enum uts_score kind, const float *visual, int count, int C,
                         struct rng *rng, float *score)
{
    for (int l = 0; l < count; l++)
        score[l] =
            kind == UTS_RANDOM ? rng_uniform(rng) : value_norm(visual + (size_t)l * (size_t)C, C);
}

static enum status tokens_score(const struct mllm *m, struct tape *tape, const float *visual,
                                int count, const char *text, const struct uts_options *o,
                                float *score, struct err *err)
{
    struct question question;
    if (o->score == UTS_NORM || o->score == UTS_RANDOM) {
        score_simply(o->score, visual, count, m->config.vision.hidden, &tape->rng, score);
        return STATUS_OK;
    }
    bool variance = o->score == UTS_VARIANCE;
    TRY(question_encode(m, text, &question, err));
    return score_by_attention(m, tape, visual, count, &question, variance ? o->passes : 1,
                              variance ? o->dropout : 0, score, err);
}

static enum status options_check(const struct mllm *m, int count, const struct uts_options *o,
                                 struct err *err)
{
    if (!m->config.multimodal)
        return err_set(err, STATUS_UNSUPPORTED, "the model has no Q-Former to score tokens with");
    if (count < 1 || count > LIMIT_TOKENS)
        return err_set(err, STATUS_TOO_LARGE, "%d visual tokens, expected 1 .. %d", count,
                       LIMIT_TOKENS);
    if (o->passes < 2 || o->passes > PASSES_MAX || !(o->dropout >= 0 && o->dropout < 1) ||
        o->keep < 1)
        return err_set(err, STATUS_MALFORMED,
                       "token sampling: passes 2..%d, dropout 0..1, keep at least 1", PASSES_MAX);
    return STATUS_OK;
}

enum status uts_select_tokens(const struct mllm *m, const float *visual, int count,
                              const char *question, const struct uts_options *options,
                              uint64_t seed, uint16_t *positions, int *kept, struct err *err)
{
    float score[LIMIT_TOKENS];
    int32_t order[LIMIT_TOKENS];
    struct arena arena;
    struct tape tape = {0};
    TRY(options_check(m, count, options, err));
    if (!arena_init(&arena, ARENA_CAP))
        return err_set(err, STATUS_NO_MEMORY, "no address space to score tokens");
    tape_begin(&tape, &arena, false, NULL);
    rng_init(&tape.rng, seed, 0);
    enum status s = tokens_score(m, &tape, visual, count, question, options, score, err);
    arena_deinit(&arena);
    TRY(s);
    if (!rank(score, count, order))
        return err_set(err, STATUS_NO_MEMORY, "no memory to rank %d tokens", count);
    *kept = options->keep < count ? options->keep : count;
    qsort(order, (size_t)*kept, sizeof *order, index_compare);
    for (int i = 0; i < *kept; i++)
        positions[i] = (uint16_t)order[i];
    return STATUS_OK;
}

/* out (C) = mean of the tokens that are not among the `kept` ones. */
static void rest_mean(const float *visual, int count, int C, const uint16_t *positions, int kept,
                      float *out)
{
    int k = 0;
    memset(out, 0, (size_t)C * sizeof *out);
    for (int l = 0; l < count; l++) {
        if (k < kept && positions[k] == l) {
            k++;
            continue;
        }
        for (int c = 0; c < C; c++)
            out[c] += visual[(size_t)l * (size_t)C + (size_t)c] / (float)(count - kept);
    }
}

enum status uts_take_tokens(const struct mllm *m, const float *visual, int count,
                            const char *question, const struct uts_options *options, uint64_t seed,
                            uint16_t *positions, float *out, int *taken, struct err *err)
{
    int C = m->config.vision.hidden, kept = 0;
    TRY(uts_select_tokens(m, visual, count, question, options, seed, positions, &kept, err));
    for (int i = 0; i < kept; i++)
        memcpy(out + (size_t)i * (size_t)C, visual + (size_t)positions[i] * (size_t)C,
               (size_t)C * sizeof *out);
    *taken = kept;
    if (!options->rest || kept == count)
        return STATUS_OK;
    rest_mean(visual, count, C, positions, kept, out + (size_t)kept * (size_t)C);
    positions[(*taken)++] = UTS_REST;
    return STATUS_OK;
}

int uts_rest_weight(const uint16_t *positions, int count, int tokens)
{
    bool rest = count > 0 && positions[count - 1] == UTS_REST;
    return rest && tokens > count ? tokens - count + 1 : 1;
}
