/* The library: what it refuses and how it says so; answers, corrections and windows that end up in
 * the spool; several devices and threads in one process. The network is test_library.sh's. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/wire/limits.h"
#include "client/cdcca.h"
#include "client/stop.h"
#include "tests/unit/edge_tiny.h"
#include <math.h>
#include <pthread.h>

enum { SIDE = 40 };

struct place {
    char dir[TINY_PATH], model[TINY_PATH + 16], data[TINY_PATH + 16], spool[TINY_PATH + 32];
    struct cdcca_options options;
    uint8_t pixels[SIDE * SIDE * 3];
    struct cdcca_picture picture;
};

static void place_open(struct place *p)
{
    tiny_folder(p->dir);
    snprintf(p->model, sizeof p->model, "%s/model", p->dir);
    snprintf(p->data, sizeof p->data, "%s/data", p->dir);
    snprintf(p->spool, sizeof p->spool, "%s/spool", p->data);
    tiny_student(p->model, 7);
    p->options = (struct cdcca_options){.size = sizeof p->options,
                                        .model_dir = p->model,
                                        .data_dir = p->data,
                                        .threads = 1,
                                        .window = 4,
                                        .budget = 0.5};
    for (size_t i = 0; i < sizeof p->pixels; i++)
        p->pixels[i] = (uint8_t)(i * 7 % 251);
    p->picture = (struct cdcca_picture){
        .data = p->pixels, .len = sizeof p->pixels, .width = SIDE, .height = SIDE};
}

static struct cdcca *device_open(const struct place *p)
{
    struct cdcca *device = NULL;
    struct cdcca_error error = {0};
    if (cdcca_open(&p->options, &device, &error) != CDCCA_OK)
        fail_msg("%s", error.text);
    return device;
}

static struct cdcca_answer ask(struct cdcca *device, const struct cdcca_picture *picture)
{
    struct cdcca_answer answer;
    struct cdcca_error error = {0};
    if (cdcca_ask(device, picture, "is there a square?", &answer, &error) != CDCCA_OK)
        fail_msg("%s", error.text);
    return answer;
}

/* ---- opening ---- */

static void expect_refused(const struct cdcca_options *options, enum cdcca_status status,
                           const char *about)
{
    struct cdcca *device = (struct cdcca *)1;
    struct cdcca_error error = {0};
    assert_int_equal(cdcca_open(options, &device, &error), status);
    assert_null(device);
    assert_int_equal(error.status, status);
    if (!strstr(error.text, about))
        fail_msg("'%s' says nothing of '%s'", error.text, about);
}

static void options_that_cannot_be_are_told(void **state)
{
    struct place p;
    (void)state;
    place_open(&p);
    struct cdcca_options bad = p.options;
    bad.size = 1;
    expect_refused(&bad, CDCCA_USAGE, "options.size is 1");
    bad = p.options, bad.data_dir = NULL;
    expect_refused(&bad, CDCCA_USAGE, "data_dir");
    bad = p.options, bad.budget = 1.5;
    expect_refused(&bad, CDCCA_USAGE, "budget 1.5");
    bad = p.options, bad.budget = (double)NAN;
    expect_refused(&bad, CDCCA_USAGE, "budget");
    bad = p.options, bad.window = -1;
    expect_refused(&bad, CDCCA_USAGE, "window -1");
    bad = p.options, bad.cloud_url = "127.0.0.1:8080";
    expect_refused(&bad, CDCCA_USAGE, "http://HOST:PORT");
    bad = p.options, bad.device = "a b";
    expect_refused(&bad, CDCCA_USAGE, "device id");
    bad = p.options, bad.model_dir = p.dir;
    expect_refused(&bad, CDCCA_NOT_FOUND, "config.json");
    expect_refused(NULL, CDCCA_USAGE, "options");
    assert_int_equal(cdcca_open(NULL, &(struct cdcca *){NULL}, NULL), CDCCA_USAGE);
    cdcca_close(NULL);
    tiny_remove(p.dir);
}

