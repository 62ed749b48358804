/* Attention: masks, grouped heads, odd sizes, dropout, decoding with a cache. */
// links: tensor
#include "model/tensor/parallel.h"
#include "op_case.h"

struct shape {
    int B, Tq, Tk, H, KV, D;
    bool causal;
    const int *key_count;
    const uint8_t *key_mask;
    const int *first, *last_weight;
};

static struct attention attention_of(const struct shape *s)
{
    return (struct attention){.heads = s->H,
                              .kv_heads = s->KV,
                              .causal = s->causal,
                              .first = s->first,
                              .key_count = s->key_count,
                              .key_mask = s->key_mask,
                              .last_weight = s->last_weight};
}

static struct tensor attention_op(struct tape *tape, struct tensor *x, struct param *p,
                                  const void *ctx)
{
    struct attention a = attention_of(ctx);
    (void)p;
    return op_attention(tape, x[0], x[1], x[2], &a);
}

static bool key_seen(const struct shape *s, int b, int t, int i)
{
    int first = s->first ? s->first[b] : s->Tk - s->Tq;
    return (!s->causal || i <= first + t) && (!s->key_count || i < s->key_count[b]) &&
           (!s->key_mask || s->key_mask[b * s->Tk + i]);
}

/* p (Tk): the probabilities of query t of head h, sample b */
static void reference_probs(double *p, double *const *x, const struct shape *s, int b, int h, int t)
{
    int kv = h / (s->H / s->KV);
    double sum = 0;
    for (int i = 0; i < s->Tk; i++) {
        double score = 0;
        for (int d = 0; d < s->D; d++)
            score += x[0][((b * s->Tq + t) * s->H + h) * s->D + d] *
                     x[1][((b * s->Tk + i) * s->KV + kv) * s->D + d];
        p[i] = key_seen(s, b, t, i) ? exp(score / sqrt((double)s->D)) : 0;
        if (s->last_weight && i + 1 == (s->key_count ? s->key_count[b] : s->Tk))
            p[i] *= s->last_weight[b];
        sum += p[i];
    }
    for (int i = 0; i < s->Tk && sum > 0; i++)
        p[i] /= sum;
}

static void attention_reference(double *y, double *const *x, const void *ctx)
{
    const struct shape *s = ctx;
    double p[64];
    for (int b = 0; b < s->B; b++)
        for (int t = 0; t < s->Tq; t++)
            for (int h = 0; h < s->H; h++) {
                int kv = h / (s->H / s->KV);
                reference_probs(p, x, s, b, h, t);
                for (int d = 0; d < s->D; d++) {
                    double sum = 0;
                    for (int i = 0; i < s->Tk; i++)
                        sum += p[i] * x[2][((b * s->Tk + i) * s->KV + kv) * s->D + d];
                    y[((b * s->Tq + t) * s->H + h) * s->D + d] = sum;
                }
            }
}

static struct op_case attention_case(const struct shape *s)
{
    return (struct op_case){"attention",
                            3,
                            {{3, {s->B, s->Tq, s->H * s->D}, false},
                             {3, {s->B, s->Tk, s->KV * s->D}, false},
                             {3, {s->B, s->Tk, s->KV * s->D}, false}},
                            attention_op,
                            attention_reference,
                            s,
                            0};
}

static void attention_check(struct shape s)
{
    struct op_case c = attention_case(&s);
    case_check(&c);
}

static void test_plain(void **state)
{
    (void)state;
    attention_check((struct shape){.B = 1, .Tq = 1, .Tk = 1, .H = 1, .KV = 1, .D = 2});
    attention_check((struct shape){.B = 2, .Tq = 5, .Tk = 7, .H = 2, .KV = 2, .D = 3});
    attention_check((struct shape){.B = 1, .Tq = 4, .Tk = 17, .H = 1, .KV = 1, .D = 16});
    attention_check((struct shape){.B = 1, .Tq = 9, .Tk = 33, .H = 2, .KV = 2, .D = 12});
    attention_check((struct shape){.B = 2, .Tq = 2, .Tk = 6, .H = 1, .KV = 1, .D = 33});
}

