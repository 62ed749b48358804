/* reach: what an encoder makes lies within it, also rounded and averaged; what no image gives, not.
 */
// links: learn
#include "api/wire/payload.h"
#include "model/mllm/answer.h"
#include "model/mllm/reach.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PIXELS = 16 * 16 * 3 };

struct fixture {
    struct tiny_pair pair;
    float tokens[TINY_TOKENS * TINY_WIDTH];
};

/* An encoder whose layer norm is not the identity, and the tokens of a random picture. */
static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};
    uint8_t rgb[PIXELS];
    struct rng rng;
    *state = &f;
    if (tiny_pair_init(&f.pair, &err) != STATUS_OK)
        return -1;
    rng_init(&rng, 5, 5);
    for (int c = 0; c < TINY_WIDTH; c++) {
        f.pair.student->vision.post_norm_w->data[c] = rng_range(&rng, 0.2f, 3);
        f.pair.student->vision.post_norm_b->data[c] = rng_normal(&rng);
    }
    for (int i = 0; i < PIXELS; i++)
        rgb[i] = (uint8_t)rng_below(&rng, 256);
    return answer_encode(f.pair.student, NULL, rgb, 1, f.tokens, &err) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    tiny_pair_deinit(&((struct fixture *)*state)->pair);
    return 0;
}

static void what_the_encoder_makes_is_within(void **state)
{
    struct fixture *f = *state;
    float mean[TINY_WIDTH] = {0};
    for (int t = 0; t < TINY_TOKENS; t++) {
        const float *token = f->tokens + t * TINY_WIDTH;
        double radius = reach_radius(f->pair.student, token, 0);
        assert_true(radius <= REACH_MOST);
        assert_true(radius > 0.9); /* a token lies on the edge, but for the norm's epsilon */
        for (int c = 0; c < TINY_WIDTH; c++)
            mean[c] += token[c] / TINY_TOKENS;
    }
    assert_true(reach_radius(f->pair.student, mean, 0) <= 1);
}

static void quantization_stays_within_its_slack(void **state)
{
    struct fixture *f = *state;
    for (int bits = 4; bits <= 8; bits += 4) {
        uint8_t codes[TINY_TOKENS * TINY_WIDTH];
        uint16_t scales[TINY_TOKENS];
        float back[TINY_TOKENS * TINY_WIDTH];
        struct payload_instance one = {.first = 0, .count = TINY_TOKENS};
        struct payload p = {.bits = bits,
                            .width = TINY_WIDTH,
                            .tokens = TINY_TOKENS,
                            .instances = 1,
                            .instance = &one,
                            .codes = codes,
                            .scales = scales};
        assert_int_equal(
            payload_quantize(f->tokens, TINY_TOKENS, TINY_WIDTH, bits, codes, scales, NULL),
            STATUS_OK);
        payload_dequantize(&p, 0, back);
        for (int t = 0; t < TINY_TOKENS; t++) {
            float most = 0;
            for (int c = 0; c < TINY_WIDTH; c++)
                most = fmaxf(most, fabsf(f->tokens[t * TINY_WIDTH + c]));
            double slack = (double)most / (bits == 4 ? 14 : 254) + 1e-3;
            assert_true(reach_radius(f->pair.student, back + t * TINY_WIDTH, slack) <= REACH_MOST);
        }
    }
}

static void what_no_image_gives_is_outside(void **state)
{
    struct fixture *f = *state;
    float token[TINY_WIDTH];
    for (int c = 0; c < TINY_WIDTH; c++)
        token[c] = 2 * f->tokens[c] - f->pair.student->vision.post_norm_b->data[c];
    assert_true(reach_radius(f->pair.student, token, 0) > 1.5);
    token[3] = NAN;
    assert_true(isinf(reach_radius(f->pair.student, token, 0)));
    f->pair.student->vision.post_norm_w->data[3] = 0; /* a channel that is its bias */
    memcpy(token, f->tokens, sizeof token);
    token[3] = f->pair.student->vision.post_norm_b->data[3];
    assert_true(reach_radius(f->pair.student, token, 0) <= REACH_MOST);
    token[3] += 0.1f;
    assert_true(isinf(reach_radius(f->pair.student, token, 0)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_the_encoder_makes_is_within),
        TEST(quantization_stays_within_its_slack),
        TEST(what_no_image_gives_is_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
