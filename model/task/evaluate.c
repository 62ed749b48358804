/* Accuracy (see evaluate.h). Both ways in fill an evalset: evalset_create one with all samples,
 * evaluate() one small set again and again, so that its memory does not grow with n. */
#include "model/task/evaluate.h"
#include "api/base/checked.h"
#include "api/base/clock.h"
#include "api/base/progress.h"
#include "model/task/caption_tokens.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 128, SHORT_IDS = 16, NORMAL_BYTES = 512 };

struct evalset {
    struct world_question *question; /* (cap) */
    struct world_scene *scene;       /* (cap) */
    bool *answered;                  /* (cap) */
    float *tokens;                   /* (cap,L,C) of the encoder */
    int count, cap, L;
    size_t per_sample; /* L * C */
    struct hash encoder;
};

struct tally {
    int count, choices, mc, da;
};

struct captions {
    struct tally tally;
    struct caption_corpus corpus;
};

struct tallies {
    struct tally five, all, kind[KINDS], new_concepts;
    struct captions captions, captions_new;
    double entropy;
    int entropies;
};

/* ---- the same answer? ---- */

static bool is_article(const char *word)
{
    return strcmp(word, "a") == 0 || strcmp(word, "an") == 0 || strcmp(word, "the") == 0;
}

static size_t word_end(char *out, size_t start, size_t at)
{
    out[at] = '\0';
    if (at == start || is_article(out + start))
        return start;
    out[at] = ' ';
    return at + 1;
}

/* Words that count, each with a blank behind it. What does not fit is cut off. */
static void normalize(const char *text, char out[NORMAL_BYTES])
{
    size_t at = 0, start = 0;
    for (; *text && at < NORMAL_BYTES - 2; text++) {
        unsigned char c = (unsigned char)*text;
        if (isspace(c))
            at = start = word_end(out, start, at);
        else if (!ispunct(c))
            out[at++] = (char)tolower(c);
    }
    out[word_end(out, start, at)] = '\0';
}

bool evaluate_same(const char *a, const char *b)
{
    char one[NORMAL_BYTES], two[NORMAL_BYTES];
    normalize(a, one);
    normalize(b, two);
    return strcmp(one, two) == 0;
}

/* ---- sets ---- */

static enum status set_create(const struct mllm *m, int cap, struct evalset **out, struct err *err)
{
    int side = m->config.vision.image / m->config.vision.patch;
    struct evalset *set = calloc(1, sizeof *set);
    size_t floats, bytes;
    *out = NULL;
    if (!set)
        return err_set(err, STATUS_NO_MEMORY, "no memory for an evaluation set");
    set->cap = cap;
    set->L = 1 + side * side;
    set->encoder = m->encoder;
    set->per_sample = (size_t)set->L * (size_t)m->config.vision.hidden;
    if (cap > 0 && checked_mul(set->per_sample, (size_t)cap, &floats) &&
        checked_mul(floats, sizeof(float), &bytes)) {
        set->tokens = malloc(bytes);
        set->question = calloc((size_t)cap, sizeof *set->question);
        set->scene = calloc((size_t)cap, sizeof *set->scene);
        set->answered = calloc((size_t)cap, sizeof *set->answered);
    }
    if (!set->tokens || !set->question || !set->scene || !set->answered) {
        evalset_destroy(set);
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d evaluation samples", cap);
    }
    *out = set;
    return STATUS_OK;
}

void evalset_destroy(struct evalset *set)
{
    if (!set)
        return;
    free(set->tokens);
    free(set->question);
    free(set->scene);
    free(set->answered);
    free(set);
}

/* Adds at most n samples and their encoder tokens; *end: the stream has no more. */
static enum status set_extend(struct evalset *set, const struct mllm *m, struct pool *pool,
                              struct stream *stream, int n, bool *end, struct err *err)
{
    size_t image = (size_t)m->config.vision.image * (size_t)m->config.vision.image * 3;
    uint8_t *rgb = malloc(image * (size_t)n);
    struct sample sample;
    int taken = 0;
    enum status status = rgb ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for images");
    while (status == STATUS_OK && taken < n) {
        status = stream_next(stream, &sample, err);
        if (status != STATUS_OK)
            break;
        set->question[set->count + taken] = sample.question;
        set->scene[set->count + taken] = sample.scene;
        set->answered[set->count + taken] = sample.has_answer;
        memcpy(rgb + image * (size_t)taken++, sample.pixels, image);
    }
    *end = status == STATUS_NOT_FOUND;
    if (*end)
        status = STATUS_OK;
    if (status == STATUS_OK && taken > 0)
        status = answer_encode(m, pool, rgb, taken,
                               set->tokens + set->per_sample * (size_t)set->count, err);
    set->count += status == STATUS_OK ? taken : 0;
    free(rgb);
    return status;
}

