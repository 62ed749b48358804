/* screen: a device's share of a round, noise, and whose corrections are believed. */
// links: learn
#include "model/learn/screen.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DEVICES = 20, MOST = 400, COUNT = 12, WIDTH = 16, VOCAB = 4 };

static struct distill_instance uploads[MOST];
static float visual[MOST * COUNT * WIDTH];
static bool out[MOST];

/* Tokens with as much in common as those of an image; or noise. */
static void tokens_draw(int i, bool noise)
{
    struct rng rng;
    float common[WIDTH];
    rng_init(&rng, 3, (uint64_t)i);
    for (int c = 0; c < WIDTH; c++)
        common[c] = noise ? 0 : rng_normal(&rng) < 0 ? -1 : 1;
    for (int j = 0; j < COUNT * WIDTH; j++)
        visual[i * COUNT * WIDTH + j] = common[j % WIDTH] + rng_normal(&rng);
}

/* `each` uploads of each device, of device 1 `first`. */
static int uploads_make(int devices, int each, int first)
{
    int n = 0;
    for (int d = 1; d <= devices; d++)
        for (int i = 0; i < (d == 1 ? first : each); i++, n++) {
            uploads[n] = (struct distill_instance){.question = "q",
                                                   .visual = visual + n * COUNT * WIDTH,
                                                   .count = COUNT,
                                                   .device = (uint64_t)d};
            tokens_draw(n, false);
        }
    return n;
}

static struct distill_left_out screened(int n)
{
    struct distill_left_out counts = {0};
    struct err err;
    assert_int_equal(screen_uploads(uploads, n, WIDTH, out, &counts, &err), STATUS_OK);
    return counts;
}

static void devices_are_counted(void **state)
{
    int devices;
    struct err err;
    (void)state;
    assert_int_equal(screen_devices(uploads, uploads_make(7, 3, 5), &devices, &err), STATUS_OK);
    assert_int_equal(devices, 7);
    assert_int_equal(screen_devices(NULL, 0, &devices, &err), STATUS_OK);
    assert_int_equal(devices, 0);
}

static void a_loud_device_is_cut_to_its_share(void **state)
{
    bool again[MOST];
    int n = uploads_make(DEVICES, 4, 40), loud = 0;
    (void)state;
    assert_int_equal(screened(n).over_share, 40 - SCREEN_UPLOADS);
    for (int i = 0; i < n; i++)
        loud += out[i] && uploads[i].device == 1;
    assert_int_equal(loud, 40 - SCREEN_UPLOADS);
    memcpy(again, out, sizeof again);
    screened(n);
    assert_memory_equal(out, again, sizeof again);
}

static void the_share_follows_the_median_device(void **state)
{
    (void)state;
    assert_int_equal(screened(uploads_make(9, 20, 40)).over_share, 0);
    assert_int_equal(screened(uploads_make(9, 20, 50)).over_share, 10);
    assert_int_equal(screened(uploads_make(9, 1, SCREEN_UPLOADS)).over_share, 0);
}

static void noise_is_strange(void **state)
{
    int n = uploads_make(DEVICES, 4, 4);
    (void)state;
    assert_int_equal(screened(n).strange, 0);
    tokens_draw(0, true);
    tokens_draw(1, true);
    assert_int_equal(screened(n).strange, 2);
    assert_true(out[0] && out[1] && !out[2]);
}

static void coherence_has_the_bounds_it_says(void **state)
{
    float same[COUNT * WIDTH], opposite[2] = {1, -1};
    (void)state;
    for (int j = 0; j < COUNT * WIDTH; j++)
        same[j] = (float)(j % WIDTH);
    const struct distill_instance copies = {.visual = same, .count = COUNT};
    const struct distill_instance pair = {.visual = opposite, .count = 2};
    assert_true(screen_coherence(&copies, WIDTH) > 0.999f);
    assert_true(screen_coherence(&pair, 1) == 0);
}

/* ---- corrections ---- */

/* A taught exemplar whose one-word correction lies `margin` behind the teacher's `other`. */
static void correction_add(struct exemplars *list, uint64_t device, int32_t word, float margin,
                           int32_t other)
{
    struct exemplar *e = &list->item[list->count++];
    *e = (struct exemplar){.question = strdup("what is it"),
                           .ids = calloc(1, sizeof *e->ids),
                           .logits = calloc(VOCAB, sizeof *e->logits),
                           .label_count = 1,
                           .corrected = true,
                           .device = device};
    e->ids[0] = word;
    e->logits[word] = 5;
    e->logits[other] = 5 + margin;
}

static struct distill_corrections judged(struct exemplars *list)
{
    struct distill_corrections counts = {0};
    struct err err;
    assert_int_equal(screen_corrections(list, 0, DEVICES, VOCAB, &counts, &err), STATUS_OK);
    for (int i = 0; i < list->count; i++)
        assert_true(list->item[i].corrected == (list->item[i].label_count == 1));
    return counts;
}

static int setup(void **state)
{
    struct exemplars *list = calloc(1, sizeof *list);
    struct err err;
    *state = list;
    return exemplars_reserve(list, MOST, &err) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    exemplars_truncate(*state, 0);
    free(*state);
    return 0;
}

static void the_plausible_are_believed(void **state)
{
    struct exemplars *list = *state;
    correction_add(list, 1, 0, 0, 0);
    correction_add(list, 2, 0, 1, 1);
    correction_add(list, 3, 0, 9, 1);
    struct distill_corrections counts = judged(list);
    assert_int_equal(counts.believed, 2);
    assert_int_equal(counts.doubted, 1);
    assert_false(list->item[2].corrected);
}

static void devices_that_agree_outvote_the_teacher(void **state)
{
    struct exemplars *list = *state;
    for (uint64_t d = 1; d <= DEVICES / 5; d++)
        correction_add(list, d, 2, 9, 1);
    assert_int_equal(judged(list).believed, DEVICES / 5);
}

/* Two devices of twenty, however often they say it; and others who replace another word. */
static void a_few_devices_do_not(void **state)
{
    struct exemplars *list = *state;
    for (uint64_t d = 1; d <= 8; d++)
        correction_add(list, 1 + d % 2, 2, 9, 1);
    for (uint64_t d = 3; d <= 5; d++)
        correction_add(list, d, 2, 9, 3);
    struct distill_corrections counts = judged(list);
    assert_int_equal(counts.believed, 0);
    assert_int_equal(counts.doubted, 11);
}

static void corrections_of_one_device_are_capped(void **state)
{
    struct exemplars *list = *state;
    for (int i = 0; i < 10; i++)
        correction_add(list, 1, 0, 0, 0);
    for (uint64_t d = 2; d < 9; d++)
        correction_add(list, d, 0, 0, 0);
    struct distill_corrections counts = judged(list);
    assert_int_equal(counts.over_share, 10 - SCREEN_CORRECTIONS);
    assert_int_equal(counts.believed, SCREEN_CORRECTIONS + 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_counted),
        cmocka_unit_test(a_loud_device_is_cut_to_its_share),
        cmocka_unit_test(the_share_follows_the_median_device),
        cmocka_unit_test(noise_is_strange),
        cmocka_unit_test(coherence_has_the_bounds_it_says),
        TEST(the_plausible_are_believed),
        TEST(devices_that_agree_outvote_the_teacher),
        TEST(a_few_devices_do_not),
        TEST(corrections_of_one_device_are_capped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
