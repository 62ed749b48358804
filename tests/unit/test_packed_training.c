/* Adapters in F32 over a packed base, as QLoRA trains: the gradient is the slope of the loss, it is
 * that of the unpacked twin, and a round of distillation leaves the base alone. What is packed is
 * never trained. */
// links: learn
#include "model/mllm/params.h"
#include "model/tensor/trainer.h"
#include "model/tensor/weight.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PARAMS = 1024, TEXT = 3 };

struct packed {
    struct weight w;
    unsigned char codes[2048];
    float scale[128];
};

static struct tiny_pair pair;
static struct packed *packed[PARAMS];

/* The student's matrices become NF4 and Q8 in turn; its trainable set is stirred, so that every
 * adapter does something. */
static int setup(void **state)
{
    struct err err = {0};
    struct rng rng;
    (void)state;
    rng_init(&rng, 5, 5);
    if (tiny_pair_init(&pair, &err) != STATUS_OK)
        return -1;
    for (int i = 0, k = 0; i < pair.student->param_count; i++) {
        struct param *p = &pair.student->params[i];
        if (!params_quantizable(pair.student, p))
            continue;
        enum weight_type type = k++ % 2 ? WEIGHT_Q8 : WEIGHT_NF4;
        struct packed *to = packed[i] = calloc(1, sizeof *to);
        weight_pack(type, p->data, p->dim[0], p->dim[1], to->codes, to->scale);
        to->w = (struct weight){type, p->dim[0], p->dim[1], to->codes, to->scale};
    }
    for (int i = 0; i < pair.set.count; i++)
        for (size_t j = 0; j < param_count(pair.set.params[i]); j++)
            pair.set.params[i]->data[j] += 0.1F * rng_normal(&rng);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tiny_pair_deinit(&pair);
    for (int i = 0; i < PARAMS; i++) {
        free(packed[i]);
        packed[i] = NULL;
    }
    return 0;
}

/* A copy of the student with its matrices unpacked; then the student itself gets the packed ones.
 */
static struct mllm *pack_student(void)
{
    struct mllm *twin = NULL;
    assert_int_equal(mllm_clone(pair.student, &twin, NULL), STATUS_OK);
    for (int i = 0; i < pair.student->param_count; i++) {
        if (!packed[i])
            continue;
        weight_unpack(&packed[i]->w, 0, param_count(&twin->params[i]), twin->params[i].data);
        pair.student->params[i].packed = &packed[i]->w;
        pair.student->params[i].data = NULL;
    }
    mllm_fingerprint(pair.student);
    return twin;
}

/* Cross-entropy of a fixed batch; grads: of set's values, or NULL. */
static double loss_of(const struct mllm *m, float *grads, struct pool *pool)
{
    static const int32_t question[] = {5, 6}, text[] = {9, 10, 11}, rows[] = {4, 5, 6},
                         labels[] = {10, 11, 1};
    static float visual[TINY_TOKENS * TINY_WIDTH];
    struct arena arena;
    struct tape tape = {.pool = pool, .exact = true};
    for (int i = 0; i < TINY_TOKENS * TINY_WIDTH; i++)
        visual[i] = sinf((float)i);
    assert_true(arena_init(&arena, 1 << 26));
    tape_begin(&tape, &arena, grads != NULL, grads);
    struct mllm_batch b = {.B = 1,
                           .visual = tensor_view(visual, 3, (int[]){1, TINY_TOKENS, TINY_WIDTH}),
                           .question_T = 2,
                           .question = question,
                           .question_count = (int[]){2},
                           .text_T = TEXT,
                           .text = text};
    struct tensor logits = mllm_row_logits(&tape, m, &b, NULL, rows, TEXT);
    struct tensor loss = op_cross_entropy(&tape, logits, labels);
    if (grads)
        tape_backward(&tape, loss, false);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    double value = (double)loss.data[0];
    arena_deinit(&arena);
    return value;
}

static float *grads_of(const struct mllm *m, struct trainable *set, struct pool *pool)
{
    float *grads = calloc(set->values, sizeof *grads);
    assert_non_null(grads);
    assert_int_equal(optim_assign(set->params, set->count), set->values);
    loss_of(m, grads, pool);
    return grads;
}

/* values + h d into the set, d a random direction uphill within one kind of parameter; grad . d. */
static double step_along(const char *kind, const float *values, const float *grads, float h)
{
    float *moved = malloc(pair.set.values * sizeof *moved);
    double slope = 0;
    struct rng rng;
    size_t at = 0;
    assert_non_null(moved);
    rng_init(&rng, 7, 1);
    memcpy(moved, values, pair.set.values * sizeof *moved);
    for (int i = 0; i < pair.set.count; i++)
        for (size_t j = 0; j < param_count(pair.set.params[i]); j++, at++) {
            if (!strstr(pair.set.params[i]->name, kind))
                continue;
            float d = grads[at] > 0 ? rng_uniform(&rng) : -rng_uniform(&rng);
            moved[at] += h * d;
            slope += (double)d * (double)grads[at];
        }
    trainable_write(&pair.set, moved);
    free(moved);
    return slope;
}

