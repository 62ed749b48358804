/* The self-test; see selftest.h. */
#include "client/selftest.h"
#include "model/task/world.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SELFTEST_SURE 0.5f /* nats: a golden answer of this entropy or less counts */
enum { SELFTEST_QUESTIONS = SELFTEST_GOLDEN / SELFTEST_SCENES, SELFTEST_VARIED = 3 };

static const char *const selftest_questions[SELFTEST_QUESTIONS] = {
    "what color is the circle?",
    "how many objects are there?",
    "is there a square?",
    "what is in the picture?",
};

/* ---- the golden prompts ---- */

/* A scene of the built-in world at the model's input size. */
static enum status selftest_image(int size, int i, uint8_t *rgb, struct err *err)
{
    struct world_domain domain;
    struct world_scene scene;
    uint8_t small[WORLD_SIZE * WORLD_SIZE * 3];
    struct image in = {.width = WORLD_SIZE, .height = WORLD_SIZE, .rgb = small}, out = {0};
    TRY(world_domain_parse("source", &domain, err));
    world_scene_draw(&domain, 4711, (uint64_t)i, &scene);
    world_scene_render(&scene, small, NULL);
    TRY(image_resize(&in, size, size, &out, err));
    memcpy(rgb, out.rgb, (size_t)size * (size_t)size * 3);
    image_free(&out);
    return STATUS_OK;
}

enum status selftest_init(const struct mllm *m, struct selftest *out, struct err *err)
{
    size_t side = (size_t)m->config.vision.image, bytes = side * side * 3;
    size_t floats = (size_t)infer_tokens(m) * (size_t)infer_width(m);
    uint8_t *rgb = malloc(SELFTEST_SCENES * bytes);
    float *visual = malloc(SELFTEST_SCENES * floats * sizeof *visual);
    enum status status = STATUS_OK;
    if (!rgb || !visual)
        status = err_set(err, STATUS_NO_MEMORY, "no memory for the golden prompts");
    for (int i = 0; status == STATUS_OK && i < SELFTEST_SCENES; i++)
        status = selftest_image((int)side, i, rgb + (size_t)i * bytes, err);
    if (status == STATUS_OK)
        status = answer_encode(m, NULL, rgb, SELFTEST_SCENES, visual, err);
    free(rgb);
    if (status != STATUS_OK) {
        free(visual);
        return status;
    }
    out->visual = visual;
    return STATUS_OK;
}

void selftest_deinit(struct selftest *test)
{
    free(test->visual);
    test->visual = NULL;
}

/* ---- one round of questions ---- */

/* m's answers (SELFTEST_GOLDEN) to every question about every scene. */
static enum status selftest_ask(const struct selftest *test, const struct mllm *m,
                                struct answer *answers, struct err *err)
{
    size_t floats = (size_t)infer_tokens(m) * (size_t)infer_width(m);
    for (int scene = 0; scene < SELFTEST_SCENES; scene++) {
        struct ask asks[SELFTEST_QUESTIONS] = {0};
        for (int q = 0; q < SELFTEST_QUESTIONS; q++)
            asks[q] = (struct ask){.visual = test->visual + (size_t)scene * floats,
                                   .visual_count = infer_tokens(m),
                                   .question = selftest_questions[q]};
        TRY(infer_ask_all(m, NULL, asks, SELFTEST_QUESTIONS, answers + scene * SELFTEST_QUESTIONS,
                          err));
    }
    return STATUS_OK;
}

struct verdict { /* answers that count: as they were, and as they are */
    const char *before[SELFTEST_GOLDEN + REPLAY_MAX], *now[SELFTEST_GOLDEN + REPLAY_MAX];
    int count;
};

static bool verdict_add(struct verdict *v, const char *before, const char *now)
{
    v->before[v->count] = before;
    v->now[v->count++] = now;
    return strcmp(before, now) == 0;
}

/* How many different texts, counted up to SELFTEST_VARIED. */
static int verdict_variety(const char *const *text, int n)
{
    const char *seen[SELFTEST_VARIED];
    int count = 0;
    for (int i = 0; i < n && count < SELFTEST_VARIED; i++) {
        int j = 0;
        while (j < count && strcmp(seen[j], text[i]) != 0)
            j++;
        if (j == count)
            seen[count++] = text[i];
    }
    return count;
}

static enum status selftest_judge(const struct verdict *v, double share,
                                  const struct selftest_report *r, struct err *err)
{
    if (r->golden >= SELFTEST_GOLDEN_LEAST && r->golden_right < share * r->golden)
        return err_set(err, STATUS_REFUSED,
                       "self-test: %d of %d sure golden answers are as before; %.0f%% are needed",
                       r->golden_right, r->golden, 100 * share);
    if (r->replay >= SELFTEST_REPLAY_LEAST && r->replay_agreed < share * r->replay)
        return err_set(err, STATUS_REFUSED,
                       "self-test: %d of %d sure answers to this device's own samples are as "
                       "before; %.0f%% are needed",
                       r->replay_agreed, r->replay, 100 * share);
    if (verdict_variety(v->before, v->count) >= SELFTEST_VARIED &&
        verdict_variety(v->now, v->count) == 1)
        return err_set(err, STATUS_REFUSED, "self-test: it answers everything with '%.60s'",
                       v->now[0]);
    return STATUS_OK;
}

/* ---- the test ---- */

static void selftest_compare(const struct answer *before, const struct answer *now,
                             const struct replay_set *replay, struct verdict *v,
                             struct selftest_report *r)
{
    for (int i = 0; i < SELFTEST_GOLDEN; i++)
        if (before[i].entropy <= SELFTEST_SURE) {
            r->golden++;
            r->golden_right += verdict_add(v, before[i].text, now[i].text);
        }
    for (int i = 0; replay && i < replay_set_count(replay); i++) {
        r->replay++;
        r->replay_agreed +=
            verdict_add(v, replay_set_answer(replay, i), replay_set_said(replay, i));
    }
}

/* Numbers that are not finite are the candidate's fault. */
static enum status selftest_wild(enum status status, struct err *err)
{
    if (status != STATUS_CORRUPT)
        return status;
    err_prefix(err, "self-test");
    if (err)
        err->code = STATUS_REFUSED;
    return STATUS_REFUSED;
}

enum status selftest_run(const struct selftest *test, const struct mllm *in_use,
                         const struct mllm *candidate, struct replay_set *replay, double share,
                         struct selftest_report *report, struct err *err)
{
    struct verdict v = {.count = 0};
    struct answer *before = calloc(SELFTEST_GOLDEN, sizeof *before);
    struct answer *now = calloc(SELFTEST_GOLDEN, sizeof *now);
    *report = (struct selftest_report){.finite = false};
    enum status status =
        before && now ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for the self-test");
    if (status == STATUS_OK && selftest_ask(test, in_use, before, NULL) != STATUS_OK)
        for (int i = 0; i < SELFTEST_GOLDEN; i++)
            before[i].entropy = INFINITY; /* nothing that it says is worth agreeing with */
    if (status == STATUS_OK)
        status = selftest_wild(selftest_ask(test, candidate, now, err), err);
    if (status == STATUS_OK && replay)
        status = selftest_wild(replay_set_ask(replay, candidate, err), err);
    if (status == STATUS_OK) {
        report->finite = true;
        selftest_compare(before, now, replay, &v, report);
        status = selftest_judge(&v, share, report, err);
    }
    free(before);
    free(now);
    return status;
}
