/* Holds one op against a plain reference in double precision: its output, and its gradients against
 * central differences of the reference. Then once more for every input frozen by itself: the other
 * gradients must stay what they were, and the frozen one untouched. */
#ifndef CDCCA_OP_CASE_H
#define CDCCA_OP_CASE_H

#include "model/tensor/ops.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CASE_INPUTS = 6, CASE_ELEMENTS = 8192 };

struct op_case {
    const char *name;
    int inputs;
    struct {
        int ndim, dim[TENSOR_DIMS];
        bool param;
    } in[CASE_INPUTS];
    struct tensor (*op)(struct tape *tape, struct tensor *x, struct param *p, const void *ctx);
    void (*reference)(double *y, double *const *x, const void *ctx);
    const void *ctx;
    double tolerance; /* 0: 2e-5 */
};

struct case_state {
    struct arena arena;
    struct tape tape;
    struct param param[CASE_INPUTS];
    size_t count[CASE_INPUTS], total, grad_at[CASE_INPUTS];
    float *values[CASE_INPUTS];  /* the inputs */
    double *exact[CASE_INPUTS];  /* the same for the reference */
    float *grads, *first;        /* of the last run and of the first, flat over all inputs */
    float weight[CASE_ELEMENTS]; /* d loss / d y */
};

static inline void case_init(struct case_state *s, const struct op_case *c)
{
    struct rng rng;
    memset(s, 0, sizeof *s);
    assert_true(arena_init(&s->arena, (size_t)256 << 20));
    rng_init(&rng, 7, 1);
    for (int i = 0; i < c->inputs; i++) {
        size_t count = 1;
        for (int d = 0; d < c->in[i].ndim; d++)
            count *= (size_t)c->in[i].dim[d];
        s->count[i] = count;
        s->grad_at[i] = s->total;
        s->total += count;
        s->values[i] = calloc(count, sizeof(float));
        s->exact[i] = calloc(count, sizeof(double));
        for (size_t j = 0; j < count; j++)
            s->exact[i][j] = (double)(s->values[i][j] = rng_normal(&rng));
    }
    s->grads = calloc(s->total, sizeof(float));
    s->first = calloc(s->total, sizeof(float));
    for (int i = 0; i < CASE_ELEMENTS; i++)
        s->weight[i] = rng_normal(&rng);
}

static inline void case_deinit(struct case_state *s, const struct op_case *c)
{
    for (int i = 0; i < c->inputs; i++) {
        free(s->values[i]);
        free(s->exact[i]);
    }
    free(s->grads);
    free(s->first);
    arena_deinit(&s->arena);
}

/* Runs the op with input `frozen` (-1: none) without gradient; gradients land in s->grads. */
static inline struct tensor case_run(struct case_state *s, const struct op_case *c, int frozen)
{
    struct tensor x[CASE_INPUTS];
    memset(s->grads, 0, s->total * sizeof(float));
    tape_begin(&s->tape, &s->arena, true, s->grads);
    rng_init(&s->tape.rng, 3, 4);
    for (int i = 0; i < c->inputs; i++) {
        s->param[i] = (struct param){.name = c->name, .ndim = c->in[i].ndim, .data = s->values[i]};
        memcpy(s->param[i].dim, c->in[i].dim, sizeof s->param[i].dim);
        s->param[i].grad_at = i == frozen ? -1 : (int64_t)s->grad_at[i];
        x[i] = tensor_view(s->values[i], c->in[i].ndim, c->in[i].dim);
        if (!c->in[i].param && i != frozen)
            x[i].grad = s->grads + s->grad_at[i];
    }
    struct tensor y = c->op(&s->tape, x, s->param, c->ctx);
    struct err err;
    if (tape_check(&s->tape, &err) != STATUS_OK)
        fail_msg("%s: %s", c->name, err.text);
    if (y.grad) {
        memcpy(y.grad, s->weight, tensor_count(y) * sizeof(float));
        tape_backward(&s->tape, y, true);
    }
    assert_int_equal(tape_check(&s->tape, NULL), STATUS_OK);
    return y;
}

static inline void case_near(const struct op_case *c, const char *what, int input, size_t at,
                             double got, double want)
{
    double tolerance = c->tolerance > 0 ? c->tolerance : 2e-5;
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%s: %s %d[%zu] is %.8g, should be %.8g", c->name, what, input, at, got, want);
}

static inline double case_loss(const struct case_state *s, const struct op_case *c, double *y,
                               size_t count)
{
    double loss = 0;
    c->reference(y, s->exact, c->ctx);
    for (size_t i = 0; i < count; i++)
        loss += (double)s->weight[i] * y[i];
    return loss;
}

static inline void case_check_gradients(struct case_state *s, const struct op_case *c, double *y,
                                        size_t count)
{
    const double step = 1e-5;
    for (int i = 0; i < c->inputs; i++)
        for (size_t j = 0; j < s->count[i]; j++) {
            double keep = s->exact[i][j];
            s->exact[i][j] = keep + step;
            double up = case_loss(s, c, y, count);
            s->exact[i][j] = keep - step;
            double down = case_loss(s, c, y, count);
            s->exact[i][j] = keep;
            case_near(c, "gradient of input", i, j, (double)s->grads[s->grad_at[i] + j],
                      (up - down) / (2 * step));
        }
}

static inline void case_check_frozen(struct case_state *s, const struct op_case *c)
{
    memcpy(s->first, s->grads, s->total * sizeof(float));
    for (int frozen = 0; frozen < c->inputs; frozen++) {
        case_run(s, c, frozen);
        for (int i = 0; i < c->inputs; i++)
            for (size_t j = 0; j < s->count[i]; j++) {
                size_t at = s->grad_at[i] + j;
                case_near(c, "with one input frozen, gradient of input", i, j, (double)s->grads[at],
                          i == frozen ? 0 : (double)s->first[at]);
            }
    }
}

static inline void case_check(const struct op_case *c)
{
    static struct case_state s;
    static double want[CASE_ELEMENTS];
    case_init(&s, c);
    struct tensor y = case_run(&s, c, -1);
    size_t count = tensor_count(y);
    assert_in_range(count, 1, CASE_ELEMENTS);
    c->reference(want, s.exact, c->ctx);
    for (size_t i = 0; i < count; i++)
        case_near(c, "output", 0, i, (double)y.data[i], want[i]);
    case_check_gradients(&s, c, want, count);
    case_check_frozen(&s, c);
    case_deinit(&s, c);
}

#endif
