// links: tool
/* The table of sizes: each has as many parameters as the model it stands for. */
#include "model/tool/shape.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

/* Parameters of the LLaMA part: layers, embedding, head, norms */
static double text_parameters(const struct mllm_config *c)
{
    double C = c->text.hidden, kv = C / c->text.heads * c->text.kv_heads;
    double layer = 2 * C * C + 2 * C * kv + 3 * C * c->text.ffn + 2 * C;
    return c->text.layers * layer + 2.0 * c->text.vocab * C + C;
}

static void test_sizes(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double millions;
    } want[] = {{"llama-5m", 5.27},
                {"llama-110m", 134.1},
                {"llama-1.1b", 1100.0},
                {"llama-7b", 6738.4},
                {"instructblip-vicuna-7b", 6738.4},
                {"instructblip-vicuna-13b", 13015.9}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct mllm_config config;
        assert_int_equal(shape_config(want[i].name, &config, NULL), STATUS_OK);
        double millions = text_parameters(&config) / 1e6;
        assert_true(fabs(millions - want[i].millions) < want[i].millions * 1e-3);
        assert_int_equal(config.multimodal, strncmp(want[i].name, "instruct", 8) == 0);
    }
}

static void test_unknown(void **state)
{
    (void)state;
    struct mllm_config config;
    struct err err = {0};
    assert_int_equal(shape_config("llama-2b", &config, &err), STATUS_USAGE);
    assert_non_null(strstr(err.text, "llama-2b"));
    assert_non_null(strstr(err.text, "llama-110m"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