static void a_data_directory_has_one_owner(void **state)
{
    struct place p;
    (void)state;
    place_open(&p);
    struct cdcca *device = device_open(&p);
    expect_refused(&p.options, CDCCA_BUSY, "in use");
    cdcca_close(device);
    cdcca_close(device_open(&p));
    tiny_remove(p.dir);
}

/* ---- asking ---- */

static void questions_and_pictures_that_cannot_be_are_told(void **state)
{
    struct place p;
    struct cdcca_answer answer;
    struct cdcca_error error;
    char longer[LIMIT_QUESTION + 2];
    (void)state;
    place_open(&p);
    struct cdcca *device = device_open(&p);
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const char *const questions[] = {NULL, "", longer, "\xff"};
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        assert_int_equal(cdcca_ask(device, &p.picture, questions[i], &answer, &error), CDCCA_USAGE);
    struct cdcca_picture picture = p.picture;
    picture.len--;
    assert_int_equal(cdcca_ask(device, &picture, "why?", &answer, &error), CDCCA_SHAPE);
    picture = p.picture, picture.height = -SIDE;
    assert_int_equal(cdcca_ask(device, &picture, "why?", &answer, &error), CDCCA_SHAPE);
    picture = p.picture, picture.width = 1 << 30, picture.height = 1 << 30;
    assert_int_equal(cdcca_ask(device, &picture, "why?", &answer, &error), CDCCA_SHAPE);
    picture = p.picture, picture.width = picture.height = 0;
    assert_int_equal(cdcca_ask(device, &picture, "why?", &answer, &error), CDCCA_UNSUPPORTED);
    assert_int_equal(cdcca_ask(device, NULL, "why?", &answer, &error), CDCCA_USAGE);
    assert_non_null(strstr(error.text, "picture"));
    cdcca_close(device);
    tiny_remove(p.dir);
}

static void pixels_and_files_give_the_same_answer(void **state)
{
    struct place p;
    struct buf png = {.max = 1 << 20};
    (void)state;
    place_open(&p);
    struct cdcca *device = device_open(&p);
    assert_int_equal(image_encode_png(p.pixels, SIDE, SIDE, &png, NULL), STATUS_OK);
    struct cdcca_picture file = {.data = png.data, .len = png.len};
    struct cdcca_answer one = ask(device, &p.picture), two = ask(device, &file);
    assert_string_equal(one.text, two.text);
    assert_true(one.entropy == two.entropy && isfinite(one.entropy));
    assert_int_equal(one.version, 0);
    assert_int_equal(cdcca_version(device), 0);
    assert_string_not_equal(one.id, two.id);
    buf_free(&png);
    cdcca_close(device);
    tiny_remove(p.dir);
}

/* ---- what goes up ---- */

static void a_full_window_goes_into_the_spool(void **state)
{
    struct place p;
    (void)state;
    place_open(&p);
    struct cdcca *device = device_open(&p);
    for (int i = 0; i < 3; i++)
        ask(device, &p.picture);
    assert_int_equal(tiny_count(p.spool, ".upload"), 0);
    ask(device, &p.picture);
    assert_int_equal(tiny_count(p.spool, ".upload"), 1);
    cdcca_close(device);
    tiny_remove(p.dir);
}

static void closing_keeps_the_open_window(void **state)
{
    struct place p;
    (void)state;
    place_open(&p);
    struct cdcca *device = device_open(&p);
    ask(device, &p.picture);
    ask(device, &p.picture);
    cdcca_close(device);
    assert_int_equal(tiny_count(p.spool, ".upload"), 1);
    tiny_remove(p.dir);
}

