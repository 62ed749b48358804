/* Waiting for a cloud that is away, and for one that does not let the device in: the waits here are
 * of an hour, and end when they should. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/base/clock.h"
#include "client/away.h"
#include "client/stop.h"
#include "edge_tiny.h"
#include <pthread.h>

enum { HOUR_MS = 3600000, SOON_MS = 300 };

struct scene {
    char dir[TINY_PATH], token[2 * TINY_PATH];
    struct board board;
    struct away away;
    atomic_bool ending, writes, ends; /* what the other thread does, and has the wait end */
    bool ended;                       /* had the wait been ended when it was over? */
    pthread_t thread;
};

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    stop_clear();
    tiny_folder(scene->dir);
    snprintf(scene->token, sizeof scene->token, "%s/token", scene->dir);
    assert_int_equal(board_open(io_posix(), scene->dir, &scene->board, NULL), STATUS_OK);
    away_init(&scene->away, &scene->board, "test", scene->token);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    board_close(&scene->board);
    tiny_remove(scene->dir);
    free(scene);
    return 0;
}

static void *act(void *ctx)
{
    struct scene *scene = ctx;
    clock_sleep_ms(SOON_MS);
    if (atomic_load(&scene->writes))
        io_write_secret(io_posix(), scene->token, "new", 3, NULL);
    clock_sleep_ms(SOON_MS);
    if (atomic_load(&scene->ends))
        atomic_store(&scene->ending, true);
    return NULL;
}

static const char *cloud_state(struct scene *scene)
{
    static char text[16];
    snprintf(text, sizeof text, "%s", board_lock(&scene->board)->cloud);
    board_unlock(&scene->board);
    return text;
}

static void wait_out(struct scene *scene, enum status why)
{
    struct err err = {why, "for a reason"};
    assert_int_equal(pthread_create(&scene->thread, NULL, act, scene), 0);
    away_wait(&scene->away, &err, HOUR_MS, &scene->ending);
    scene->ended = atomic_load(&scene->ending);
    pthread_join(scene->thread, NULL);
}

static void a_new_token_ends_the_wait_of_who_was_refused(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 2; i++) { /* the first token, then another one */
        atomic_store(&scene->writes, true);
        wait_out(scene, STATUS_UNAUTHENTICATED);
        assert_false(scene->ended);
        assert_string_equal(cloud_state(scene), "refused");
    }
    assert_true(away_back(&scene->away));
    assert_false(away_back(&scene->away)); /* it was there */
    assert_string_equal(cloud_state(scene), "reachable");
}

static void a_new_token_is_nothing_to_a_cloud_that_is_away(void **state)
{
    struct scene *scene = *state;
    atomic_store(&scene->writes, true);
    atomic_store(&scene->ends, true);
    wait_out(scene, STATUS_UNREACHABLE);
    assert_true(scene->ended); /* it waited for that, not for the token */
    assert_string_equal(cloud_state(scene), "away");
}

static void an_end_ends_the_wait(void **state)
{
    struct scene *scene = *state;
    atomic_store(&scene->ends, true);
    wait_out(scene, STATUS_UNAUTHENTICATED);
    assert_true(scene->ended);
}

#define AWAY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AWAY_TEST(a_new_token_ends_the_wait_of_who_was_refused),
        AWAY_TEST(a_new_token_is_nothing_to_a_cloud_that_is_away),
        AWAY_TEST(an_end_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