static void test_grouped_heads(void **state)
{
    (void)state;
    attention_check((struct shape){.B = 2, .Tq = 6, .Tk = 6, .H = 4, .KV = 2, .D = 4});
    attention_check((struct shape){.B = 1, .Tq = 3, .Tk = 5, .H = 3, .KV = 1, .D = 8});
}

static void test_causal(void **state)
{
    (void)state;
    attention_check(
        (struct shape){.B = 1, .Tq = 8, .Tk = 8, .H = 2, .KV = 2, .D = 4, .causal = true});
    attention_check(
        (struct shape){.B = 2, .Tq = 3, .Tk = 9, .H = 2, .KV = 1, .D = 4, .causal = true});
    attention_check(
        (struct shape){.B = 1, .Tq = 1, .Tk = 5, .H = 1, .KV = 1, .D = 8, .causal = true});
}

/* A row that sees no key at all gives zeros and no gradient. */
static void test_masks(void **state)
{
    static const int count[3] = {5, 2, 0};
    static const uint8_t mask[15] = {1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0};
    struct shape s = {.B = 3, .Tq = 4, .Tk = 5, .H = 2, .KV = 1, .D = 4};
    (void)state;
    s.key_count = count;
    attention_check(s);
    s.key_mask = mask;
    attention_check(s);
    s.key_count = NULL;
    s.causal = true;
    attention_check(s);
}

/* Samples that continue caches of different lengths. */
static void test_first_positions(void **state)
{
    static const int first[3] = {0, 4, 2}, count[3] = {3, 7, 5};
    struct shape s = {.B = 3, .Tq = 3, .Tk = 7, .H = 2, .KV = 1, .D = 4, .causal = true};
    (void)state;
    s.first = first;
    attention_check(s);
    s.key_count = count;
    attention_check(s);
    s.Tq = 1;
    attention_check(s);
}

/* A last key of weight n counts as n equal keys, on the way there and back. */
static void test_a_last_key_stands_for_many(void **state)
{
    static const int weight[3] = {53, 1, 7}, count[3] = {6, 3, 1};
    struct shape s = {.B = 3, .Tq = 4, .Tk = 6, .H = 2, .KV = 2, .D = 8, .last_weight = weight};
    (void)state;
    attention_check(s);
    s.key_count = count;
    attention_check(s);
    s.Tq = 1;
    attention_check(s);
}

static void test_probabilities_are_copied_out(void **state)
{
    struct shape s = {.B = 2, .Tq = 3, .Tk = 5, .H = 2, .KV = 1, .D = 4, .causal = true};
    struct op_case c = attention_case(&s);
    struct attention a = attention_of(&s);
    static struct case_state cs;
    float probs[2 * 2 * 3 * 5];
    double want[5];
    (void)state;
    case_init(&cs, &c);
    tape_begin(&cs.tape, &cs.arena, false, NULL);
    a.probs_out = probs;
    op_attention(&cs.tape, tensor_view(cs.values[0], 3, c.in[0].dim),
                 tensor_view(cs.values[1], 3, c.in[1].dim),
                 tensor_view(cs.values[2], 3, c.in[2].dim), &a);
    assert_int_equal(tape_check(&cs.tape, NULL), STATUS_OK);
    for (int row = 0; row < 12; row++) {
        reference_probs(want, cs.exact, &s, row / 6, row / 3 % 2, row % 3);
        for (int i = 0; i < 5; i++)
            case_near(&c, "probability", row, (size_t)i, (double)probs[row * 5 + i], want[i]);
    }
    case_deinit(&cs, &c);
}

