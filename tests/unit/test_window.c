/* The sampling window: the share that is taken adds up over windows, draws are the same for the
 * same window, what is packed can be read back, and a failing spool loses nothing but the window.
 */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/wire/payload.h"
#include "api/wire/zst.h"
#include "client/window.h"
#include "edge_tiny.h"

struct fixture {
    char dir[TINY_PATH];
    struct mllm *m;
    struct window *window;
    struct buf uploads[4]; /* bodies as emitted */
    int count;
    bool fail;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->dir);
    tiny_student(f->dir, 5);
    f->m = tiny_load(f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    window_destroy(f->window);
    mllm_release(f->m);
    tiny_remove(f->dir);
    for (int i = 0; i < 4; i++)
        buf_free(&f->uploads[i]);
    free(f);
    return 0;
}

static void make_window(struct fixture *f, int capacity, double budget)
{
    struct window_options options = {.capacity = capacity,
                                     .budget = budget,
                                     .pool_factor = 3,
                                     .bits = 4,
                                     .seed = 7,
                                     .device = "device-1",
                                     .uts = uts_defaults()};
    options.uts.keep = 5;
    window_destroy(f->window);
    assert_int_equal(
        window_create(&options, infer_tokens(f->m), infer_width(f->m), &f->window, NULL),
        STATUS_OK);
}

/* n records; record i's entropy is i / 100, its version as told. */
static void fill(struct fixture *f, int n, int64_t version)
{
    size_t stride = (size_t)infer_tokens(f->m) * (size_t)infer_width(f->m);
    for (int i = 0; i < n; i++) {
        struct window_record record = {
            .entropy = (float)i / 100.0f, .jpeg_bytes = 100, .version = version};
        float *visual = window_room(f->window, 1);
        assert_non_null(visual);
        for (size_t k = 0; k < stride; k++)
            visual[k] = (float)(k % 13) - 6.0f + (float)i;
        snprintf(record.id, sizeof record.id, "id-%d", i);
        snprintf(record.question, sizeof record.question, "is there a square?");
        snprintf(record.answer, sizeof record.answer, "yes");
        window_add(f->window, &record);
    }
}

static enum status collect(void *ctx, const struct window_upload *upload, struct err *err)
{
    struct fixture *f = ctx;
    if (f->fail)
        return err_set(err, STATUS_DISK_FULL, "no room");
    assert_true(f->count < 4);
    struct buf *body = &f->uploads[f->count++];
    body->max = 1 << 20;
    buf_clear(body);
    return buf_append(body, upload->body, upload->size);
}

