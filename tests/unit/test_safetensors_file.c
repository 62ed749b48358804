/* safetensors in pieces: what is written piece by piece is what the parser of whole files reads,
 * and a file that is cut, before or after it was opened, is one clear error. */
// links: wire
#include "api/wire/safetensors_file.h"
#include "tests/unit/fault_io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIG = 300000 };

static char dir[64], path[96];
static unsigned char big[BIG];

static const struct safetensors_entry ENTRIES[] = {
    {.name = "small", .dtype = DTYPE_F32, .ndim = 1, .dim = {2}},
    {.name = "none", .dtype = DTYPE_U8, .ndim = 2, .dim = {0, 7}},
    {.name = "big", .dtype = DTYPE_U8, .ndim = 2, .dim = {BIG / 100, 100}},
};
static const float SMALL[2] = {1.5F, -2};

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/cdcca-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (unsigned char)(i * i >> 3);
    return 0;
}

static int teardown(void **state)
{
    char temporary[112];
    (void)state;
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    assert_false(io_exists(temporary));
    unlink(path);
    return rmdir(dir);
}

static enum status write_pieces(struct io *io, size_t piece, struct err *err)
{
    struct safetensors_writer w;
    TRY(safetensors_writer_open(io, path, ENTRIES, 3, &w, err));
    enum status status = safetensors_writer_add(&w, SMALL, sizeof SMALL, err);
    for (size_t at = 0; at < BIG && status == STATUS_OK; at += piece)
        status = safetensors_writer_add(&w, big + at, BIG - at < piece ? BIG - at : piece, err);
    if (status == STATUS_OK)
        return safetensors_writer_finish(&w, err);
    safetensors_writer_abandon(&w);
    return status;
}

static void pieces_are_a_file(void **state)
{
    struct safetensors file;
    (void)state;
    assert_int_equal(write_pieces(io_posix(), 7777, NULL), STATUS_OK);
    assert_int_equal(safetensors_open(io_posix(), path, 1 << 20, &file, NULL), STATUS_OK);
    assert_int_equal(file.count, 3);
    assert_memory_equal(safetensors_find(&file, "small")->data, SMALL, sizeof SMALL);
    assert_memory_equal(safetensors_find(&file, "big")->data, big, BIG);
    safetensors_close(&file);
}

static void tensors_are_read_from_anywhere(void **state)
{
    static unsigned char back[BIG];
    struct fault_io slow = fault_io_make(-1, 0);
    struct safetensors_reader r;
    (void)state;
    slow.trickle = true;
    assert_int_equal(write_pieces(io_posix(), BIG, NULL), STATUS_OK);
    assert_int_equal(safetensors_reader_open(&slow.io, path, &r, NULL), STATUS_OK);
    const struct safetensors_entry *e = safetensors_find(&r.head, "big");
    assert_null(e->data);
    assert_int_equal(safetensors_reader_read(&r, e, 1000, 500, back, NULL), STATUS_OK);
    assert_memory_equal(back, big + 1000, 500);
    slow.trickle = false;
    assert_int_equal(safetensors_reader_read(&r, e, 0, BIG, back, NULL), STATUS_OK);
    assert_memory_equal(back, big, BIG);
    assert_int_equal(safetensors_reader_read(&r, e, BIG, 1, back, NULL), STATUS_SHAPE);
    assert_int_equal(safetensors_reader_read(&r, e, 1, BIG, back, NULL), STATUS_SHAPE);
    safetensors_reader_close(&r);
    safetensors_reader_close(&r);
}

static void a_file_cut_after_opening_is_an_error(void **state)
{
    static unsigned char back[BIG];
    struct safetensors_reader r;
    struct err err = {0};
    (void)state;
    assert_int_equal(write_pieces(io_posix(), BIG, NULL), STATUS_OK);
    assert_int_equal(safetensors_reader_open(io_posix(), path, &r, NULL), STATUS_OK);
    assert_int_equal(truncate(path, 5000), 0);
    const struct safetensors_entry *e = safetensors_find(&r.head, "big");
    assert_int_equal(safetensors_reader_read(&r, e, 0, BIG, back, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "cut short"));
    assert_non_null(strstr(err.text, path));
    safetensors_reader_close(&r);
}

static void a_file_cut_before_opening_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(write_pieces(io_posix(), BIG, NULL), STATUS_OK);
    for (off_t len = BIG + 100; len >= 0; len = len > 300 ? len / 2 : len - 1) {
        struct safetensors_reader r;
        struct err err = {0};
        assert_int_equal(truncate(path, len), 0);
        assert_int_not_equal(safetensors_reader_open(io_posix(), path, &r, &err), STATUS_OK);
        assert_non_null(strstr(err.text, path));
    }
}

static void too_few_and_too_many_bytes_are_refused(void **state)
{
    struct safetensors_writer w;
    (void)state;
    assert_int_equal(safetensors_writer_open(io_posix(), path, ENTRIES, 3, &w, NULL), STATUS_OK);
    assert_int_equal(safetensors_writer_add(&w, big, BIG, NULL), STATUS_OK);
    assert_int_equal(safetensors_writer_add(&w, big, sizeof SMALL + 1, NULL), STATUS_SHAPE);
    assert_int_equal(safetensors_writer_finish(&w, NULL), STATUS_SHAPE);
    safetensors_writer_abandon(&w);
    assert_false(io_exists(path));
}

static void any_failing_call_leaves_no_file(void **state)
{
    (void)state;
    for (int n = 0;; n++) {
        struct fault_io fault = fault_io_make(n, EIO);
        struct err err = {0};
        enum status status = write_pieces(&fault.io, BIG / 2, &err);
        if (fault.countdown >= 0) {
            assert_int_equal(status, STATUS_OK);
            break;
        }
        if (status == STATUS_OK) /* the close of a directory after its sync changes nothing */
            assert_int_equal(write_pieces(io_posix(), BIG, NULL), STATUS_OK);
        else
            assert_true(err.text[0] != '\0');
        assert_true(io_exists(path) == (status == STATUS_OK) || fault.calls[FAULT_RENAME] > 0);
        unlink(path);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pieces_are_a_file),
        TEST(tensors_are_read_from_anywhere),
        TEST(a_file_cut_after_opening_is_an_error),
        TEST(a_file_cut_before_opening_is_an_error),
        TEST(too_few_and_too_many_bytes_are_refused),
        TEST(any_failing_call_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
