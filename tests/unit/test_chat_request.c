/* Chat requests as data: each folder of tests/data/chat is a case.
 *   input   the body
 *   expect  line 1: "ok", or the status and the field at fault ("malformed model"); "picture" in
 *           its place: the body is fine, the picture in it is not. Further lines: of a refusal a
 *           part of the error's text each; else facts: "prompt TEXT" (| for a line's end), "size
 *           WxH" of the picture, "max_tokens N", "stops N"
 * Every body, and every truncation of it, ends flush against an unreadable page. What is only long
 * is made here. */
// links: client
#include "client/chat_request.h"
#include "guard.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int complaints; /* every case is looked at before the test fails */

#define complain(...) (complaints++, print_error(__VA_ARGS__), print_error("\n"))

enum { CASES_LEAST = 40, INPUT_MAX = 64 << 10, LINES = 8 };

struct chat_case {
    const char *name;
    struct buf input, expect;
    char *line[LINES];
    int lines;
};

static void case_read(struct chat_case *c, const char *name)
{
    char path[512];
    struct err err = {0};
    *c = (struct chat_case){.name = name, .input.max = INPUT_MAX, .expect.max = 4096};
    snprintf(path, sizeof path, SOURCE_DIR "/tests/data/chat/%s/input", name);
    assert_int_equal(io_read_file(io_posix(), path, &c->input, &err), STATUS_OK);
    snprintf(path, sizeof path, SOURCE_DIR "/tests/data/chat/%s/expect", name);
    assert_int_equal(io_read_file(io_posix(), path, &c->expect, &err), STATUS_OK);
    assert_int_equal(buf_append(&c->expect, "", 1), STATUS_OK);
    char *rest = (char *)c->expect.data;
    for (char *line; c->lines < LINES && (line = strsep(&rest, "\n")) != NULL;)
        if (*line)
            c->line[c->lines++] = line;
    assert_true(c->lines > 0);
}

static void case_free(struct chat_case *c)
{
    buf_free(&c->input);
    buf_free(&c->expect);
}

static void fact_check(const struct chat_case *c, const char *fact, const struct chat_request *r,
                       const struct image *image)
{
    char is[1024];
    if (strncmp(fact, "prompt ", 7) == 0)
        snprintf(is, sizeof is, "prompt %s", (const char *)r->prompt.data);
    else if (strncmp(fact, "size ", 5) == 0)
        snprintf(is, sizeof is, "size %dx%d", image->width, image->height);
    else if (strncmp(fact, "stops ", 6) == 0)
        snprintf(is, sizeof is, "stops %d", r->stop_count);
    else
        snprintf(is, sizeof is, "max_tokens %lld", (long long)r->max_tokens);
    for (char *at = is; (at = strchr(at, '\n')) != NULL;)
        *at = '|';
    if (strcmp(is, fact) != 0)
        complain("%s: %s, expected %s", c->name, is, fact);
}

/* What came out of a body, as line 1 of expect says it. */
static void outcome(char out[128], enum status status, const struct chat_problem *problem,
                    bool picture)
{
    if (status == STATUS_OK)
        snprintf(out, 128, "ok");
    else if (picture)
        snprintf(out, 128, "%s picture", status_name(status));
    else
        snprintf(out, 128, "%s%s%s", status_name(status), problem->param[0] ? " " : "",
                 problem->param);
}

static void case_hold(const struct chat_case *c, const void *body)
{
    struct chat_request r;
    struct chat_problem problem;
    struct image image = {0};
    char is[128];
    enum status status = chat_request_parse(body, c->input.len, &r, &problem);
    bool parsed = status == STATUS_OK;
    if (parsed && r.image)
        status = chat_request_image(r.image, &image, &problem.err);
    outcome(is, status, &problem, parsed);
    if (strcmp(is, c->line[0]) != 0)
        complain("%s: %s (%s), expected %s", c->name, is, problem.err.text, c->line[0]);
    for (int i = 1; i < c->lines; i++)
        if (status == STATUS_OK)
            fact_check(c, c->line[i], &r, &image);
        else if (!strstr(problem.err.text, c->line[i]))
            complain("%s: \"%s\" says nothing of \"%s\"", c->name, problem.err.text, c->line[i]);
    image_free(&image);
    if (parsed)
        chat_request_free(&r);
}

/* Cut anywhere, a body is refused; the guard page faults on a byte too many. */
static void case_truncate(const struct chat_case *c, struct guard *guard)
{
    for (size_t len = 0; len < c->input.len; len++) {
        struct chat_request r;
        struct chat_problem problem;
        const void *body = guard_put(guard, c->input.data, len);
        if (chat_request_parse(body, len, &r, &problem) == STATUS_OK)
            complain("%s: %zu of %zu bytes were accepted", c->name, len, c->input.len);
    }
}

static void bodies_give_what_is_expected(void **state)
{
    struct guard guard;
    int count = 0;
    DIR *dir = opendir(SOURCE_DIR "/tests/data/chat");
    (void)state;
    assert_non_null(dir);
    assert_int_equal(guard_init(&guard, INPUT_MAX), 0);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct chat_case c;
        if (entry->d_name[0] == '.')
            continue;
        case_read(&c, entry->d_name);
        case_hold(&c, guard_put(&guard, c.input.data, c.input.len));
        if (strcmp(c.name, "trailing") != 0)
            case_truncate(&c, &guard);
        case_free(&c);
        count++;
    }
    closedir(dir);
    guard_deinit(&guard);
    assert_int_equal(complaints, 0);
    assert_true(count >= CASES_LEAST);
}

/* ---- bodies that are only long ---- */

static enum status parse_repeated(const char *start, const char *piece, size_t times,
                                  const char *end, char param[64])
{
    struct buf body = {.max = CHAT_BODY_BYTES + 4096};
    struct chat_request r;
    struct chat_problem problem;
    assert_int_equal(buf_append(&body, start, strlen(start)), STATUS_OK);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(buf_append(&body, piece, strlen(piece)), STATUS_OK);
    assert_int_equal(buf_append(&body, end, strlen(end)), STATUS_OK);
    enum status status = chat_request_parse(body.data, body.len, &r, &problem);
    snprintf(param, 64, "%s", problem.param);
    if (status == STATUS_OK)
        chat_request_free(&r);
    buf_free(&body);
    return status;
}

static void what_is_too_long_is_refused(void **state)
{
    static const char message[] = "{\"role\":\"user\",\"content\":\"x\"},";
    char param[64];
    (void)state;
    const char *text = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"";
    assert_int_equal(
        parse_repeated(text, "0123456789abcdef", CHAT_PROMPT_BYTES / 16 + 1, "\"}]}", param),
        STATUS_TOO_LARGE);
    assert_string_equal(param, "messages");
    assert_int_equal(parse_repeated(text, "0123456789abcdef", 1024, "\"}]}", param), STATUS_OK);
    assert_int_equal(parse_repeated("{\"model\":\"m\",\"messages\":[", message, CHAT_MESSAGES,
                                    "{\"role\":\"user\",\"content\":\"x\"}]}", param),
                     STATUS_TOO_LARGE);
    assert_string_equal(param, "messages");
    assert_int_equal(parse_repeated("", "[", 1 << 20, "", param), STATUS_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_give_what_is_expected),
        cmocka_unit_test(what_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