static struct window_result close_window(struct fixture *f, uint64_t index, int64_t seen,
                                         int64_t sampled)
{
    struct window_result result;
    struct err err = {0};
    f->count = 0;
    if (window_close(f->window, f->m, index, seen, sampled, collect, f, &result, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(window_count(f->window), 0);
    return result;
}

static void decode(const struct buf *body, struct payload *out)
{
    struct buf raw = {.max = 1 << 22};
    struct err err = {0};
    assert_int_equal(zst_decompress(body->data, body->len, &raw, &err), STATUS_OK);
    if (payload_decode("application/x-safetensors", raw.data, raw.len, out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    buf_free(&raw);
}

static void test_a_pack_holds_the_most_uncertain(void **state)
{
    struct fixture *f = *state;
    struct payload p;
    make_window(f, 100, 0.1);
    fill(f, 100, 6);
    assert_true(window_full(f->window));
    assert_null(window_room(f->window, 1));
    struct window_result result = close_window(f, 0, 100, 0);
    assert_int_equal(result.sampled, 10);
    assert_int_equal(result.uploads, 1);
    assert_int_equal(result.jpeg_bytes, 1000);
    assert_true(result.entropy_cut > 0.69 && result.entropy_cut < 0.71); /* 30 candidates */
    decode(&f->uploads[0], &p);
    assert_int_equal(p.instances, 10);
    assert_int_equal(p.base_version, 6);
    assert_string_equal(p.device, "device-1");
    int uncertain = 0;
    for (size_t i = 0; i < p.instances; i++) {
        uncertain += p.instance[i].entropy >= 0.69;
        assert_int_equal(p.instance[i].count, 5 + 1); /* the rest's mean */
        assert_string_equal(p.instance[i].question, "is there a square?");
    }
    assert_true(uncertain >= 3); /* the others come from the whole window */
    payload_free(&p);
}

static void test_shares_add_up_over_windows(void **state)
{
    struct fixture *f = *state;
    int64_t seen = 0, sampled = 0;
    make_window(f, 7, 0.1);
    for (uint64_t i = 0; i < 20; i++) {
        fill(f, 7, 0);
        seen += 7;
        sampled += close_window(f, i, seen, sampled).sampled;
    }
    assert_int_equal(sampled, 14);
}

static void test_the_same_window_closes_the_same_way(void **state)
{
    struct fixture *f = *state;
    struct buf first = {.max = 1 << 20};
    make_window(f, 60, 0.2);
    fill(f, 60, 0);
    close_window(f, 3, 60, 0);
    assert_int_equal(buf_append(&first, f->uploads[0].data, f->uploads[0].len), STATUS_OK);
    fill(f, 60, 0);
    close_window(f, 3, 60, 0);
    assert_int_equal(f->uploads[0].len, first.len);
    assert_memory_equal(f->uploads[0].data, first.data, first.len);
    fill(f, 60, 0);
    close_window(f, 4, 60, 0);
    assert_false(f->uploads[0].len == first.len &&
                 memcmp(f->uploads[0].data, first.data, first.len) == 0);
    buf_free(&first);
}

static void test_uploads_are_bounded_and_of_one_version(void **state)
{
    struct fixture *f = *state;
    make_window(f, 300, 1.0);
    fill(f, 140, 1);
    fill(f, 60, 2);
    struct window_result result = close_window(f, 0, 200, 0);
    assert_int_equal(result.sampled, 200);
    assert_int_equal(f->count, 3); /* 128 + 12 of version 1, 60 of version 2 */
    int64_t versions[3] = {1, 1, 2};
    for (int i = 0; i < 3; i++) {
        struct payload p;
        decode(&f->uploads[i], &p);
        assert_true(p.instances <= WINDOW_UPLOAD);
        assert_int_equal(p.base_version, versions[i]);
        payload_free(&p);
    }
}

static void test_no_budget_no_upload(void **state)
{
    struct fixture *f = *state;
    make_window(f, 10, 0);
    fill(f, 10, 0);
    assert_int_equal(close_window(f, 0, 10, 0).sampled, 0);
    assert_int_equal(f->count, 0);
}

static void test_a_full_disk_is_reported(void **state)
{
    struct fixture *f = *state;
    struct window_result result;
    struct err err = {0};
    make_window(f, 10, 1);
    fill(f, 10, 0);
    f->fail = true;
    assert_int_equal(window_close(f->window, f->m, 0, 10, 0, collect, f, &result, &err),
                     STATUS_DISK_FULL);
    assert_int_equal(result.sampled, 0);
    window_clear(f->window);
    assert_int_equal(window_count(f->window), 0);
}

static void test_preview_is_what_would_be_sent(void **state)
{
    struct fixture *f = *state;
    struct window_options options = {
        .capacity = 1, .bits = 8, .device = "ask", .uts = uts_defaults()};
    struct window_record record = {.id = "ask", .question = "is there a square?", .answer = "no"};
    uint16_t positions[17];
    int kept;
    size_t bytes;
    options.uts.keep = 6;
    make_window(f, 1, 1);
    fill(f, 1, 0);
    struct window_options one = options;
    size_t floats = (size_t)infer_tokens(f->m) * (size_t)infer_width(f->m);
    float *visual = calloc(floats, sizeof *visual);
    assert_non_null(visual);
    for (size_t i = 0; i < floats; i++)
        visual[i] = (float)i;
    assert_int_equal(window_preview(&one, f->m, visual, &record, positions, &kept, &bytes, NULL),
                     STATUS_OK);
    assert_int_equal(kept, 6); /* the mean of the others is not one of them */
    assert_true(bytes > 0);
    for (int i = 1; i < kept; i++)
        assert_true(positions[i] > positions[i - 1]);
    free(visual);
}

static void test_a_correction_is_an_upload_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct payload p;
    struct window_record record = {.id = "id-2", .question = "is there a square?", .answer = "no"};
    record.correction = "yes";
    record.version = 3;
    make_window(f, 4, 0);
    fill(f, 4, 3);
    size_t floats = (size_t)infer_tokens(f->m) * (size_t)infer_width(f->m);
    float *visual = calloc(floats, sizeof *visual);
    assert_non_null(visual);
    visual[7] = 1;
    assert_int_equal(window_pack_one(f->window, f->m, visual, &record, collect, f, &err),
                     STATUS_OK);
    decode(&f->uploads[0], &p);
    assert_int_equal(p.instances, 1);
    assert_int_equal(p.base_version, 3);
    assert_string_equal(p.instance[0].correction, "yes");
    assert_string_equal(p.instance[0].answer, "no");
    payload_free(&p);
    f->fail = true;
    assert_int_equal(window_pack_one(f->window, f->m, visual, &record, collect, f, &err),
                     STATUS_DISK_FULL);
    free(visual);
}

/* What is corrected is not drawn again; the others keep their own tokens. */
static void test_a_dropped_record_is_not_drawn(void **state)
{
    struct fixture *f = *state;
    struct payload p;
    make_window(f, 4, 1);
    fill(f, 4, 0);
    assert_false(window_drop(f->window, "id-4"));
    assert_true(window_drop(f->window, "id-1"));
    assert_false(window_drop(f->window, "id-1"));
    assert_int_equal(close_window(f, 0, 3, 0).sampled, 3);
    decode(&f->uploads[0], &p);
    assert_int_equal(p.instances, 3);
    assert_string_equal(p.instance[0].id, "id-0");
    assert_string_equal(p.instance[1].id, "id-2");
    assert_string_equal(p.instance[2].id, "id-3");
    float first[16], second[16];
    assert_int_equal(p.width, 16);
    float *tokens = calloc((size_t)p.instance[2].count * 16, sizeof *tokens);
    assert_non_null(tokens);
    payload_dequantize(&p, 1, tokens);
    memcpy(first, tokens, sizeof first);
    payload_dequantize(&p, 2, tokens);
    memcpy(second, tokens, sizeof second);
    int differing = 0;
    for (int i = 0; i < 16; i++)
        differing += first[i] != second[i];
    assert_true(differing > 0);
    free(tokens);
    payload_free(&p);
}

#define WINDOW_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WINDOW_TEST(test_a_pack_holds_the_most_uncertain),
        WINDOW_TEST(test_shares_add_up_over_windows),
        WINDOW_TEST(test_the_same_window_closes_the_same_way),
        WINDOW_TEST(test_uploads_are_bounded_and_of_one_version),
        WINDOW_TEST(test_no_budget_no_upload),
        WINDOW_TEST(test_a_full_disk_is_reported),
        WINDOW_TEST(test_a_correction_is_an_upload_of_its_own),
        WINDOW_TEST(test_a_dropped_record_is_not_drawn),
        WINDOW_TEST(test_preview_is_what_would_be_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
