/* config.json and preprocessor_config.json: what is accepted keeps every promise that the rest of
 * the program builds on without looking again. */
#include "fuzz.h"
#include "model/mllm/config.h"
#include "model/mllm/preprocess.h"
#include <math.h>

static void config_holds(const struct mllm_config *c)
{
    FUZZ_HOLDS(mllm_config_check(c, NULL) == STATUS_OK);
    FUZZ_HOLDS(c->text.hidden > 0 && c->text.heads > 0 && c->text.hidden % c->text.heads == 0);
    FUZZ_HOLDS(c->text.kv_heads > 0 && c->text.heads % c->text.kv_heads == 0);
    FUZZ_HOLDS(c->text.eos >= -1 && c->text.eos < c->text.vocab);
    FUZZ_HOLDS(isfinite(c->text.eps) && isfinite(c->text.theta));
    FUZZ_HOLDS(strstr(c->prompt, "{question}") != NULL);
    if (!c->multimodal)
        return;
    FUZZ_HOLDS(c->vision.patch > 0 && c->vision.image % c->vision.patch == 0);
    FUZZ_HOLDS(c->vision.heads > 0 && c->vision.hidden % c->vision.heads == 0);
    FUZZ_HOLDS(c->qformer.heads > 0 && c->qformer.hidden % c->qformer.heads == 0);
    FUZZ_HOLDS(c->qformer.encoder_hidden == c->vision.hidden);
    FUZZ_HOLDS(c->qformer.cross_every > 0 && c->queries > 0);
}

static void preprocess_holds(const struct preprocess *p)
{
    float out[3];
    preprocess_pixels(p, (const uint8_t[]){0, 128, 255}, 1, out);
    for (int i = 0; i < 3; i++)
        FUZZ_HOLDS(p->deviation[i] > 0 && isfinite(out[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mllm_config config;
    struct preprocess preprocess;
    struct err err = {0};
    enum status status = mllm_config_parse(data, len, &config, &err);
    FUZZ_HOLDS(status == STATUS_OK || (err.code == status && err.text[0] != 0));
    if (status == STATUS_OK)
        config_holds(&config);
    status = preprocess_parse(data, len, 224, &preprocess, &err);
    FUZZ_HOLDS(status == STATUS_OK || (err.code == status && err.text[0] != 0));
    if (status == STATUS_OK)
        preprocess_holds(&preprocess);
    return 0;
}
