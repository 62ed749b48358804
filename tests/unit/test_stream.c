// Streams: the world by name and kind, directories that grow, bad lines that stay their own.
// links: task
#include "model/task/stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct folder {
    char path[64];
};

static void text_append(const struct folder *f, const char *name, const void *data, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    fclose(file);
}

static void line_append(const struct folder *f, const char *text)
{
    text_append(f, "questions.jsonl", text, strlen(text));
}

static int setup(void **state)
{
    struct folder *f = calloc(1, sizeof *f);
    struct buf png = {.max = 1 << 16};
    uint8_t rgb[10 * 6 * 3];
    snprintf(f->path, sizeof f->path, "/tmp/test-stream-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    memset(rgb, 77, sizeof rgb);
    assert_int_equal(image_encode_png(rgb, 10, 6, &png, NULL), STATUS_OK);
    text_append(f, "a.png", png.data, png.len);
    text_append(f, "bad.png", "no image", 8);
    line_append(f, "");
    buf_free(&png);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"a.png", "bad.png", "questions.jsonl"};
    struct folder *f = *state;
    char path[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", f->path, names[i]);
        unlink(path);
    }
    rmdir(f->path);
    free(f);
    return 0;
}

static struct stream *stream_of(const char *spec, int size)
{
    struct stream *stream;
    struct err err = {0};
    if (stream_open(io_posix(), spec, size, 4, &stream, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return stream;
}

static void expect_next(struct stream *stream, enum status status, const char *word)
{
    struct sample sample;
    struct err err = {0};
    assert_int_equal(stream_next(stream, &sample, &err), status);
    const char *text = status == STATUS_OK ? sample.question.text : err.text;
    if (!strstr(text, word))
        fail_msg("'%s' does not say '%s'", text, word);
}

/* ---- the world ---- */

static void world_streams_repeat_and_seek(void **state)
{
    (void)state;
    struct stream *one = stream_of("world:drift:1", 64), *two = stream_of("world:drift:1", 64);
    struct sample a, b;
    assert_int_equal(stream_seek(two, 3, NULL), STATUS_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(stream_next(one, &a, NULL), STATUS_OK);
    assert_int_equal(stream_next(two, &b, NULL), STATUS_OK);
    assert_string_equal(a.id, b.id);
    assert_memory_equal(a.pixels, b.pixels, 64 * 64 * 3);
    assert_memory_equal(&a.question, &b.question, sizeof a.question);
    assert_true(a.has_answer);
    assert_int_equal(a.source_bytes, 12288);
    assert_null(strchr(a.id, ':'));
    assert_int_equal(stream_position(two), 4);
    stream_close(one);
    stream_close(two);
}

static void world_streams_take_a_kind_and_a_size(void **state)
{
    (void)state;
    struct stream *stream = stream_of("world:target/caption", 32);
    struct sample sample;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(stream_next(stream, &sample, NULL), STATUS_OK);
        assert_int_equal(sample.question.kind, KIND_CAPTION);
    }
    sample.pixels[32 * 32 * 3 - 1] = 0; /* within its allocation, says AddressSanitizer */
    stream_close(stream);
}

static void wrong_specs_say_what_is_right(void **state)
{
    (void)state;
    static const char *const specs[] = {"world:",       "world:nowhere", "world:target/colour",
                                        "/no/such/dir", "/dev/null",     ""};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct stream *stream;
        struct err err = {0};
        assert_int_not_equal(stream_open(io_posix(), specs[i], 64, 1, &stream, &err), STATUS_OK);
        assert_null(stream);
        assert_true(strlen(err.text) > 10);
    }
}

/* ---- directories ---- */

static void lines_become_samples(void **state)
{
    struct folder *f = *state;
    struct sample s;
    line_append(f, "{\"image\":\"a.png\",\"question\":\"what?\"}\n\n  \n"
                   "{\"image\":\"a.png\",\"question\":\"which?\",\"choices\":[\"x\",\"y\"],"
                   "\"answer\":\"y\",\"id\":\"second\",\"extra\":1}\r\n");
    struct stream *stream = stream_of(f->path, 64);
    assert_int_equal(stream_next(stream, &s, NULL), STATUS_OK);
    assert_string_equal(s.question.text, "what?");
    assert_string_equal(s.id, "1");
    assert_false(s.has_answer);
    assert_int_equal(s.question.options, 0);
    assert_int_equal(s.question.kind, KINDS);
    for (int i = 0; i < 64 * 64 * 3; i++)
        assert_int_equal(s.pixels[i], 77);
    assert_true(s.source_bytes > 40 && s.source_bytes < 200);
    assert_int_equal(stream_next(stream, &s, NULL), STATUS_OK);
    assert_string_equal(s.id, "second");
    assert_true(s.has_answer);
    assert_int_equal(s.question.options, 2);
    assert_int_equal(s.question.answer_option, 1);
    expect_next(stream, STATUS_NOT_FOUND, "no more");
    assert_int_equal(stream_position(stream), 2);
    stream_close(stream);
}

static void a_growing_file_is_read_on(void **state)
{
    struct folder *f = *state;
    struct stream *stream = stream_of(f->path, 64);
    expect_next(stream, STATUS_NOT_FOUND, "no more");
    line_append(f, "{\"image\":\"a.png\",\"ques");
    expect_next(stream, STATUS_NOT_FOUND, "no more");
    line_append(f, "tion\":\"one?\"}"); /* whole, though its newline is missing */
    expect_next(stream, STATUS_OK, "one?");
    expect_next(stream, STATUS_NOT_FOUND, "no more");
    line_append(f, "\n{\"image\":\"a.png\",\"question\":\"two?\"}\n");
    expect_next(stream, STATUS_OK, "two?");
    assert_int_equal(stream_position(stream), 2);
    assert_int_equal(stream_seek(stream, 1, NULL), STATUS_OK);
    expect_next(stream, STATUS_OK, "two?");
    assert_int_equal(stream_seek(stream, 3, NULL), STATUS_NOT_FOUND);
    stream_close(stream);
}

static void a_bad_line_is_an_error_of_its_own(void **state)
{
    static const struct {
        const char *line;
        enum status status;
        const char *word;
    } bad[] = {
        {"not json", STATUS_MALFORMED, "JSON"},
        {"[1,2]", STATUS_MALFORMED, "object"},
        {"{\"question\":\"q?\"}", STATUS_MALFORMED, "image"},
        {"{\"image\":\"a.png\"}", STATUS_MALFORMED, "question"},
        {"{\"image\":7,\"question\":\"q?\"}", STATUS_MALFORMED, "image"},
        {"{\"image\":\"none.png\",\"question\":\"q?\"}", STATUS_MALFORMED, "none.png"},
        {"{\"image\":\"bad.png\",\"question\":\"q?\"}", STATUS_UNSUPPORTED, "text"},
        {"{\"image\":\"../a.png\",\"question\":\"q?\"}", STATUS_REFUSED, "inside"},
        {"{\"image\":\"x/../../a.png\",\"question\":\"q?\"}", STATUS_REFUSED, "inside"},
        {"{\"image\":\"/etc/passwd\",\"question\":\"q?\"}", STATUS_REFUSED, "inside"},
        {"{\"image\":\"a.png\",\"question\":\"q?\",\"choices\":[\"a\"],\"answer\":\"b\"}",
         STATUS_MALFORMED, "choices"},
        {"{\"image\":\"a.png\",\"question\":\"q?\",\"choices\":[1]}", STATUS_MALFORMED, "string"},
    };
    enum { BAD = sizeof bad / sizeof bad[0] };
    struct folder *f = *state;
    for (size_t i = 0; i < BAD; i++) {
        line_append(f, bad[i].line);
        line_append(f, "\n{\"image\":\"a.png\",\"question\":\"fine?\"}\n");
    }
    struct stream *stream = stream_of(f->path, 64);
    for (size_t i = 0; i < BAD; i++) {
        char place[32];
        expect_next(stream, bad[i].status, bad[i].word);
        assert_int_equal(stream_position(stream), 2 * i + 1);
        expect_next(stream, STATUS_OK, "fine?");
        assert_int_equal(stream_seek(stream, 2 * i, NULL), STATUS_OK);
        snprintf(place, sizeof place, "line %zu:", 2 * i + 1);
        expect_next(stream, bad[i].status, place);
        expect_next(stream, STATUS_OK, "fine?");
    }
    stream_close(stream);
}

static void overlong_input_is_refused_and_passed(void **state)
{
    struct folder *f = *state;
    char *filler = malloc(200001);
    memset(filler, 'x', 200000);
    filler[200000] = '\0';
    line_append(f, filler);
    line_append(
        f, "\n{\"image\":\"a.png\",\"question\":\"after?\"}\n{\"image\":\"a.png\",\"question\":\"");
    filler[300] = '\0';
    line_append(f, filler);
    line_append(f, "\"}\n{\"image\":\"a.png\",\"question\":\"q?\",\"choices\":[\"1\",\"2\",\"3\","
                   "\"4\",\"5\"]}\n");
    struct stream *stream = stream_of(f->path, 64);
    expect_next(stream, STATUS_TOO_LARGE, "line 1");
    expect_next(stream, STATUS_OK, "after?");
    struct sample sample;
    struct err err = {0};
    assert_int_not_equal(stream_next(stream, &sample, &err), STATUS_OK);
    assert_non_null(strstr(err.text, "question"));
    assert_int_not_equal(stream_next(stream, &sample, &err), STATUS_OK);
    assert_non_null(strstr(err.text, "choices"));
    expect_next(stream, STATUS_NOT_FOUND, "no more");
    assert_int_equal(stream_seek(stream, 1, NULL), STATUS_OK);
    expect_next(stream, STATUS_OK, "after?");
    stream_close(stream);
    free(filler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(world_streams_repeat_and_seek),
        cmocka_unit_test(world_streams_take_a_kind_and_a_size),
        cmocka_unit_test(wrong_specs_say_what_is_right),
        cmocka_unit_test_setup_teardown(lines_become_samples, setup, teardown),
        cmocka_unit_test_setup_teardown(a_growing_file_is_read_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_line_is_an_error_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(overlong_input_is_refused_and_passed, setup, teardown),
    };
    return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