/* One query at a time over a growing cache gives what all queries at once give. */
static void test_decoding_equals_the_whole(void **state)
{
    struct shape s = {.B = 1, .Tq = 11, .Tk = 11, .H = 4, .KV = 2, .D = 8, .causal = true};
    struct op_case c = attention_case(&s);
    struct attention a = attention_of(&s);
    static struct case_state cs;
    float whole[11 * 32];
    (void)state;
    case_init(&cs, &c);
    tape_begin(&cs.tape, &cs.arena, false, NULL);
    struct tensor q = tensor_view(cs.values[0], 3, c.in[0].dim);
    struct tensor k = tensor_view(cs.values[1], 3, c.in[1].dim);
    struct tensor v = tensor_view(cs.values[2], 3, c.in[2].dim);
    memcpy(whole, op_attention(&cs.tape, q, k, v, &a).data, sizeof whole);
    for (int t = 0; t < 11; t++) {
        k.dim[1] = v.dim[1] = t + 1;
        struct tensor one = tensor_view(cs.values[0] + t * 32, 3, (int[]){1, 1, 32});
        struct tensor y = op_attention(&cs.tape, one, k, v, &a);
        for (int i = 0; i < 32; i++)
            case_near(&c, "decoded", t, (size_t)i, (double)y.data[i], (double)whole[t * 32 + i]);
    }
    case_deinit(&cs, &c);
}

/* ---- dropout: with the same seed the op is linear in v, so v's gradient can be predicted ---- */

static void test_dropout_is_seeded_and_unbiased(void **state)
{
    enum { T = 64, D = 16 };
    struct shape s = {.B = 4, .Tq = T, .Tk = T, .H = 2, .KV = 2, .D = D};
    struct op_case c = attention_case(&s);
    static struct case_state cs;
    struct attention a = attention_of(&s);
    double sum = 0;
    (void)state;
    case_init(&cs, &c);
    a.dropout = 0.25f;
    for (size_t i = 0; i < cs.count[2]; i++)
        cs.values[2][i] = 1;
    struct tensor x[3], y[2];
    for (int run = 0; run < 2; run++) {
        tape_begin(&cs.tape, &cs.arena, true, cs.grads);
        rng_init(&cs.tape.rng, 5, 6);
        for (int i = 0; i < 3; i++) {
            x[i] = tensor_view(cs.values[i], 3, c.in[i].dim);
            x[i].grad = cs.grads + cs.grad_at[i];
        }
        memset(cs.grads, 0, cs.total * sizeof(float));
        y[run] = op_attention(&cs.tape, x[0], x[1], x[2], &a);
        if (run == 0)
            memcpy(cs.first, y[0].data, tensor_count(y[0]) * sizeof(float));
    }
    assert_memory_equal(cs.first, y[1].data, tensor_count(y[1]) * sizeof(float));
    for (size_t i = 0; i < tensor_count(y[1]); i++) {
        sum += (double)y[1].data[i];
        y[1].grad[i] = 1;
    }
    assert_true(fabs(sum / (double)tensor_count(y[1]) - 1) < 0.01);
    tape_backward(&cs.tape, y[1], true);
    double through_v = 0;
    for (size_t i = 0; i < cs.count[2]; i++)
        through_v += (double)x[2].grad[i]; /* v is all ones: y is their weighted sum */
    assert_true(fabs(through_v - sum) < 1e-4 * sum);
    case_deinit(&cs, &c);
}

/* q's and k's gradients under dropout, by differences of the op itself with the seed held */
static double dropout_loss(struct case_state *cs, const struct op_case *c, float p, bool backward)
{
    const struct shape *s = c->ctx;
    struct attention a = attention_of(s);
    struct tensor x[3];
    double loss = 0;
    a.dropout = p;
    tape_begin(&cs->tape, &cs->arena, true, cs->grads);
    rng_init(&cs->tape.rng, 1, 2);
    for (int i = 0; i < 3; i++) {
        x[i] = tensor_view(cs->values[i], 3, c->in[i].dim);
        x[i].grad = cs->grads + cs->grad_at[i];
    }
    struct tensor y = op_attention(&cs->tape, x[0], x[1], x[2], &a);
    for (size_t i = 0; i < tensor_count(y); i++) {
        loss += (double)cs->weight[i] * (double)y.data[i];
        y.grad[i] = cs->weight[i];
    }
    if (backward)
        tape_backward(&cs->tape, y, true);
    return loss;
}