/* (loss(+h) - loss(-h)) / 2h is grad . d, h so that the loss changes in its second digit. */
static void the_gradient_is_the_slope(void **state)
{
    static const char *const kinds[] = {".lora_A", ".lora_B", "_adapter.",
                                        "norm",    ".bias",   "query_tokens"};
    (void)state;
    mllm_release(pack_student());
    float *grads = grads_of(pair.student, &pair.set, NULL);
    float *values = malloc(pair.set.values * sizeof *values);
    assert_non_null(values);
    trainable_read(&pair.set, values);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        double slope = step_along(kinds[k], values, grads, 0);
        float h = (float)(0.02 / slope);
        assert_true(slope > 0);
        step_along(kinds[k], values, grads, h);
        double above = loss_of(pair.student, NULL, NULL);
        step_along(kinds[k], values, grads, -h);
        double measured = (above - loss_of(pair.student, NULL, NULL)) / (2 * (double)h);
        if (fabs(measured - slope) > 0.01 * slope)
            fail_msg("%s: slope %g, measured %g", kinds[k], slope, measured);
    }
    free(values);
    free(grads);
}

static void assert_near(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(a[i] - b[i]) <= 1e-4F * (1 + fabsf(b[i])));
}

static void the_gradient_is_that_of_the_unpacked_twin(void **state)
{
    struct trainable set;
    struct pool *pool = NULL;
    (void)state;
    struct mllm *twin = pack_student();
    assert_int_equal(trainable_list(twin, &set, NULL), STATUS_OK);
    assert_int_equal(pool_create(3, &pool, NULL), STATUS_OK);
    float *x = grads_of(pair.student, &pair.set, NULL), *y = grads_of(twin, &set, NULL);
    float *shared = grads_of(pair.student, &pair.set, pool);
    assert_near(x, y, set.values);
    assert_near(shared, x, set.values);
    free(x);
    free(y);
    free(shared);
    pool_destroy(pool);
    trainable_free(&set);
    mllm_release(twin);
}

/* The student's encoder is packed, so the teacher's must be the same. */
static void share_encoder(struct mllm *teacher)
{
    for (int i = 0; i < teacher->param_count; i++) {
        struct param *p = &teacher->params[i];
        const struct param *from = mllm_find(pair.student, p->name);
        if (strncmp(p->name, "vision_model.", 13) == 0 && from->packed)
            p->packed = from->packed;
    }
    mllm_fingerprint(teacher);
}

static void a_round_of_distillation_leaves_the_base_alone(void **state)
{
    enum { UPLOADS = 6 };
    static float visual[UPLOADS * TINY_TOKENS * TINY_WIDTH];
    struct distill_instance uploads[UPLOADS];
    struct distill_options o = distill_defaults();
    struct distill_report report;
    struct distiller *d = NULL;
    struct err err = {0};
    struct hash before, after;
    (void)state;
    mllm_release(pack_student());
    share_encoder(pair.teacher);
    trainable_hash(&pair.set, &before);
    unsigned char codes[64];
    const struct weight *q = pair.student->llama.layer[0].q.weight->packed;
    memcpy(codes, q->codes, sizeof codes);
    tiny_uploads(uploads, visual, UPLOADS, 4);
    for (int i = 0; i < UPLOADS; i++)
        uploads[i].correction = "green";
    o.steps = 40;
    o.batch = 4;
    o.holdout = 0;
    if (distiller_create(pair.teacher, pair.student, NULL, &d, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    enum status s = distiller_round(d, uploads, UPLOADS, &o, NULL, NULL, NULL, &report, &err);
    if (s != STATUS_OK)
        fail_msg("%s", err.text);
    trainable_hash(&pair.set, &after);
    assert_false(hash_equal(&before, &after));
    assert_true(report.loss_last < report.loss_first);
    assert_memory_equal(codes, q->codes, sizeof codes);
    distiller_destroy(d);
}

static void a_packed_parameter_is_no_part_of_the_set(void **state)
{
    struct param *tokens = pair.student->query_tokens;
    struct weight w = {.type = WEIGHT_BF16, .rows = 4, .cols = 16};
    float *data = tokens->data;
    struct trainable set;
    struct err err = {0};
    (void)state;
    tokens->packed = &w;
    tokens->data = NULL;
    assert_int_equal(trainable_list(pair.student, &set, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "query_tokens"));
    assert_non_null(strstr(err.text, "bf16"));
    tokens->packed = NULL;
    tokens->data = data;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_gradient_is_the_slope),
        TEST(the_gradient_is_that_of_the_unpacked_twin),
        TEST(a_round_of_distillation_leaves_the_base_alone),
        TEST(a_packed_parameter_is_no_part_of_the_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