/* ---- scores ---- */

static void tally_add(struct tally *t, bool choices, bool mc, bool da)
{
    t->count++;
    t->choices += choices;
    t->mc += mc;
    t->da += da;
}

static void sample_tally(const struct world_question *q, const struct answer *a, struct tallies *t)
{
    bool choices = q->options > 0, mc = choices && a->choice == q->answer_option;
    bool da = evaluate_same(a->text, q->answer);
    if (q->kind != KIND_CAPTION)
        tally_add(&t->all, choices, mc, da);
    if (q->kind >= KINDS)
        return;
    tally_add(&t->kind[q->kind], choices, mc, da);
    if (q->kind > KIND_EXIST)
        return;
    tally_add(&t->five, choices, mc, da);
    if (q->new_concept)
        tally_add(&t->new_concepts, choices, mc, da);
}

/* A caption and the scene's references, as words. */
static enum status caption_add(struct captions *c, const struct world_scene *scene,
                               const char *caption, bool exact, struct err *err)
{
    char text[WORLD_REFERENCES][WORLD_CAPTION];
    const char *references[WORLD_REFERENCES];
    struct buf words[WORLD_REFERENCES + 1];
    enum status status = STATUS_OK;
    world_captions(scene, text);
    for (int i = 0; i <= WORLD_REFERENCES; i++) {
        words[i] = (struct buf){.max = NORMAL_BYTES * 2};
        if (status == STATUS_OK)
            status = caption_tokenize(i < WORLD_REFERENCES ? text[i] : caption, &words[i]);
        if (i < WORLD_REFERENCES)
            references[i] = (const char *)words[i].data;
    }
    if (status != STATUS_OK)
        err_set(err, status, "a caption of %zu bytes cannot be split into words", strlen(caption));
    else
        status = caption_corpus_add(&c->corpus, (const char *)words[WORLD_REFERENCES].data,
                                    references, WORLD_REFERENCES, err);
    for (int i = 0; i <= WORLD_REFERENCES; i++)
        buf_free(&words[i]);
    tally_add(&c->tally, false, false, exact);
    return status;
}

static enum status caption_tally(const struct evalset *set, int i, const struct answer *a,
                                 struct tallies *t, struct err *err)
{
    const struct world_question *q = &set->question[i];
    bool exact = evaluate_same(a->text, q->answer);
    if (q->kind != KIND_CAPTION)
        return STATUS_OK;
    TRY(caption_add(&t->captions, &set->scene[i], a->text, exact, err));
    if (q->new_concept)
        TRY(caption_add(&t->captions_new, &set->scene[i], a->text, exact, err));
    return STATUS_OK;
}

static enum status captions_score(const struct captions *c, struct caption_result *out,
                                  struct err *err)
{
    *out = (struct caption_result){.count = c->tally.count};
    if (c->tally.count == 0)
        return STATUS_OK;
    out->exact = 100.0 * c->tally.da / c->tally.count;
    return caption_score(&c->corpus, &out->scores, NULL, err);
}

static struct score tally_score(const struct tally *t)
{
    return (struct score){.count = t->count,
                          .choices = t->choices,
                          .mc = t->choices ? 100.0 * t->mc / t->choices : 0.0,
                          .da = t->count ? 100.0 * t->da / t->count : 0.0};
}

static void ask_fill(const struct evalset *set, int i, struct ask *ask)
{
    const struct world_question *q = &set->question[i];
    *ask = (struct ask){.visual = set->tokens + set->per_sample * (size_t)i,
                        .visual_count = set->L,
                        .question = q->text,
                        .options = q->options};
    for (int k = 0; k < q->options; k++)
        ask->option[k] = q->option[k];
}

/* Samples from..to-1, at most CHUNK */
static enum status chunk_tally(const struct evalset *set, int from, int to, const struct mllm *m,
                               struct pool *pool, struct tallies *t, struct err *err)
{
    struct ask *asks = calloc((size_t)(to - from), sizeof *asks);
    struct answer *answers = calloc((size_t)(to - from), sizeof *answers);
    enum status status = STATUS_NO_MEMORY;
    int ids = SHORT_IDS;
    if (asks && answers) {
        for (int i = from; i < to; i++) {
            ask_fill(set, i, &asks[i - from]);
            if (set->question[i].kind == KIND_CAPTION)
                ids = ANSWER_IDS;
        }
        status = answer_batch(m, pool, asks, to - from, ids, answers, err);
    } else {
        err_set(err, STATUS_NO_MEMORY, "no memory for answers");
    }
    for (int i = from; status == STATUS_OK && i < to; i++) {
        t->entropy += (double)answers[i - from].entropy;
        t->entropies++;
        if (!set->answered[i])
            continue;
        sample_tally(&set->question[i], &answers[i - from], t);
        status = caption_tally(set, i, &answers[i - from], t, err);
    }
    free(asks);
    free(answers);
    return status;
}

