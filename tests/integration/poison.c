/* poison TEACHER STUDENT: one round with 20 devices of which 2 are hostile, by each kind of attack,
 * with the screen and, beside it, without (all uploads as if one device had sent them). What is
 * released is held against what the 18 honest devices alone make of it, on samples that nothing was
 * trained on. Exit code 1 when an attack moves the score past the bound. */
#include "model/learn/distill.h"
#include "model/task/evaluate.h"
#include "model/tool/simulated.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEVICES = 20,
    HOSTILE = 2, /* devices 0 and 1 */
    EACH = 4,    /* uploads of a device */
    HONEST = (DEVICES - HOSTILE) * EACH,
    FLOOD = 10,
    UPLOADS = HONEST + HOSTILE * EACH * FLOOD,
    WINDOW = 240,
    STEPS = 40,
    CROSS = 4, /* questions of others about each upload */
    HELD_OUT = 1000,
    SEED = 1
};
static const double BOUND = 2, ERRORS = 3; /* points, and standard errors of the difference */

enum attack { CLEAN, NOISE, CORRECTIONS, FLOODING, QUESTIONS, FLOOD_OF_CORRECTIONS, ATTACKS };
static const char *const NAMES[] = {"none",     "random tokens",      "wrong corrections",
                                    "flooding", "shuffled questions", "flood of corrections"};

struct exam {              /* held-out samples, with the right answers */
    struct simulated seen; /* by the student as shipped */
    char (*answer)[WORLD_CAPTION];
};

struct bench {
    struct pool *pool;
    struct mllm *teacher, *student;
    struct exam exam;
    struct simulated window;
    struct payload payload;
    struct distill_instance *sampled; /* DEVICES * EACH, as sent by honest devices */
    float *visual;
};

struct outcome {
    bool right[HELD_OUT];
    double score; /* percent */
    struct distill_report report;
};

/* ---- what is asked ---- */

static enum status exam_open(struct bench *b, struct err *err)
{
    static const char spec[] = "world:target";
    struct exam *e = &b->exam;
    struct stream *stream = NULL;
    struct sample sample;
    TRY(simulated_answer(&e->seen, b->student, b->pool, spec, 990001, 0, HELD_OUT, err));
    e->answer = calloc(HELD_OUT, sizeof *e->answer);
    if (!e->answer)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the answers");
    TRY(stream_open(io_posix(), spec, b->student->config.vision.image, 990001, &stream, err));
    enum status s = STATUS_OK;
    for (int i = 0; i < HELD_OUT && s == STATUS_OK; i++) {
        s = stream_next(stream, &sample, err);
        if (s == STATUS_OK)
            memcpy(e->answer[i], sample.question.answer, sizeof *e->answer);
    }
    stream_close(stream);
    return s;
}

static enum status exam_take(const struct bench *b, const struct mllm *model, struct outcome *out,
                             struct err *err)
{
    static struct ask asks[HELD_OUT];
    static struct answer answers[HELD_OUT];
    const struct simulated *seen = &b->exam.seen;
    size_t row = (size_t)seen->tokens * (size_t)seen->width;
    int right = 0;
    for (int i = 0; i < HELD_OUT; i++)
        asks[i] = (struct ask){.visual = seen->visual + (size_t)i * row,
                               .visual_count = seen->tokens,
                               .question = seen->question[i]};
    TRY(answer_batch(model, b->pool, asks, HELD_OUT, 24, answers, err));
    for (int i = 0; i < HELD_OUT; i++) {
        out->right[i] = evaluate_same(answers[i].text, b->exam.answer[i]);
        right += out->right[i];
    }
    out->score = 100.0 * right / HELD_OUT;
    return STATUS_OK;
}

/* ---- what is sent ---- */

static enum status uploads_open(struct bench *b, struct err *err)
{
    size_t bytes;
    const struct simulated_options options = {
        .pick = PICK_ENT2, .uts = uts_defaults(), .bits = 4, .seed = SEED};
    TRY(simulated_answer(&b->window, b->student, b->pool, "world:target", SEED, 0, WINDOW, err));
    TRY(simulated_upload(&b->window, b->student, DEVICES * EACH, &options, &b->payload, &bytes,
                         err));
    TRY(simulated_instances(&b->payload, b->window.tokens, &b->sampled, &b->visual, err));
    for (int i = 0; i < DEVICES * EACH; i++)
        b->sampled[i].device = (uint64_t)(i % DEVICES) + 1;
    return STATUS_OK;
}

/* What a layer norm could have made: random numbers of an honest token's norm, channel means kept
 * out. out: as many values as the honest upload has. */
static void tokens_invent(const struct bench *b, const struct distill_instance *honest,
                          struct rng *rng, float *out)
{
    int width = b->window.width;
    for (int t = 0; t < honest->count; t++) {
        const float *from = honest->visual + (size_t)t * (size_t)width;
        float *to = out + (size_t)t * (size_t)width;
        double norm = 0, drawn = 0;
        for (int c = 0; c < width; c++) {
            to[c] = rng_normal(rng);
            norm += (double)from[c] * (double)from[c];
            drawn += (double)to[c] * (double)to[c];
        }
        for (int c = 0; c < width; c++)
            to[c] *= (float)sqrt(norm / drawn);
    }
}

