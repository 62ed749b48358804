/* Recent answers: found by id with their own tokens until newer ones take their place. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/recent.h"
#include <stdio.h>
#include <string.h>

static void add(struct recent *recent, int i)
{
    struct window_record record = {.entropy = (float)i};
    snprintf(record.id, sizeof record.id, "id-%d", i);
    recent_room(recent)[0] = (float)i;
    recent_add(recent, &record);
}

static void answers_are_found_until_they_give_way(void **state)
{
    struct recent *recent;
    const float *visual;
    (void)state;
    assert_int_equal(recent_create(4, 16, &recent, NULL), STATUS_OK);
    int capacity = recent_capacity(recent);
    assert_int_equal(capacity, RECENT_MOST); /* tokens are small */
    assert_null(recent_find(recent, "", &visual));
    for (int i = 0; i <= capacity; i++)
        add(recent, i);
    assert_null(recent_find(recent, "id-0", &visual));
    assert_null(recent_find(recent, "id", &visual));
    const struct window_record *found = recent_find(recent, "id-1", &visual);
    assert_non_null(found);
    assert_true(found->entropy == 1 && visual[0] == 1);
    assert_non_null(recent_find(recent, "id-1024", &visual));
    assert_true(visual[0] == 1024);
    recent_destroy(recent);
}

/* An answer that fails has taken a place, and nothing is found there. */
static void a_place_without_answer_is_empty(void **state)
{
    struct recent *recent;
    const float *visual;
    (void)state;
    assert_int_equal(recent_create(4, 16, &recent, NULL), STATUS_OK);
    for (int i = 0; i < recent_capacity(recent); i++)
        add(recent, i);
    recent_room(recent);
    assert_null(recent_find(recent, "id-0", &visual));
    assert_non_null(recent_find(recent, "id-1", &visual));
    recent_destroy(recent);
}

static void large_tokens_take_fewer_places(void **state)
{
    struct recent *recent;
    (void)state;
    assert_int_equal(recent_create(4096, 2048, &recent, NULL), STATUS_OK);
    assert_int_equal(recent_capacity(recent), RECENT_LEAST);
    recent_destroy(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_found_until_they_give_way),
        cmocka_unit_test(a_place_without_answer_is_empty),
        cmocka_unit_test(large_tokens_take_fewer_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