static enum status evaluation_fill(const struct tallies *t, int64_t started_ms,
                                   struct evaluation *out, struct err *err)
{
    *out = (struct evaluation){
        .five = tally_score(&t->five),
        .all = tally_score(&t->all),
        .new_concepts = tally_score(&t->new_concepts),
        .entropy = t->entropies ? t->entropy / t->entropies : 0.0,
        .seconds = (double)(clock_monotonic_ms() - started_ms) / 1000.0,
    };
    for (int k = 0; k < KINDS; k++)
        out->kind[k] = tally_score(&t->kind[k]);
    TRY(captions_score(&t->captions, &out->captions, err));
    return captions_score(&t->captions_new, &out->captions_new, err);
}

static void tallies_deinit(struct tallies *t)
{
    caption_corpus_free(&t->captions.corpus);
    caption_corpus_free(&t->captions_new.corpus);
}

/* ---- entries ---- */

enum status evalset_create(const struct mllm *m, struct pool *pool, const char *spec, uint64_t seed,
                           int n, struct evalset **out, struct err *err)
{
    struct stream *stream;
    bool end = false;
    *out = NULL;
    TRY(stream_open(io_posix(), spec, m->config.vision.image, seed, &stream, err));
    enum status status = set_create(m, n, out, err);
    while (status == STATUS_OK && !end && (*out)->count < n) {
        int left = n - (*out)->count;
        status = set_extend(*out, m, pool, stream, left < CHUNK ? left : CHUNK, &end, err);
    }
    stream_close(stream);
    if (status != STATUS_OK) {
        evalset_destroy(*out);
        *out = NULL;
    }
    return status;
}

enum status evalset_score(const struct evalset *set, const struct mllm *m, struct pool *pool,
                          struct evaluation *out, struct err *err)
{
    struct tallies t = {0};
    int64_t started_ms = clock_monotonic_ms();
    if (!hash_equal(&set->encoder, &m->encoder))
        return err_set(err, STATUS_WRONG_BASE,
                       "the evaluation set was encoded by another vision encoder than the model's");
    enum status status = STATUS_OK;
    for (int from = 0; from < set->count && status == STATUS_OK; from += CHUNK) {
        int to = set->count - from < CHUNK ? set->count : from + CHUNK;
        status = chunk_tally(set, from, to, m, pool, &t, err);
    }
    if (status == STATUS_OK)
        status = evaluation_fill(&t, started_ms, out, err);
    tallies_deinit(&t);
    return status;
}

/* One chunk after the other through the same small set. */
static enum status stream_tally(struct evalset *set, const struct mllm *m, struct pool *pool,
                                struct stream *stream, int n, bool quiet, struct tallies *t,
                                struct err *err)
{
    struct progress bar;
    enum status status = STATUS_OK;
    bool end = false;
    int done = 0;
    progress_start(&bar, "evaluate", "questions", n, 0, quiet);
    while (status == STATUS_OK && !end && done < n) {
        set->count = 0;
        status = set_extend(set, m, pool, stream, n - done < CHUNK ? n - done : CHUNK, &end, err);
        if (status == STATUS_OK && set->count > 0)
            status = chunk_tally(set, 0, set->count, m, pool, t, err);
        done += set->count;
        progress_update(&bar, done, NULL);
    }
    progress_finish(&bar, NULL);
    return status;
}

enum status evaluate(const struct mllm *m, struct pool *pool, const char *spec, uint64_t seed,
                     int n, bool quiet, struct evaluation *out, struct err *err)
{
    int64_t started_ms = clock_monotonic_ms();
    struct tallies t = {0};
    struct stream *stream;
    struct evalset *set;
    TRY(stream_open(io_posix(), spec, m->config.vision.image, seed, &stream, err));
    enum status status = set_create(m, CHUNK, &set, err);
    if (status == STATUS_OK)
        status = stream_tally(set, m, pool, stream, n, quiet, &t, err);
    if (status == STATUS_OK)
        status = evaluation_fill(&t, started_ms, out, err);
    tallies_deinit(&t);
    evalset_destroy(set);
    stream_close(stream);
    return status;
}
