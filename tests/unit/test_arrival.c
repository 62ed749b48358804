/* arrival: what the cloud has of an upload, form by form, and what it weighs. */
// links: tool
#include "model/tool/arrival.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { WINDOW = 20, SENT = 8, SIDE = 16, ROW = TINY_TOKENS * TINY_WIDTH };

struct fixture {
    struct tiny_pair pair;
    struct simulated window;
    int32_t chosen[WINDOW + 1];
};

/* Pictures with some structure, so that JPEG has something to leave out. */
static void pixels_draw(uint8_t *rgb, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed, 9);
    int cx = (int)rng_below(&rng, SIDE), noise;
    for (int i = 0; i < SIDE * SIDE; i++) {
        noise = (int)rng_below(&rng, 40);
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] =
                (uint8_t)(abs(i % SIDE - cx) * 12 + i / SIDE * (c + 1) + noise / (c + 1));
    }
}

static int window_make(struct fixture *f, struct err *err)
{
    static const char *const questions[] = {"what color is the cat", "is it night", "is it red"};
    struct simulated *w = &f->window;
    *w = (struct simulated){
        .count = WINDOW, .tokens = TINY_TOKENS, .width = TINY_WIDTH, .side = SIDE};
    w->pixels = calloc(WINDOW, SIDE * SIDE * 3);
    w->visual = calloc(WINDOW * ROW, sizeof *w->visual);
    w->question = calloc(WINDOW, sizeof *w->question);
    w->answers = calloc(WINDOW, sizeof *w->answers);
    for (int i = 0; i < WINDOW; i++) {
        pixels_draw(w->pixels + i * SIDE * SIDE * 3, (uint64_t)i);
        snprintf(w->question[i], sizeof w->question[i], "%s %d", questions[i % 3], i);
        snprintf(w->answers[i].text, sizeof w->answers[i].text, "red");
        w->answers[i].entropy = 0.1f * (float)(i % 7);
    }
    return answer_encode(f->pair.student, NULL, w->pixels, WINDOW, w->visual, err) == STATUS_OK
               ? 0
               : -1;
}

static struct simulated_options options_of(enum simulated_form form, int bits, int keep)
{
    struct simulated_options o = {.pick = PICK_ENT2, .form = form, .quality = 85, .seed = 3};
    o.uts = uts_defaults();
    o.uts.keep = keep;
    o.bits = bits;
    return o;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct simulated_options o = options_of(FORM_TOKENS, 4, 5);
    struct err err = {0};
    if (tiny_pair_init(&f->pair, &err) != STATUS_OK || window_make(f, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    *state = f;
    return simulated_pick(&f->window, SENT, &o, f->chosen) == SENT ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    simulated_free(&f->window);
    tiny_pair_deinit(&f->pair);
    free(f);
    return 0;
}

/* The same instances, with their own questions, in every form. */
static struct arrival arrive(struct fixture *f, struct simulated_options o)
{
    struct arrival a;
    struct err err = {0};
    if (arrival_make(&f->window, f->pair.student, NULL, SENT, &o, &a, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(a.count, SENT);
    for (int i = 0; i < SENT; i++)
        assert_string_equal(a.instances[i].question, f->window.question[f->chosen[i]]);
    return a;
}

static void tokens_are_the_agents(void **state)
{
    struct fixture *f = *state;
    struct simulated_options o = options_of(FORM_TOKENS, 4, 5);
    struct arrival a = arrive(f, o);
    struct payload payload;
    struct err err = {0};
    size_t bytes;
    assert_int_equal(
        simulated_upload(&f->window, f->pair.student, SENT, &o, &payload, &bytes, &err), STATUS_OK);
    assert_int_equal(a.bytes, bytes);
    assert_in_range(a.plain, bytes, 4 * bytes);
    assert_int_equal(a.instances[SENT - 1].count, 5 + 1);
    assert_int_equal(a.instances[SENT - 1].rest, f->window.tokens - 5);
    free(payload.instance);
    arrival_free(&a);
}

static void halves_are_the_same_tokens_not_quantized(void **state)
{
    struct fixture *f = *state;
    struct simulated_options plain = options_of(FORM_TOKENS, 8, 5);
    plain.uts.rest = false;
    struct arrival eight = arrive(f, plain);
    struct arrival half = arrive(f, options_of(FORM_F16, 8, 5));
    for (int i = 0; i < SENT; i++)
        for (int t = 0; t < 5; t++) {
            int position = half.payload.positions[i * 5 + t];
            const float *from = f->window.visual + f->chosen[i] * ROW + position * TINY_WIDTH;
            assert_int_equal(position, eight.payload.positions[i * 5 + t]);
            for (int c = 0; c < TINY_WIDTH; c++) {
                float got = half.instances[i].visual[t * TINY_WIDTH + c];
                assert_true(fabsf(got - from[c]) <= fabsf(from[c]) / 2048 + 1e-7f);
            }
        }
    size_t tokens = SENT * 5, more = tokens * TINY_WIDTH - 2 * tokens; /* codes, less scales */
    assert_in_range(half.plain, eight.plain + more - 100, eight.plain + more + 100);
    arrival_free(&eight);
    arrival_free(&half);
}

static void pixels_lose_nothing(void **state)
{
    struct fixture *f = *state;
    struct arrival a = arrive(f, options_of(FORM_PIXELS, 4, 5));
    for (int i = 0; i < SENT; i++) {
        assert_int_equal(a.instances[i].count, TINY_TOKENS);
        assert_memory_equal(a.instances[i].visual, f->window.visual + f->chosen[i] * ROW,
                            ROW * sizeof(float));
    }
    assert_in_range(a.plain, SENT * SIDE * SIDE * 3, SENT * (SIDE * SIDE * 3 + 200) + 600);
    assert_in_range(a.png_plain, SENT * 100, a.plain + SENT * 100);
    assert_true(a.png_bytes > 0 && a.png_bytes <= a.png_plain);
    arrival_free(&a);
}

static void jpegs_are_what_the_decoder_makes_of_them(void **state)
{
    struct fixture *f = *state;
    struct simulated_options o = options_of(FORM_JPEG, 4, 5);
    struct arrival fine = arrive(f, o);
    o.quality = 30;
    struct arrival coarse = arrive(f, o);
    for (int i = 0; i < SENT; i++) {
        struct buf jpeg = {.max = 1 << 20};
        struct image image;
        struct err err = {0};
        float tokens[ROW];
        const uint8_t *rgb = f->window.pixels + f->chosen[i] * SIDE * SIDE * 3;
        assert_int_equal(image_encode_jpeg(rgb, SIDE, SIDE, 85, &jpeg, &err), STATUS_OK);
        assert_int_equal(image_decode(jpeg.data, jpeg.len, &image, &err), STATUS_OK);
        assert_int_equal(answer_encode(f->pair.student, NULL, image.rgb, 1, tokens, &err),
                         STATUS_OK);
        for (int c = 0; c < ROW; c++)
            assert_true(fabsf(fine.instances[i].visual[c] - tokens[c]) < 1e-4f);
        image_free(&image);
        buf_free(&jpeg);
    }
    assert_true(coarse.plain < fine.plain && coarse.bytes < fine.bytes);
    assert_memory_not_equal(fine.visual, coarse.visual, SENT * ROW * sizeof(float));
    arrival_free(&fine);
    arrival_free(&coarse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_the_agents),
        cmocka_unit_test(halves_are_the_same_tokens_not_quantized),
        cmocka_unit_test(pixels_lose_nothing),
        cmocka_unit_test(jpegs_are_what_the_decoder_makes_of_them),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
