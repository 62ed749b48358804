/* A clone of a model in training: it computes the same, attached parameters included, and shares no
 * memory. Training itself is held against PyTorch in test_mllm_reference.c. */
// links: mllm
#include "tiny_llama.h"

static void attach(struct mllm *m, struct linear *w, const char *name)
{
    char a[64], b[64];
    snprintf(a, sizeof a, "%s.lora_A.weight", name);
    snprintf(b, sizeof b, "%s.lora_B.weight", name);
    w->lora_a = mllm_attach(m, a, 2, (int[]){4, w->weight->dim[1]});
    w->lora_b = mllm_attach(m, b, 2, (int[]){w->weight->dim[0], 4});
    assert_true(w->lora_a && w->lora_b);
    w->lora_scale = 2;
    for (size_t i = 0; i < param_count(w->lora_a); i++)
        w->lora_a->data[i] = .02F * (float)(i % 11);
    for (size_t i = 0; i < param_count(w->lora_b); i++)
        w->lora_b->data[i] = .01F * (float)(i % 7);
}

static void a_clone_keeps_what_was_attached(void **state)
{
    enum { V = 30 };
    static const int32_t ids[] = {1, 7, 22, 3, 19};
    float plain[V], tuned[V], cloned[V];
    struct mllm *m = tiny_llama(V, 3, 10), *copy = NULL;
    (void)state;
    tiny_logits(m, ids, 5, plain);
    attach(m, &m->llama.layer[0].q, "model.layers.0.self_attn.q_proj");
    attach(m, &m->llama.layer[1].v, "model.layers.1.self_attn.v_proj");
    tiny_logits(m, ids, 5, tuned);
    assert_memory_not_equal(plain, tuned, sizeof plain);
    assert_int_equal(mllm_clone(m, &copy, NULL), STATUS_OK);
    assert_int_equal(copy->param_count, m->param_count);
    tiny_logits(copy, ids, 5, cloned);
    assert_memory_equal(tuned, cloned, sizeof tuned);
    copy->llama.layer[0].q.lora_a->data[0] += 1;
    tiny_logits(m, ids, 5, cloned);
    assert_memory_equal(tuned, cloned, sizeof tuned);
    mllm_release(copy);
    mllm_release(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_clone_keeps_what_was_attached)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