/* Upload i of a hostile device, made from what it would have sent honestly. */
static void instance_poison(const struct bench *b, enum attack attack, struct rng *rng, int i,
                            struct distill_instance *one, float *room)
{
    static const char *const wrong[] = {"red", "blue", "yes", "three"};
    if (attack == NOISE) {
        tokens_invent(b, one, rng, room);
        one->visual = room;
    }
    if (attack == CORRECTIONS || attack == FLOOD_OF_CORRECTIONS)
        one->correction = wrong[i % 4];
    if (attack == QUESTIONS)
        one->question = b->sampled[rng_below(rng, DEVICES * EACH)].question;
}

static int uploads_make(const struct bench *b, enum attack attack, struct distill_instance *out,
                        float *room)
{
    struct rng rng;
    int n = 0;
    bool floods = attack == FLOODING || attack == FLOOD_OF_CORRECTIONS;
    size_t row = (size_t)b->window.tokens * (size_t)b->window.width;
    rng_init(&rng, SEED, 17);
    for (int i = 0; i < DEVICES * EACH; i++) {
        bool hostile = b->sampled[i].device <= HOSTILE;
        if (hostile && attack == CLEAN)
            continue;
        for (int k = 0; k < (hostile && floods ? FLOOD : 1); k++) {
            out[n] = b->sampled[i];
            if (hostile)
                instance_poison(b, attack, &rng, i / DEVICES + k, &out[n], room + (size_t)n * row);
            n++;
        }
    }
    return n;
}

/* ---- a round ---- */

static enum status round_learn(const struct bench *b, const struct distill_instance *uploads, int n,
                               struct outcome *out, struct err *err)
{
    const struct trainable_options trainable = trainable_defaults();
    struct distill_options options = distill_defaults();
    struct trainable set;
    struct mllm *student;
    struct distiller *d = NULL;
    options.steps = STEPS;
    options.seed = SEED;
    TRY(mllm_clone(b->student, &student, err));
    enum status s = trainable_attach(student, &trainable, &set, err);
    if (s == STATUS_OK)
        s = distiller_create(b->teacher, student, b->pool, &d, err);
    if (s == STATUS_OK)
        distiller_cross(d, CROSS);
    if (s == STATUS_OK)
        s = distiller_round(d, uploads, n, &options, NULL, NULL, NULL, &out->report, err);
    if (s == STATUS_OK)
        s = exam_take(b, student, out, err);
    if (d)
        distiller_destroy(d);
    trainable_free(&set);
    mllm_release(student);
    return s;
}

static enum status attack_run(const struct bench *b, enum attack attack, bool screened,
                              struct outcome *out, struct err *err)
{
    static struct distill_instance uploads[UPLOADS];
    float *room =
        calloc(UPLOADS, (size_t)b->window.tokens * (size_t)b->window.width * sizeof *room);
    if (!room)
        return err_set(err, STATUS_NO_MEMORY, "no memory for tokens");
    int n = uploads_make(b, attack, uploads, room);
    for (int i = 0; i < n && !screened; i++)
        uploads[i].device = 0;
    enum status s = round_learn(b, uploads, n, out, err);
    free(room);
    return s;
}

/* Points lost against the honest devices alone, and the standard error of that difference. */
static double loss_of(const struct outcome *clean, const struct outcome *o, double *error)
{
    int lost = 0, gained = 0;
    for (int i = 0; i < HELD_OUT; i++) {
        lost += clean->right[i] && !o->right[i];
        gained += !clean->right[i] && o->right[i];
    }
    double n = HELD_OUT, net = lost - gained;
    *error = 100 * sqrt(lost + gained - net * net / n) / n;
    return 100 * net / n;
}

static bool line_print(const char *name, const char *how, const struct outcome *clean,
                       const struct outcome *o)
{
    double error, loss = loss_of(clean, o, &error);
    bool held = loss <= BOUND + ERRORS * error;
    printf("%-20s %-12s %5.1f%%  %+5.1f points (error %.1f)  trained %3d, left out %d+%d, "
           "corrections %d/%d  gate %s  %s\n",
           name, how, o->score, -loss, error, o->report.trained, o->report.left_out.over_share,
           o->report.left_out.strange, o->report.corrections.believed,
           o->report.corrections.believed + o->report.corrections.doubted +
               o->report.corrections.over_share,
           o->report.passed ? "ok" : "no", held ? "held" : "PAST THE BOUND");
    fflush(stdout);
    return held;
}

static enum status attacks_run(const struct bench *b, bool *held, struct err *err)
{
    static struct outcome clean, open, screened;
    TRY(attack_run(b, CLEAN, true, &clean, err));
    line_print(NAMES[CLEAN], "screened", &clean, &clean);
    for (enum attack a = NOISE; a < ATTACKS; a++) {
        TRY(attack_run(b, a, true, &screened, err));
        *held = line_print(NAMES[a], "screened", &clean, &screened) && *held;
        TRY(attack_run(b, a, false, &open, err));
        line_print(NAMES[a], "not screened", &clean, &open);
    }
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct bench b = {0};
    bool held = true;
    if (argc != 3)
        return fprintf(stderr, "usage: poison TEACHER STUDENT\n"), 2;
    enum status s = pool_create(0, &b.pool, &err);
    if (s == STATUS_OK)
        s = mllm_load(io_posix(), argv[1], &b.teacher, &err);
    if (s == STATUS_OK)
        s = mllm_load(io_posix(), argv[2], &b.student, &err);
    if (s == STATUS_OK)
        s = exam_open(&b, &err);
    if (s == STATUS_OK)
        s = uploads_open(&b, &err);
    if (s == STATUS_OK)
        s = attacks_run(&b, &held, &err);
    if (s != STATUS_OK)
        return fprintf(stderr, "poison: %s\n", err.text), 2;
    return held ? 0 : 1;
}
