/* Linear maps between feature widths (phi.h): normal equations and a Cholesky factorisation, in
 * double, with a column of ones for the bias. Widths are hundreds, so nothing cleverer is needed.
 */
#include "model/learn/phi.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double RIDGE = 0.01; /* per row */

enum status phi_init(struct phi *phi, int maps, int in, int out, struct err *err)
{
    static const char *const names[2 * EXEMPLAR_FEATURES] = {
        "phi.0.weight", "phi.0.bias", "phi.1.weight", "phi.1.bias", "phi.2.weight", "phi.2.bias"};
    size_t weights = (size_t)in * (size_t)out, each = weights + (size_t)out;
    memset(phi, 0, sizeof *phi);
    phi->memory = calloc((size_t)maps * each, sizeof *phi->memory);
    if (!phi->memory)
        return err_set(err, STATUS_NO_MEMORY, "no memory for maps %d to %d", in, out);
    phi->maps = maps;
    phi->in = in;
    phi->out = out;
    for (int k = 0; k < maps; k++) {
        float *data = phi->memory + (size_t)k * each;
        phi->weight[k] = (struct param){
            .name = names[2 * k], .ndim = 2, .dim = {out, in}, .data = data, .grad_at = -1};
        phi->bias[k] = (struct param){.name = names[2 * k + 1],
                                      .ndim = 1,
                                      .dim = {out},
                                      .data = data + weights,
                                      .grad_at = -1};
        phi->map[k] = (struct linear){.weight = &phi->weight[k], .bias = &phi->bias[k]};
    }
    return STATUS_OK;
}

void phi_deinit(struct phi *phi)
{
    free(phi->memory);
    memset(phi, 0, sizeof *phi);
}

int phi_params(struct phi *phi, struct param **out)
{
    int n = 0;
    for (int k = 0; k < phi->maps; k++) {
        out[n++] = &phi->weight[k];
        out[n++] = &phi->bias[k];
    }
    return n;
}

/* ---- ridge regression ---- */

/* Lower triangle of X'X and all of X'Y, with x's row extended by 1. gram (D,D), cross (D,O). */
static void normal_accumulate(const float *x, const float *y, size_t n, int I, int O, double *gram,
                              double *cross)
{
    size_t D = (size_t)I + 1;
    for (size_t r = 0; r < n; r++) {
        const float *row = x + r * (size_t)I, *target = y + r * (size_t)O;
        for (size_t i = 0; i < D; i++) {
            double xi = i < (size_t)I ? (double)row[i] : 1;
            for (size_t j = 0; j <= i && j < (size_t)I; j++)
                gram[i * D + j] += xi * (double)row[j];
            for (size_t o = 0; o < (size_t)O; o++)
                cross[i * (size_t)O + o] += xi * (double)target[o];
        }
        gram[D * D - 1] += 1;
    }
}

/* In place: lower triangle of A becomes L with A = L L'. False when A is not positive. */
static bool cholesky(double *A, size_t D)
{
    for (size_t i = 0; i < D; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = A[i * D + j];
            for (size_t k = 0; k < j; k++)
                sum -= A[i * D + k] * A[j * D + k];
            if (i == j && !(sum > 0))
                return false;
            A[i * D + j] = i == j ? sqrt(sum) : sum / A[j * D + j];
        }
    }
    return true;
}

/* L L' X = B for all columns at once; B (D,O) becomes X. */
static void cholesky_solve(const double *L, size_t D, double *B, size_t O)
{
    for (size_t i = 0; i < D; i++) {
        for (size_t k = 0; k < i; k++)
            for (size_t o = 0; o < O; o++)
                B[i * O + o] -= L[i * D + k] * B[k * O + o];
        for (size_t o = 0; o < O; o++)
            B[i * O + o] /= L[i * D + i];
    }
    for (size_t i = D; i-- > 0;) {
        for (size_t k = i + 1; k < D; k++)
            for (size_t o = 0; o < O; o++)
                B[i * O + o] -= L[k * D + i] * B[k * O + o];
        for (size_t o = 0; o < O; o++)
            B[i * O + o] /= L[i * D + i];
    }
}

enum status phi_fit(struct phi *phi, int k, const float *x, const float *y, size_t n,
                    struct err *err)
{
    size_t D = (size_t)phi->in + 1, O = (size_t)phi->out;
    double *gram = calloc(D * (D + O), sizeof *gram);
    if (!gram)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a regression of %zu columns", D);
    double *solution = gram + D * D;
    normal_accumulate(x, y, n, phi->in, phi->out, gram, solution);
    for (size_t i = 0; i < D; i++)
        gram[i * D + i] += RIDGE * (double)n;
    bool ok = cholesky(gram, D);
    if (ok) {
        cholesky_solve(gram, D, solution, O);
        for (size_t o = 0; o < O; o++) {
            for (size_t i = 0; i + 1 < D; i++)
                phi->weight[k].data[o * (D - 1) + i] = (float)solution[i * O + o];
            phi->bias[k].data[o] = (float)solution[(D - 1) * O + o];
        }
    }
    free(gram);
    return ok ? STATUS_OK : err_set(err, STATUS_MALFORMED, "features are not finite");
}
