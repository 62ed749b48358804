/* distill: a round learns from the teacher, is a transaction, goes on after a restart with the same
 * bits, and depends on nothing but seed, data and threads. */
// links: learn
#include "model/learn/distill.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { UPLOADS = 40 };

struct fixture {
    struct tiny_pair pair;
    struct pool *pool;
    struct distiller *d;
    struct distill_instance uploads[UPLOADS], later[UPLOADS];
    float visual[2][UPLOADS * TINY_TOKENS * TINY_WIDTH];
    float *before, *after; /* the set's values */
};

static struct mllm *taught; /* the teacher of all tests, made once */

static int group_setup(void **state)
{
    struct tiny_pair pair;
    struct err err = {0};
    (void)state;
    if (tiny_pair_init(&pair, &err) != STATUS_OK ||
        tiny_taught_teacher(&pair, &taught, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    tiny_pair_deinit(&pair);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    mllm_release(taught);
    return 0;
}

static struct distill_options options_small(void)
{
    struct distill_options o = distill_defaults();
    o.steps = 60;
    o.batch = 8;
    o.lr = 1e-2f;
    o.seed = 4;
    return o;
}

static void fixture_open(struct fixture *f, int threads)
{
    struct err err = {0};
    memset(f, 0, sizeof *f);
    if (tiny_pair_init(&f->pair, &err) != STATUS_OK ||
        pool_create(threads, &f->pool, &err) != STATUS_OK ||
        distiller_create(taught, f->pair.student, f->pool, &f->d, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    distiller_cross(f->d, 0);
    tiny_uploads(f->uploads, f->visual[0], UPLOADS, 1);
    tiny_uploads(f->later, f->visual[1], UPLOADS, 2);
    f->before = calloc(2 * f->pair.set.values, sizeof *f->before);
    f->after = f->before + f->pair.set.values;
    trainable_read(&f->pair.set, f->before);
}

static void fixture_close(struct fixture *f)
{
    distiller_destroy(f->d);
    pool_destroy(f->pool);
    tiny_pair_deinit(&f->pair);
    free(f->before);
}

static int setup(void **state)
{
    struct fixture *f = malloc(sizeof *f);
    fixture_open(f, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static void round_ok(struct fixture *f, const struct distill_instance *uploads,
                     const struct distill_options *o, struct distill_report *report)
{
    struct err err = {0};
    if (distiller_round(f->d, uploads, UPLOADS, o, NULL, NULL, NULL, report, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    trainable_read(&f->pair.set, f->after);
}

/* What devices get after the round, and how far it agrees: by training through its code, and by
 * coding what was trained without a look at it. */
static float coded_loss(struct fixture *f, bool through)
{
    struct distill_options o = options_small();
    struct distill_report report;
    struct delta delta;
    o.code = compress_defaults();
    o.code.codec = 'h';
    o.edge = through ? f->before : NULL;
    round_ok(f, f->uploads, &o, &report);
    assert_int_equal(
        compress_encode(&f->pair.set, f->before, f->after, 0, 1, &o.code, &delta, f->after, NULL),
        STATUS_OK);
    delta_free(&delta);
    trainable_write(&f->pair.set, f->after);
    o.edge = NULL;
    o.steps = 1; /* its loss is that of the devices' model */
    o.lr = 1e-7f;
    round_ok(f, f->uploads, &o, &report);
    return report.loss_first;
}

static bool changed(struct fixture *f)
{
    trainable_read(&f->pair.set, f->after);
    return memcmp(f->before, f->after, f->pair.set.values * sizeof *f->before) != 0;
}

static void test_training_through_the_code(void **state)
{
    struct fixture afterwards;
    fixture_open(&afterwards, 2);
    float loss = coded_loss(*state, true), other = coded_loss(&afterwards, false);
    fixture_close(&afterwards);
    if (!(loss < 0.9f * other))
        fail_msg("loss %g through the code, %g afterwards", (double)loss, (double)other);
}

static void test_loss_falls_and_agreement_rises(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    round_ok(f, f->uploads, &o, &report);
    assert_int_equal(report.instances, UPLOADS);
    assert_int_equal(report.held, UPLOADS / 5);
    assert_int_equal(report.trained, UPLOADS - UPLOADS / 5);
    assert_true(report.loss_last < 0.7f * report.loss_first);
    assert_true(report.agreement_after > report.agreement_before);
    assert_true(report.passed);
    assert_true(report.replay_before == -1);
    assert_true(changed(f));
    round_ok(f, f->later, &o, &report);
    assert_int_equal(report.trained, 2 * UPLOADS - UPLOADS / 5);
    assert_true(report.replay_before >= 0);
}

static void test_hard_labels_and_labels_alone(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    o.labels = LABELS_HARD;
    o.query = o.repr = 0;
    round_ok(f, f->uploads, &o, &report);
    assert_true(report.loss_last < 0.7f * report.loss_first);
}

/* The encoder, frozen weights and the teacher stay as they are. */
static void test_only_the_set_is_trained(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    const struct param *frozen =
        mllm_find(f->pair.student, "language_model.model.layers.0.self_attn.q_proj.weight");
    struct hash encoder = f->pair.student->encoder;
    float first = frozen->data[0];
    round_ok(f, f->uploads, &o, &report);
    assert_true(frozen->data[0] == first);
    mllm_fingerprint(f->pair.student);
    assert_true(hash_equal(&encoder, &f->pair.student->encoder));
}

static void test_head_only(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    struct err err;
    float head = f->pair.student->llama.head.weight->data[0];
    o.head_only = true;
    round_ok(f, f->uploads, &o, &report);
    assert_false(changed(f));
    assert_true(f->pair.student->llama.head.weight->data[0] != head);
    o.head_only = false;
    assert_int_equal(distiller_round(f->d, f->uploads, 1, &o, NULL, NULL, NULL, &report, &err),
                     STATUS_CONFLICT);
}

/* A user's word overrides the teacher's. */
static void test_correction_is_learned(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    struct answer answer;
    struct err err = {0};
    for (int i = 0; i < UPLOADS; i++)
        f->uploads[i].correction = "green";
    o.holdout = 0;
    o.steps = 150;
    round_ok(f, f->uploads, &o, &report);
    struct ask ask = {.visual = f->uploads[0].visual,
                      .visual_count = f->uploads[0].count,
                      .question = f->uploads[0].question};
    assert_int_equal(answer_batch(f->pair.student, NULL, &ask, 1, 16, &answer, &err), STATUS_OK);
    assert_string_equal(answer.text, "green");
}

struct canceller {
    volatile int flag;
    int at, steps;
};

static void cancel_at(void *ctx, const struct distill_progress *p)
{
    struct canceller *c = ctx;
    c->steps++;
    c->flag = p->step >= c->at;
    assert_true(isfinite(p->loss) && p->loss_ce >= 0 && p->loss_query >= 0);
}

static void test_cancel_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report, again;
    struct canceller c = {.at = 5};
    struct err err;
    assert_int_equal(
        distiller_round(f->d, f->uploads, UPLOADS, &o, &c.flag, cancel_at, &c, &report, &err),
        STATUS_CANCELLED);
    assert_int_equal(c.steps, 5);
    assert_false(changed(f));
    round_ok(f, f->uploads, &o, &again); /* the buffer forgot the cancelled uploads too */
    assert_int_equal(again.trained, UPLOADS - UPLOADS / 5);
}

static void test_divergence_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    struct err err;
    o.lr = 10;
    o.clip = 0;
    o.steps = 200;
    assert_int_equal(
        distiller_round(f->d, f->uploads, UPLOADS, &o, NULL, NULL, NULL, &report, &err),
        STATUS_REFUSED);
    assert_false(changed(f));
}

/* Trained on nonsense corrections, tested on the teacher's labels: the gate turns it down. */
static void test_gate_turns_down(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    o.steps = 150;
    round_ok(f, f->uploads, &o, &report);
    assert_true(report.passed);
    memcpy(f->before, f->after, f->pair.set.values * sizeof *f->before);
    for (int i = 0; i < UPLOADS; i++)
        f->later[i].correction = i % 2 ? "night cat" : "green green";
    o.lr = 0.5f;
    o.steps = 6; /* too wild and too short to find back */
    round_ok(f, f->later, &o, &report);
    assert_true(report.replay_after < report.replay_before);
    assert_false(report.passed);
    assert_false(changed(f));
}

static void test_unusable_uploads_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    char long_question[4000];
    memset(long_question, 'z', sizeof long_question - 1);
    long_question[sizeof long_question - 1] = '\0';
    f->visual[0][3] = NAN;
    f->uploads[1].count = 0;
    f->uploads[2].question = long_question;
    round_ok(f, f->uploads, &o, &report);
    assert_int_equal(report.instances, UPLOADS - 3);
}

static void test_nothing_to_learn_from(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    struct err err;
    assert_int_equal(distiller_round(f->d, NULL, 0, &o, NULL, NULL, NULL, &report, &err),
                     STATUS_MALFORMED);
}

static void test_options_are_checked(void **state)
{
    struct distill_options good = distill_defaults(), o;
    struct err err;
    (void)state;
    assert_int_equal(distill_options_check(&good, &err), STATUS_OK);
    o = good, o.steps = 0;
    assert_int_equal(distill_options_check(&o, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "steps"));
    o = good, o.batch = 257;
    assert_int_equal(distill_options_check(&o, &err), STATUS_MALFORMED);
    o = good, o.lr = NAN;
    assert_int_equal(distill_options_check(&o, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "lr"));
    o = good, o.holdout = 1;
    assert_int_equal(distill_options_check(&o, &err), STATUS_MALFORMED);
    o = good, o.temperature = 0;
    assert_int_equal(distill_options_check(&o, &err), STATUS_MALFORMED);
    o = good, o.ce = o.kl = 0;
    assert_int_equal(distill_options_check(&o, &err), STATUS_MALFORMED);
}

/* Two distillers of one thread count agree to the bit; so do one that went on and one that was
 * saved, loaded into a fresh process' objects and given its uploads again. */
static void test_restart_goes_on_with_the_same_bits(void **state)
{
    struct fixture *f = *state;
    struct fixture *g = malloc(sizeof *g);
    struct distill_options o = options_small();
    struct distill_report report;
    struct err err = {0};
    char path[64];
    snprintf(path, sizeof path, "/tmp/cdcca-distill-%d.safetensors", (int)getpid());
    fixture_open(g, 2);
    round_ok(f, f->uploads, &o, &report);
    assert_int_equal(distiller_save(io_posix(), f->d, path, &err), STATUS_OK);
    assert_int_equal(distiller_load(io_posix(), g->d, path, &err), STATUS_OK);
    assert_int_equal(distiller_recall(g->d, g->uploads, UPLOADS, &err), STATUS_OK);
    round_ok(f, f->later, &o, &report);
    round_ok(g, g->later, &o, &report);
    assert_memory_equal(f->after, g->after, f->pair.set.values * sizeof *f->after);
    unlink(path);
    fixture_close(g);
    free(g);
}

static void test_load_refuses_damage(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    struct buf file = {.max = 1 << 24};
    struct err err = {0};
    char path[64];
    snprintf(path, sizeof path, "/tmp/cdcca-damage-%d.safetensors", (int)getpid());
    assert_int_equal(distiller_save(io_posix(), f->d, path, &err), STATUS_CONFLICT);
    round_ok(f, f->uploads, &o, &report);
    memcpy(f->before, f->after, f->pair.set.values * sizeof *f->before);
    assert_int_equal(distiller_save(io_posix(), f->d, path, &err), STATUS_OK);
    assert_int_equal(io_read_file(io_posix(), path, &file, &err), STATUS_OK);
    memset(file.data + file.len / 6, 0xff, 8); /* a NaN among the parameters */
    assert_int_equal(io_write_file(io_posix(), path, file.data, file.len, &err), STATUS_OK);
    assert_int_not_equal(distiller_load(io_posix(), f->d, path, &err), STATUS_OK);
    assert_false(changed(f));
    assert_int_equal(io_write_file(io_posix(), path, file.data, file.len / 2, &err), STATUS_OK);
    assert_int_not_equal(distiller_load(io_posix(), f->d, path, &err), STATUS_OK);
    assert_false(changed(f));
    unlink(path);
    buf_free(&file);
}

/* Questions of other uploads: reports speak of uploads alone, held-back tokens stay out of
 * training, and a restart asks the same questions, in however many calls the uploads come back. */
static void test_cross_questions(void **state)
{
    struct fixture *f = *state;
    struct fixture *g = malloc(sizeof *g);
    struct distill_options o = options_small();
    struct distill_report report;
    struct err err = {0};
    char path[64];
    snprintf(path, sizeof path, "/tmp/cdcca-cross-%d.safetensors", (int)getpid());
    fixture_open(g, 2);
    distiller_cross(f->d, 3);
    distiller_cross(g->d, 3);
    o.token_drop = 0.5f;
    round_ok(f, f->uploads, &o, &report);
    assert_int_equal(report.instances, UPLOADS);
    assert_int_equal(report.trained, UPLOADS - UPLOADS / 5);
    assert_true(report.agreement_after > report.agreement_before);
    assert_int_equal(distiller_save(io_posix(), f->d, path, &err), STATUS_OK);
    assert_int_equal(distiller_load(io_posix(), g->d, path, &err), STATUS_OK);
    assert_int_equal(distiller_recall(g->d, g->uploads, UPLOADS, &err), STATUS_OK);
    round_ok(f, f->later, &o, &report);
    round_ok(g, g->later, &o, &report);
    assert_memory_equal(f->after, g->after, f->pair.set.values * sizeof *f->after);
    unlink(path);
    fixture_close(g);
    free(g);
}

/* Uploads of `devices`, in turns, each about the same tokens again and again, as images are. */
static void devices_share(struct distill_instance *uploads, float *visual, int devices)
{
    for (int i = 0; i < UPLOADS; i++) {
        uploads[i].device = (uint64_t)(i % devices) + 1;
        float *tokens = visual + i * TINY_TOKENS * TINY_WIDTH;
        for (int j = TINY_WIDTH; j < TINY_TOKENS * TINY_WIDTH; j++)
            tokens[j] = tokens[j % TINY_WIDTH] + 0.5f * tokens[j];
    }
}

static void noise_put(float *visual, int upload)
{
    struct rng rng;
    rng_init(&rng, 8, (uint64_t)upload);
    for (int j = 0; j < TINY_TOKENS * TINY_WIDTH; j++)
        visual[upload * TINY_TOKENS * TINY_WIDTH + j] = rng_normal(&rng);
}

/* With several devices: noise stays out, one device has its share, a correction that the teacher
 * finds absurd gives way to the teacher's answer; and all of it is counted. */
static void test_several_devices_are_screened(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    o.steps = 5;
    devices_share(f->uploads, f->visual[0], 10);
    noise_put(f->visual[0], 7);
    for (int i = 20; i < 32; i++)
        f->uploads[i].device = 1;
    f->uploads[4].correction = "zzzz zzzz zzzz";
    round_ok(f, f->uploads, &o, &report);
    assert_int_equal(report.devices, 10);
    assert_int_equal(report.left_out.strange, 1);
    assert_true(report.left_out.over_share > 0);
    assert_int_equal(report.corrections.believed, 0);
    assert_int_equal(report.corrections.doubted, 1);
    assert_int_equal(report.instances, UPLOADS - 1 - report.left_out.over_share);
}

static void test_one_device_is_not_screened(void **state)
{
    struct fixture *f = *state;
    struct distill_options o = options_small();
    struct distill_report report;
    o.steps = 1;
    devices_share(f->uploads, f->visual[0], 2);
    noise_put(f->visual[0], 7);
    f->uploads[4].correction = "zzzz zzzz zzzz";
    round_ok(f, f->uploads, &o, &report);
    assert_int_equal(report.instances, UPLOADS);
    assert_int_equal(report.corrections.believed, 1);
}

/* What was left out does not come back with a restart. */
static void test_restart_screens_the_same(void **state)
{
    struct fixture *f = *state;
    struct fixture *g = malloc(sizeof *g);
    struct distill_options o = options_small();
    struct distill_report report;
    struct err err = {0};
    struct distill_instance both[2 * UPLOADS];
    char path[64];
    snprintf(path, sizeof path, "/tmp/cdcca-screen-%d.safetensors", (int)getpid());
    fixture_open(g, 2);
    o.steps = 5;
    for (int r = 0; r < 2; r++) {
        struct distill_instance *uploads = r ? f->later : f->uploads;
        devices_share(uploads, f->visual[r], 10);
        noise_put(f->visual[r], 7);
        uploads[4].correction = "zzzz zzzz zzzz";
        for (int i = 20; i < 32; i++)
            uploads[i].device = 1;
        for (int i = 0; i < UPLOADS; i++) {
            uploads[i].round = r + 1;
            both[r * UPLOADS + i] = uploads[i];
        }
        round_ok(f, uploads, &o, &report);
    }
    assert_int_equal(distiller_save(io_posix(), f->d, path, &err), STATUS_OK);
    assert_int_equal(distiller_load(io_posix(), g->d, path, &err), STATUS_OK);
    assert_int_equal(distiller_recall(g->d, both, 2 * UPLOADS, &err), STATUS_OK);
    round_ok(f, f->uploads, &o, &report);
    round_ok(g, f->uploads, &o, &report);
    assert_memory_equal(f->after, g->after, f->pair.set.values * sizeof *f->after);
    unlink(path);
    fixture_close(g);
    free(g);
}

static void test_threads_change_rounding_alone(void **state)
{
    struct fixture *f = *state;
    struct fixture *g = malloc(sizeof *g);
    struct distill_options o = options_small();
    struct distill_report report;
    fixture_open(g, 1);
    o.steps = 4;
    round_ok(f, f->uploads, &o, &report);
    round_ok(g, g->uploads, &o, &report);
    for (size_t i = 0; i < f->pair.set.values; i++)
        assert_true(fabsf(f->after[i] - g->after[i]) < 0.01f);
    fixture_close(g);
    free(g);
}

static void test_pair_must_match(void **state)
{
    struct fixture *f = *state;
    struct distiller *d;
    struct err err;
    f->pair.student->encoder.bytes[0] ^= 1;
    assert_int_equal(distiller_create(f->pair.teacher, f->pair.student, NULL, &d, &err),
                     STATUS_WRONG_BASE);
    f->pair.student->encoder.bytes[0] ^= 1;
    assert_int_equal(distiller_create(f->pair.student, f->pair.teacher, NULL, &d, &err),
                     STATUS_CONFLICT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_loss_falls_and_agreement_rises),
        TEST(test_training_through_the_code),
        TEST(test_hard_labels_and_labels_alone),
        TEST(test_only_the_set_is_trained),
        TEST(test_head_only),
        TEST(test_correction_is_learned),
        TEST(test_cancel_changes_nothing),
        TEST(test_divergence_changes_nothing),
        TEST(test_gate_turns_down),
        TEST(test_unusable_uploads_are_left_out),
        TEST(test_nothing_to_learn_from),
        cmocka_unit_test(test_options_are_checked),
        TEST(test_restart_goes_on_with_the_same_bits),
        TEST(test_load_refuses_damage),
        TEST(test_cross_questions),
        TEST(test_several_devices_are_screened),
        TEST(test_one_device_is_not_screened),
        TEST(test_restart_screens_the_same),
        TEST(test_threads_change_rounding_alone),
        TEST(test_pair_must_match),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