static void a_correction_goes_up_at_once_and_once(void **state)
{
    struct place p;
    struct cdcca_error error = {0};
    (void)state;
    place_open(&p);
    p.options.budget = 1;
    struct cdcca *device = device_open(&p);
    struct cdcca_answer answer = ask(device, &p.picture);
    assert_int_equal(cdcca_correct(device, "no-such-answer", "yes", &error), CDCCA_NOT_FOUND);
    assert_non_null(strstr(error.text, "no-such-answer"));
    assert_int_equal(cdcca_correct(device, answer.id, "", &error), CDCCA_USAGE);
    assert_int_equal(cdcca_correct(device, NULL, "yes", &error), CDCCA_USAGE);
    assert_int_equal(tiny_count(p.spool, ".upload"), 0);
    assert_int_equal(cdcca_correct(device, answer.id, "yes", &error), CDCCA_OK);
    assert_string_equal(error.text, "");
    assert_int_equal(tiny_count(p.spool, ".upload"), 1);
    cdcca_close(device); /* the answer has left the window: nothing more to upload */
    assert_int_equal(tiny_count(p.spool, ".upload"), 1);
    tiny_remove(p.dir);
}

/* ---- waiting ---- */

static void waiting_ends(void **state)
{
    struct place p;
    struct cdcca_error error = {0};
    (void)state;
    place_open(&p);
    struct cdcca *device = device_open(&p);
    assert_int_equal(cdcca_wait(device, 0, 10, &error), CDCCA_TIMEOUT);
    assert_int_equal(cdcca_wait(device, -1, 10, &error), CDCCA_OK);
    assert_int_equal(cdcca_flush(device, 10, &error), CDCCA_USAGE);
    cdcca_close(device);
    p.options.cloud_url = "http://127.0.0.1:1"; /* nobody is there */
    device = device_open(&p);
    assert_int_equal(cdcca_flush(device, 10, &error), CDCCA_OK);
    ask(device, &p.picture);
    ask(device, &p.picture);
    assert_int_equal(cdcca_flush(device, 10, &error), CDCCA_TIMEOUT);
    cdcca_close(device);
    assert_int_equal(tiny_count(p.spool, ".upload"), 1);
    tiny_remove(p.dir);
}

/* ---- more than one ---- */

struct asking {
    struct place *p;
    struct cdcca *device;
    struct cdcca_answer answer[4];
};

static void *ask_four(void *ctx)
{
    struct asking *a = ctx;
    for (int i = 0; i < 4; i++)
        a->answer[i] = ask(a->device, &a->p->picture);
    return NULL;
}

static void threads_take_turns(void **state)
{
    struct place p;
    struct asking asking[3];
    pthread_t thread[3];
    (void)state;
    place_open(&p);
    struct cdcca *device = device_open(&p);
    for (int i = 0; i < 3; i++) {
        asking[i] = (struct asking){.p = &p, .device = device};
        assert_int_equal(pthread_create(&thread[i], NULL, ask_four, &asking[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    for (int i = 1; i < 12; i++) {
        assert_string_equal(asking[i / 4].answer[i % 4].text, asking[0].answer[0].text);
        assert_string_not_equal(asking[i / 4].answer[i % 4].id, asking[0].answer[0].id);
    }
    assert_int_equal(tiny_count(p.spool, ".upload"), 3);
    cdcca_close(device);
    tiny_remove(p.dir);
}

static void closing_one_leaves_the_other(void **state)
{
    struct place p, q;
    (void)state;
    place_open(&p);
    place_open(&q);
    struct cdcca *one = device_open(&p), *two = device_open(&q);
    cdcca_close(one);
    assert_false(stop_requested()); /* the process's other agents go on */
    ask(two, &q.picture);
    cdcca_close(two);
    tiny_remove(p.dir);
    tiny_remove(q.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_cannot_be_are_told),
        cmocka_unit_test(a_data_directory_has_one_owner),
        cmocka_unit_test(questions_and_pictures_that_cannot_be_are_told),
        cmocka_unit_test(pixels_and_files_give_the_same_answer),
        cmocka_unit_test(a_full_window_goes_into_the_spool),
        cmocka_unit_test(closing_keeps_the_open_window),
        cmocka_unit_test(a_correction_goes_up_at_once_and_once),
        cmocka_unit_test(waiting_ends),
        cmocka_unit_test(threads_take_turns),
        cmocka_unit_test(closing_one_leaves_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
