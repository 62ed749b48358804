/* Events: what a reader gets, resumes, misses, and how it ends. */
// links: server
#include "server/events.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const unsigned every = (1u << EVENT_TYPES) - 1;

static int begin(void **state)
{
    return events_create((struct events **)state, NULL) != STATUS_OK;
}

static int end(void **state)
{
    events_destroy(*state);
    return 0;
}

static void publish(struct events *events, int first, int last)
{
    for (int i = first; i <= last; i++)
        events_publish(events, i % 2 ? EVENT_UPLOAD : EVENT_ROUND, "{\"n\":%d}", i);
}

/* What comes, all of it; *more: whether anything may follow. */
static const char *read_all(struct events_reader *reader, bool *more)
{
    static char text[1 << 20];
    size_t len = 0;
    for (;;) {
        struct buf out = {.max = 64 << 10};
        *more = events_read(reader, &out);
        size_t n = out.len;
        if (n > 0)
            memcpy(text + len, out.data, n);
        len += n;
        text[len] = '\0';
        buf_free(&out);
        if (n == 0 || !*more)
            return text;
    }
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

/* The id of the last event in text. */
static const char *last_id(const char *text)
{
    static char id[EVENT_ID];
    const char *at = text;
    for (const char *next; (next = strstr(at, "id: ")) != NULL;)
        at = next + 4;
    snprintf(id, sizeof id, "%.*s", (int)strcspn(at, "\n"), at);
    return id;
}

static void a_reader_gets_what_follows(void **state)
{
    struct events_reader reader;
    bool more;
    publish(*state, 1, 3);
    events_reader_init(*state, every, NULL, &reader);
    assert_string_equal(read_all(&reader, &more), "");
    publish(*state, 4, 6);
    const char *text = read_all(&reader, &more);
    assert_true(more);
    assert_int_equal(count(text, "\n\n"), 3);
    assert_non_null(strstr(text, "\nevent: round\ndata: {\"n\":4}\n\nid: "));
    assert_non_null(strstr(text, "\nevent: upload\ndata: {\"n\":5}\n\n"));
    assert_string_equal(read_all(&reader, &more), "");
}

static void a_reader_gets_the_types_it_wants(void **state)
{
    struct events_reader reader;
    unsigned types = 0;
    bool more;
    assert_int_equal(event_types_parse("upload", &types, NULL), STATUS_OK);
    events_reader_init(*state, types, NULL, &reader);
    publish(*state, 1, 9);
    const char *text = read_all(&reader, &more);
    assert_int_equal(count(text, "event: upload"), 5);
    assert_int_equal(count(text, "event: "), 5);
    static const char *const bad[] = {"", "sheep", "upload,", ",upload", "uploads", "upload round"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(event_types_parse(bad[i], &types, NULL), STATUS_USAGE);
    assert_int_equal(event_types_parse("step,device,release", &types, NULL), STATUS_OK);
    assert_int_equal(types, 1u << EVENT_STEP | 1u << EVENT_DEVICE | 1u << EVENT_RELEASE);
}

static void a_reader_goes_on_where_it_was(void **state)
{
    struct events_reader reader;
    bool more;
    events_reader_init(*state, every, NULL, &reader);
    publish(*state, 1, 3);
    const char *id = last_id(read_all(&reader, &more));
    publish(*state, 4, 5);
    events_reader_init(*state, every, id, &reader);
    const char *text = read_all(&reader, &more);
    assert_int_equal(count(text, "event: "), 2);
    assert_non_null(strstr(text, "{\"n\":4}"));
    events_reader_init(*state, every, last_id(text), &reader);
    assert_string_equal(read_all(&reader, &more), "");
}

static void an_id_that_is_not_known_gives_a_reset(void **state)
{
    static const char *const ids[] = {"",   "x",  "00000000-1",
                                      "1-", "-1", "99999999999999999999-99999999999999999999"};
    struct events_reader reader;
    char future[EVENT_ID + 1];
    bool more;
    events_reader_init(*state, every, NULL, &reader);
    publish(*state, 1, 2);
    snprintf(future, sizeof future, "%s0", last_id(read_all(&reader, &more)));
    for (size_t i = 0; i <= sizeof ids / sizeof *ids; i++) {
        events_reader_init(*state, every, i ? ids[i - 1] : future, &reader);
        const char *text = read_all(&reader, &more);
        assert_int_equal(count(text, "event: "), 1);
        assert_int_equal(count(text, "event: reset\ndata: {}\n\n"), 1);
        events_reader_init(*state, every, last_id(text), &reader); /* and that id is known */
        assert_string_equal(read_all(&reader, &more), "");
    }
}

static void what_fell_out_of_the_ring_is_reset_or_the_end(void **state)
{
    struct events_reader reader, slow;
    char id[EVENT_ID];
    bool more;
    events_reader_init(*state, every, NULL, &reader);
    slow = reader;
    publish(*state, 1, 1);
    strcpy(id, last_id(read_all(&reader, &more)));
    publish(*state, 2, EVENTS_KEPT + 1);
    events_reader_init(*state, every, id, &reader);
    assert_int_equal(count(read_all(&reader, &more), "event: "), EVENTS_KEPT);
    publish(*state, 2, 2);
    events_reader_init(*state, every, id, &reader);
    assert_int_equal(count(read_all(&reader, &more), "event: reset"), 1);
    assert_non_null(
        strstr(read_all(&slow, &more), "event: end\ndata: {\"reason\":\"too slow\"}\n\n"));
    assert_false(more);
}

static void a_stop_is_the_last_event(void **state)
{
    struct events_reader reader;
    bool more;
    events_reader_init(*state, every, NULL, &reader);
    publish(*state, 1, 1);
    events_stop(*state);
    const char *text = read_all(&reader, &more);
    assert_false(more);
    assert_non_null(strstr(text, "{\"n\":1}\n\nid: "));
    assert_non_null(strstr(text, "event: end\ndata: {\"reason\":\"stopping\"}\n\n"));
}

static void news(void *ctx)
{
    ++*(int *)ctx;
}

static void readers_are_woken(void **state)
{
    static char large[EVENT_BYTES];
    struct events_reader reader;
    bool more;
    int woken = 0;
    events_reader_init(*state, every, NULL, &reader);
    events_on_news(*state, news, &woken);
    publish(*state, 1, 3);
    memset(large, 'x', sizeof large - 1);
    events_publish(*state, EVENT_DEVICE, "{\"%s\":1}", large);
    events_publish(NULL, EVENT_DEVICE, "{}");
    assert_int_equal(woken, 3);
    assert_int_equal(count(read_all(&reader, &more), "event: "), 3);
    events_stop(*state);
    assert_int_equal(woken, 4);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_reader_gets_what_follows),
        TEST(a_reader_gets_the_types_it_wants),
        TEST(a_reader_goes_on_where_it_was),
        TEST(an_id_that_is_not_known_gives_a_reset),
        TEST(what_fell_out_of_the_ring_is_reset_or_the_end),
        TEST(a_stop_is_the_last_event),
        TEST(readers_are_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
