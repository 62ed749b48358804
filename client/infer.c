/* Local inference; see infer.h. */
#include "client/infer.h"
#include "api/base/checked.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int infer_tokens(const struct mllm *m)
{
    int side = m->config.vision.image / m->config.vision.patch;
    return 1 + side * side;
}

int infer_width(const struct mllm *m)
{
    return m->config.vision.hidden;
}

/* ---- loading ---- */

static bool infer_is_model(const char *dir)
{
    char path[PATH_MAX];
    return io_join(path, sizeof path, dir, "config.json", NULL) == STATUS_OK && io_exists(path);
}

/* The executable's folder, or "." */
static void infer_program_dir(char out[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    else
        snprintf(out, PATH_MAX, ".");
}

enum status infer_default_model(char *out, size_t size, struct err *err)
{
    static const char *const beside[] = {"../share/cdcca/models/student", "../models/student"};
    char program[PATH_MAX];
    infer_program_dir(program);
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        TRY(io_join(out, size, program, beside[i], err));
        if (infer_is_model(out))
            return STATUS_OK;
    }
    snprintf(out, size, "models/student");
    if (infer_is_model(out))
        return STATUS_OK;
    snprintf(out, size, "%s", CDCCA_DATADIR "/models/student");
    if (infer_is_model(out))
        return STATUS_OK;
    return err_set(err, STATUS_NOT_FOUND,
                   "no built-in student at %s/{%s,%s}, models/student or %s; name a directory",
                   program, beside[0], beside[1], out);
}

enum status infer_load(const char *dir, struct mllm **out, struct err *err)
{
    struct mllm *m;
    TRY(mllm_load(io_posix(), dir, &m, err));
    if (m->config.multimodal && m->tokenizer) {
        *out = m;
        return STATUS_OK;
    }
    const char *lacks = m->config.multimodal ? "a tokenizer" : "a vision encoder";
    mllm_release(m);
    return err_set(err, STATUS_UNSUPPORTED,
                   "%s: the model has not %s; the agent needs an InstructBLIP or BLIP-2 directory",
                   dir, lacks);
}

/* ---- answering ---- */

/* Bytes of a well-formed UTF-8 character at s, 0 when there is none. */
static size_t infer_utf8(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    size_t more = s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    for (size_t i = 1; i <= more; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return more + 1;
}

/* A byte-level model may stop inside a character: what is no UTF-8 becomes '?'. */
static void infer_clean(char *text)
{
    for (unsigned char *s = (unsigned char *)text; *s;) {
        size_t len = infer_utf8(s);
        if (!len)
            *s = '?';
        s += len ? len : 1;
    }
}

static enum status infer_check(const struct mllm *m, const struct answer *answer, int i,
                               struct err *err)
{
    float ceiling = logf((float)m->config.text.vocab) + 0.01f;
    if (isfinite(answer->entropy) && isfinite(answer->log_probability) &&
        answer->entropy > -0.01f && answer->entropy <= ceiling)
        return STATUS_OK;
    return err_set(err, STATUS_CORRUPT,
                   "answer %d has entropy %g; a number from 0 to %.2f is right", i,
                   (double)answer->entropy, (double)ceiling);
}

enum status infer_ask_all(const struct mllm *m, struct pool *pool, const struct ask *asks, int n,
                          struct answer *answers, struct err *err)
{
    TRY(answer_batch(m, pool, asks, n, INFER_MAX_NEW, answers, err));
    for (int i = 0; i < n; i++) {
        TRY(infer_check(m, &answers[i], i, err));
        infer_clean(answers[i].text);
    }
    return STATUS_OK;
}

enum status infer_ask(const struct mllm *m, struct pool *pool, const float *visual,
                      const char *const *questions, int n, struct answer *answers, struct err *err)
{
    struct ask asks[INFER_BATCH] = {0};
    size_t stride = (size_t)infer_tokens(m) * (size_t)infer_width(m);
    for (int i = 0; i < n; i++)
        asks[i] = (struct ask){.visual = visual + (size_t)i * stride,
                               .visual_count = infer_tokens(m),
                               .question = questions[i]};
    return infer_ask_all(m, pool, asks, n, answers, err);
}

enum status infer_answer(const struct mllm *m, struct pool *pool, const uint8_t *rgb,
                         const char *const *questions, int n, float *visual, struct answer *answers,
                         struct err *err)
{
    if (n < 1 || n > INFER_BATCH)
        return err_set(err, STATUS_SHAPE, "%d questions at once; 1 to %d are right", n,
                       INFER_BATCH);
    TRY(answer_encode(m, pool, rgb, n, visual, err));
    return infer_ask(m, pool, visual, questions, n, answers, err);
}
