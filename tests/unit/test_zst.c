// zstd: round trips, truncations, bombs with and without a claimed size, trailing bytes.
// links: wire
#include "api/wire/zst.h"
#include "guard.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

static struct buf compressed(const void *data, size_t len)
{
    struct buf out = {.max = 1 << 22};
    assert_int_equal(zst_compress(data, len, 3, &out, NULL), STATUS_OK);
    return out;
}

/* A frame that does not say how long its content is and ends with a checksum. */
static struct buf streamed(const void *data, size_t len)
{
    struct buf out = {.max = 1 << 22};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    assert_int_equal(buf_reserve(&out, ZSTD_compressBound(len)), STATUS_OK);
    out.len = ZSTD_compress2(context, out.data, out.cap, data, len);
    ZSTD_freeCCtx(context);
    return out;
}

static void round_trips(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 262143, 262144, 262145, 1000000};
    unsigned char *data = malloc(1000000);
    for (size_t i = 0; i < 1000000; i++)
        data[i] = (unsigned char)(i * i >> 7);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int kind = 0; kind < 2; kind++) {
            struct buf frame = kind ? streamed(data, sizes[i]) : compressed(data, sizes[i]);
            struct buf back = {.max = sizes[i]}; /* exactly enough */
            struct err err = {0};
            if (zst_decompress(frame.data, frame.len, &back, &err) != STATUS_OK)
                fail_msg("%zu bytes, kind %d: %s", sizes[i], kind, err.text);
            assert_int_equal(back.len, sizes[i]);
            assert_memory_equal(back.data, data, sizes[i]);
            buf_free(&back);
            buf_free(&frame);
        }
    }
    free(data);
}

static void more_than_the_limit_is_refused(void **state)
{
    (void)state;
    static unsigned char zeros[1 << 20];
    struct buf claimed = compressed(zeros, sizeof zeros), unclaimed = streamed(zeros, sizeof zeros);
    assert_true(claimed.len < 200);
    for (int kind = 0; kind < 2; kind++) {
        const struct buf *frame = kind ? &unclaimed : &claimed;
        struct buf out = {.max = sizeof zeros - 1};
        struct err err;
        assert_int_equal(zst_decompress(frame->data, frame->len, &out, &err), STATUS_TOO_LARGE);
        assert_non_null(strstr(err.text, "1048575"));
        assert_true(out.cap <= out.max);
        buf_free(&out);
    }
    buf_free(&claimed);
    buf_free(&unclaimed);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    static const char text[] = "some text, some text, some more text; and some text again";
    struct guard guard;
    assert_int_equal(guard_init(&guard, 4096), 0);
    for (int kind = 0; kind < 2; kind++) {
        struct buf frame = kind ? streamed(text, sizeof text) : compressed(text, sizeof text);
        for (size_t len = 0; len < frame.len; len++) {
            struct buf out = {.max = 4096};
            const void *cut = guard_put(&guard, frame.data, len);
            assert_int_equal(zst_decompress(cut, len, &out, NULL), STATUS_MALFORMED);
            buf_free(&out);
        }
        buf_free(&frame);
    }
    guard_deinit(&guard);
}

static void nothing_may_follow_a_frame(void **state)
{
    (void)state;
    struct buf frame = compressed("abc", 3), twice = compressed("abc", 3);
    struct buf out = {.max = 100};
    struct err err;
    assert_int_equal(buf_append(&twice, frame.data, frame.len), STATUS_OK);
    assert_int_equal(zst_decompress(twice.data, twice.len, &out, &err), STATUS_MALFORMED);
    buf_clear(&out);
    assert_int_equal(buf_append(&frame, "", 1), STATUS_OK);
    assert_int_equal(zst_decompress(frame.data, frame.len, &out, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "follow"));
    assert_int_equal(zst_decompress("not zstd", 8, &out, &err), STATUS_MALFORMED);
    buf_free(&out);
    buf_free(&frame);
    buf_free(&twice);
}

static void output_is_appended(void **state)
{
    (void)state;
    struct buf frame = compressed("def", 3), out = {.max = 6};
    assert_int_equal(buf_append(&out, "abc", 3), STATUS_OK);
    assert_int_equal(zst_decompress(frame.data, frame.len, &out, NULL), STATUS_OK);
    assert_string_equal((char *)out.data, "abcdef");
    struct buf small = {.max = 5};
    assert_int_equal(zst_compress("abc", 3, 3, &small, NULL), STATUS_TOO_LARGE);
    buf_free(&small);
    buf_free(&out);
    buf_free(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(more_than_the_limit_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(nothing_may_follow_a_frame),
        cmocka_unit_test(output_is_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
