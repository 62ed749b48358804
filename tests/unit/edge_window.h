/* A sampling window full of random pictures that a tiny student has answered. */
#ifndef CDCCA_TEST_EDGE_WINDOW_H
#define CDCCA_TEST_EDGE_WINDOW_H

#include "api/base/rng.h"
#include "client/window.h"
#include "edge_tiny.h"

static inline struct window *window_make(const struct mllm *m, int capacity)
{
    struct window *window = NULL;
    struct window_options options = {.capacity = capacity,
                                     .budget = 0.1,
                                     .pool_factor = 3,
                                     .bits = 4,
                                     .device = "device",
                                     .uts = uts_defaults()};
    options.uts.keep = 5;
    assert_int_equal(window_create(&options, infer_tokens(m), infer_width(m), &window, NULL),
                     STATUS_OK);
    return window;
}

/* Samples number from .. from+n-1, n a multiple of 8. */
static inline void window_fill(struct window *window, const struct mllm *m, int from, int n)
{
    enum { STEP = 8, SIDE = 32 };
    static const char *const questions[] = {"red", "what color is the circle?",   "two",  "is it?",
                                            "yes", "how many objects are there?", "blue", "is"};
    static uint8_t rgb[STEP * SIDE * SIDE * 3];
    struct answer answers[STEP];
    for (int i = from; i < from + n; i += STEP) {
        struct rng rng;
        struct err err = {0};
        rng_init(&rng, 5, (uint64_t)i);
        for (size_t j = 0; j < sizeof rgb; j++)
            rgb[j] = (uint8_t)rng_below(&rng, 256);
        if (infer_answer(m, NULL, rgb, questions, STEP, window_room(window, STEP), answers, &err) !=
            STATUS_OK)
            fail_msg("%s", err.text);
        for (int j = 0; j < STEP; j++) {
            struct window_record record = {.entropy = answers[j].entropy};
            snprintf(record.id, sizeof record.id, "%d", i + j);
            snprintf(record.question, sizeof record.question, "%s", questions[j]);
            snprintf(record.answer, sizeof record.answer, "%s", answers[j].text);
            window_add(window, &record);
        }
    }
}

#endif
