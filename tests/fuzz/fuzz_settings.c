/* Settings of a round, the body of POST /distill: what is accepted is within its bounds, and
 * written down it is accepted again and means the same. */
#include "fuzz.h"
#include "model/learn/codec.h"
#include "server/settings.h"
#include <math.h>

static void settings_hold(const struct settings *s)
{
    FUZZ_HOLDS(distill_options_check(&s->distill, NULL) == STATUS_OK);
    FUZZ_HOLDS(s->distill.steps >= 1 && s->distill.steps <= 10000 && s->distill.batch >= 1);
    FUZZ_HOLDS(isfinite(s->distill.lr) && s->distill.lr > 0 && isfinite(s->distill.temperature));
    FUZZ_HOLDS(s->distill.holdout >= 0 && s->distill.holdout < 1);
    FUZZ_HOLDS(s->compress.budget_bytes <= LIMIT_DELTA_BYTES);
    FUZZ_HOLDS(s->compress.selected_share > 0 && s->compress.selected_share <= 1);
    FUZZ_HOLDS(!s->compress.codec || strchr(CODEC_LETTERS, s->compress.codec));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct settings settings, again;
    struct err err = {0};
    struct buf first = {.max = LIMIT_DISTILL_BYTES}, second = {.max = LIMIT_DISTILL_BYTES};
    enum status status = settings_parse(data, len, &settings, &err);
    FUZZ_HOLDS(status == STATUS_OK || (err.code == status && err.text[0]));
    if (status != STATUS_OK)
        return 0;
    settings_hold(&settings);
    FUZZ_HOLDS(settings_write(&settings, &first, &err) == STATUS_OK);
    FUZZ_HOLDS(settings_parse(first.data, first.len, &again, &err) == STATUS_OK);
    FUZZ_HOLDS(settings_write(&again, &second, &err) == STATUS_OK);
    FUZZ_HOLDS(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    buf_free(&first);
    buf_free(&second);
    return 0;
}