static void test_dropout_gradients(void **state)
{
    struct shape s = {.B = 1, .Tq = 4, .Tk = 5, .H = 2, .KV = 1, .D = 4, .causal = true};
    struct op_case c = attention_case(&s);
    static struct case_state cs;
    const float step = 1e-2f;
    (void)state;
    c.tolerance = 5e-3;
    case_init(&cs, &c);
    dropout_loss(&cs, &c, 0.4f, true);
    for (int i = 0; i < 3; i++)
        for (size_t j = 0; j < cs.count[i]; j++) {
            float keep = cs.values[i][j];
            cs.values[i][j] = keep + step;
            double up = dropout_loss(&cs, &c, 0.4f, false);
            cs.values[i][j] = keep - step;
            double down = dropout_loss(&cs, &c, 0.4f, false);
            cs.values[i][j] = keep;
            case_near(&c, "gradient of input", i, j, (double)cs.grads[cs.grad_at[i] + j],
                      (up - down) / (2 * (double)step));
        }
    case_deinit(&cs, &c);
}

/* ---- without a way back ---- */

enum { LONG = 300, WIDE = 4 * 24 };

static void values_fill(float *x, size_t n, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed, 0);
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(&rng);
}

/* What is not recorded skips keys that nobody sees and shares the heads among threads. */
static void inference_check(const struct shape *s, struct pool *pool)
{
    static float q[2 * LONG * WIDE], k[2 * LONG * WIDE], v[2 * LONG * WIDE];
    struct attention a = attention_of(s);
    struct arena arena[2];
    struct tape tape[2] = {{.pool = pool}, {.pool = pool}};
    struct tensor y[2];
    values_fill(q, sizeof q / sizeof *q, 1);
    values_fill(k, sizeof k / sizeof *k, 2);
    values_fill(v, sizeof v / sizeof *v, 3);
    for (int i = 0; i < 2; i++) {
        assert_true(arena_init(&arena[i], 64 << 20));
        tape_begin(&tape[i], &arena[i], i == 1, NULL);
        int query[] = {s->B, s->Tq, s->H * s->D}, key[] = {s->B, s->Tk, s->KV * s->D};
        y[i] = op_attention(&tape[i], tensor_view(q, 3, query), tensor_view(k, 3, key),
                            tensor_view(v, 3, key), &a);
        assert_int_equal(tape[i].status, STATUS_OK);
    }
    for (size_t i = 0; i < tensor_count(y[0]); i++)
        assert_float_equal(y[0].data[i], y[1].data[i], 1e-6F);
    arena_deinit(&arena[0]);
    arena_deinit(&arena[1]);
}

static void test_inference_equals_recorded(void **state)
{
    static const int counts[] = {17, 290}, firsts[] = {3, 150};
    static uint8_t mask[2 * LONG];
    static const int queries[] = {1, 2, 3, 128, 130, LONG};
    struct pool *pool = NULL;
    (void)state;
    assert_int_equal(pool_create(3, &pool, NULL), STATUS_OK);
    for (int i = 0; i < 2 * LONG; i++)
        mask[i] = i % 3 != 0;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        struct shape s = {2, queries[i], LONG, 4, 2, 24, true, NULL, NULL, NULL, NULL};
        inference_check(&s, pool);
        s.causal = false, s.key_count = counts;
        inference_check(&s, NULL);
        s.key_mask = mask;
        inference_check(&s, pool);
        s.causal = true, s.first = s.Tq <= 150 ? firsts : NULL;
        inference_check(&s, pool);
    }
    pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_grouped_heads),
        cmocka_unit_test(test_causal),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_first_positions),
        cmocka_unit_test(test_a_last_key_stands_for_many),
        cmocka_unit_test(test_probabilities_are_copied_out),
        cmocka_unit_test(test_decoding_equals_the_whole),
        cmocka_unit_test(test_dropout_is_seeded_and_unbiased),
        cmocka_unit_test(test_dropout_gradients),
        cmocka_unit_test(test_inference_equals_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
