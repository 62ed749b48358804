/* See tsne.h. All in double and on one thread: the pairs are few, and the picture is then the same
 * wherever the same program runs. Each pair is visited once; what it does to one point it does to
 * the other with the opposite sign. */
#include "model/learn/tsne.h"
#include "api/base/rng.h"
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BISECTIONS = 64, POWER_STEPS = 50, EXAGGERATED_STEPS = 150 };

static const double EXAGGERATION = 12, RATE_MIN = 50, GAIN_MIN = 0.01;
static const double START_DEVIATION = 1e-4, START_NOISE = 1e-6;

struct tsne_options tsne_defaults(void)
{
    return (struct tsne_options){.perplexity = 30, .steps = 600, .seed = 1};
}

double tsne_perplexity(double wanted, int n)
{
    double most = (n - 1) / 3.0;
    return fmax(1, fmin(wanted, most));
}

/* ---- affinities ---- */

/* d: (n,n), squared distances; x: (n,C) */
static void distances(const float *x, int n, int C, double *d)
{
    for (int i = 0; i < n; i++) {
        const float *a = x + (size_t)i * (size_t)C;
        d[(size_t)i * (size_t)n + (size_t)i] = 0;
        for (int j = 0; j < i; j++) {
            const float *b = x + (size_t)j * (size_t)C;
            double sum = 0;
            for (int c = 0; c < C; c++) {
                double apart = (double)a[c] - (double)b[c];
                sum += apart * apart;
            }
            d[(size_t)i * (size_t)n + (size_t)j] = d[(size_t)j * (size_t)n + (size_t)i] = sum;
        }
    }
}

/* The nearest other point's distance, and the mean of the others' beyond it. */
static void row_scale(const double *d, int n, int i, double *nearest, double *mean)
{
    double sum = 0;
    *nearest = DBL_MAX;
    for (int j = 0; j < n; j++)
        if (j != i)
            *nearest = fmin(*nearest, d[j]);
    for (int j = 0; j < n; j++)
        if (j != i)
            sum += d[j] - *nearest;
    *mean = sum / (n - 1);
}

/* p: (n), the row's Gaussian of precision beta; returns its entropy in nats. The nearest point
 * counts as 1, so the sum is never less. */
static double row_gaussian(const double *d, int n, int i, double nearest, double beta, double *p)
{
    double sum = 0, energy = 0;
    for (int j = 0; j < n; j++) {
        double apart = beta * (d[j] - nearest);
        p[j] = j == i ? 0 : exp(-apart);
        sum += p[j];
        energy += j == i ? 0 : p[j] * apart;
    }
    for (int j = 0; j < n; j++)
        p[j] /= sum;
    return log(sum) + energy / sum;
}

/* The entropy falls as beta grows, so bisection finds the width; equal neighbours may not let it
 * come as low as is wanted, and then the narrowest stands. */
static void row_calibrate(const double *d, int n, int i, double entropy, double *p)
{
    double nearest, mean, low = 0, high = 0, beta = 1;
    row_scale(d, n, i, &nearest, &mean);
    double unit = mean > 0 ? 1 / mean : 1;
    for (int k = 0; k < BISECTIONS; k++) {
        if (row_gaussian(d, n, i, nearest, beta * unit, p) > entropy) {
            low = beta;
            beta = high > 0 ? (low + high) / 2 : beta * 2;
        } else {
            high = beta;
            beta = (low + high) / 2;
        }
    }
}

static bool all_finite(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

enum status tsne_affinities(const float *x, int n, int C, double perplexity, double *p,
                            struct err *err)
{
    size_t N = (size_t)n;
    double *d = malloc(N * N * sizeof *d);
    if (!d)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the distances of %d points", n);
    distances(x, n, C, d);
    for (int i = 0; i < n; i++)
        row_calibrate(d + (size_t)i * N, n, i, log(perplexity), p + (size_t)i * N);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < i; j++)
            p[i * N + j] = p[j * N + i] = (p[i * N + j] + p[j * N + i]) / (2 * n);
    free(d);
    return STATUS_OK;
}

/* ---- the cost and its gradient ---- */

/* w: (n,n), its lower half: 1 / (1 + |y_i - y_j|^2); returns their sum over both halves. */
static double student(const double *y, int n, double *w)
{
    double sum = 0;
    for (int i = 1; i < n; i++) {
        double *row = w + (size_t)i * (size_t)n;
        for (int j = 0; j < i; j++) {
            double dx = y[2 * i] - y[2 * j], dy = y[2 * i + 1] - y[2 * j + 1];
            row[j] = 1 / (1 + dx * dx + dy * dy);
        }
        for (int j = 0; j < i; j++)
            sum += row[j];
    }
    return 2 * sum;
}

double tsne_divergence(const double *p, const double *y, int n)
{
    double sum = 0, cost = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 1; i < n; i++)
            for (int j = 0; j < i; j++) {
                double dx = y[2 * i] - y[2 * j], dy = y[2 * i + 1] - y[2 * j + 1];
                double w = 1 / (1 + dx * dx + dy * dy);
                double pij = p[(size_t)i * (size_t)n + (size_t)j];
                if (pass == 0)
                    sum += 2 * w;
                else if (pij > 0)
                    cost += 2 * pij * log(pij * sum / w);
            }
    return cost;
}

void tsne_gradient(const double *p, const double *y, int n, double exaggeration, double *work,
                   double *gradient)
{
    double sum = student(y, n, work);
    memset(gradient, 0, 2 * (size_t)n * sizeof *gradient);
    for (int i = 1; i < n; i++) {
        const double *row = p + (size_t)i * (size_t)n, *w = work + (size_t)i * (size_t)n;
        double gx = 0, gy = 0;
        for (int j = 0; j < i; j++) {
            double pull = 4 * (exaggeration * row[j] - w[j] / sum) * w[j];
            double px = pull * (y[2 * i] - y[2 * j]), py = pull * (y[2 * i + 1] - y[2 * j + 1]);
            gx += px;
            gy += py;
            gradient[2 * j] -= px;
            gradient[2 * j + 1] -= py;
        }
        gradient[2 * i] += gx;
        gradient[2 * i + 1] += gy;
    }
}

/* ---- where the points start ---- */

static void channels_mean(const float *x, int n, int C, double *mean)
{
    memset(mean, 0, (size_t)C * sizeof *mean);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < C; c++)
            mean[c] += (double)x[(size_t)i * (size_t)C + (size_t)c] / n;
}

/* score: (n) = (x - mean) v */
static void scores_of(const float *x, int n, int C, const double *mean, const double *v,
                      double *score)
{
    for (int i = 0; i < n; i++) {
        const float *row = x + (size_t)i * (size_t)C;
        score[i] = 0;
        for (int c = 0; c < C; c++)
            score[i] += ((double)row[c] - mean[c]) * v[c];
    }
}

/* v: (C) := (x - mean)' score, without its part along `other` (NULL: none), of length 1, or 0 */
static void direction_of(const float *x, int n, int C, const double *mean, const double *score,
                         const double *other, double *v)
{
    double along = 0, square = 0;
    memset(v, 0, (size_t)C * sizeof *v);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < C; c++)
            v[c] += score[i] * ((double)x[(size_t)i * (size_t)C + (size_t)c] - mean[c]);
    for (int c = 0; c < C && other; c++)
        along += v[c] * other[c];
    for (int c = 0; c < C; c++) {
        v[c] -= other ? along * other[c] : 0;
        square += v[c] * v[c];
    }
    for (int c = 0; c < C; c++)
        v[c] = square > 0 ? v[c] / sqrt(square) : 0;
}

/* Brings a column of y to the start's deviation; a column of zeros stays one. */
static void column_place(const double *score, int n, struct rng *rng, double *y)
{
    double square = 0;
    for (int i = 0; i < n; i++)
        square += score[i] * score[i] / n;
    double scale = square > 0 ? START_DEVIATION / sqrt(square) : 0;
    for (int i = 0; i < n; i++)
        y[2 * i] = score[i] * scale + START_NOISE * (double)rng_normal(rng);
}

/* The two leading principal components by power iteration, and a little noise, by which points that
 * are equal come apart. */
static enum status start_place(const float *x, int n, int C, uint64_t seed, double *y,
                               struct err *err)
{
    struct rng rng;
    double *memory = malloc((3 * (size_t)C + (size_t)n) * sizeof *memory);
    if (!memory)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d channels", C);
    double *mean = memory, *score = memory + 3 * (size_t)C;
    rng_init(&rng, seed, 0);
    channels_mean(x, n, C, mean);
    for (int k = 0; k < 2; k++) {
        double *v = memory + (size_t)(1 + k) * (size_t)C;
        for (int i = 0; i < n; i++)
            score[i] = (double)rng_normal(&rng);
        for (int step = 0; step < POWER_STEPS; step++) {
            direction_of(x, n, C, mean, score, k ? memory + C : NULL, v);
            scores_of(x, n, C, mean, v, score);
        }
        column_place(score, n, &rng, y + k);
    }
    free(memory);
    return STATUS_OK;
}

/* ---- descent ---- */

struct descent {
    double *p, *work;                   /* (n,n) */
    double *gradient, *velocity, *gain; /* (n,2) */
    double rate;
};

static enum status descent_init(struct descent *descent, int n, struct err *err)
{
    size_t N = (size_t)n;
    *descent = (struct descent){.rate = fmax(n / EXAGGERATION, RATE_MIN)};
    descent->p = calloc(2 * N * N + 6 * N, sizeof *descent->p);
    if (!descent->p)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d points", n);
    descent->work = descent->p + N * N;
    descent->gradient = descent->work + N * N;
    descent->velocity = descent->gradient + 2 * N;
    descent->gain = descent->velocity + 2 * N;
    for (size_t i = 0; i < 2 * N; i++)
        descent->gain[i] = 1;
    return STATUS_OK;
}

/* Gradient descent with momentum and a gain a coordinate, which grows while the gradient keeps its
 * sign (R. Jacobs 1988, as in section 3.4). */
static void descent_step(struct descent *d, int n, bool early, double *y)
{
    double momentum = early ? 0.5 : 0.8;
    double mean[2] = {0, 0};
    tsne_gradient(d->p, y, n, early ? EXAGGERATION : 1, d->work, d->gradient);
    for (int i = 0; i < 2 * n; i++) {
        bool turned = (d->gradient[i] > 0) == (d->velocity[i] > 0);
        d->gain[i] = fmax(GAIN_MIN, turned ? d->gain[i] * 0.8 : d->gain[i] + 0.2);
        d->velocity[i] = momentum * d->velocity[i] - d->rate * d->gain[i] * d->gradient[i];
        y[i] += d->velocity[i];
        mean[i % 2] += y[i] / n;
    }
    for (int i = 0; i < 2 * n; i++)
        y[i] -= mean[i % 2];
}

static enum status descend(struct descent *descent, int n, const struct tsne_options *options,
                           double *y, struct err *err)
{
    for (int step = 0; step < options->steps; step++) {
        if (options->cancel && __atomic_load_n(options->cancel, __ATOMIC_RELAXED))
            return err_set(err, STATUS_CANCELLED, "cancelled at step %d of %d", step,
                           options->steps);
        descent_step(descent, n, step < EXAGGERATED_STEPS, y);
    }
    return STATUS_OK;
}

enum status tsne_embed(const float *x, int n, int C, const struct tsne_options *options, double *y,
                       struct err *err)
{
    struct descent descent;
    if (n < 0 || n > TSNE_POINTS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "%d points; t-SNE takes 0 to %d", n, TSNE_POINTS_MAX);
    if (!all_finite(x, (size_t)n * (size_t)C))
        return err_set(err, STATUS_MALFORMED, "a coordinate of a point is not finite");
    if (n < 2) {
        memset(y, 0, 2 * (size_t)n * sizeof *y);
        return STATUS_OK;
    }
    TRY(descent_init(&descent, n, err));
    enum status status =
        tsne_affinities(x, n, C, tsne_perplexity(options->perplexity, n), descent.p, err);
    if (status == STATUS_OK)
        status = start_place(x, n, C, options->seed, y, err);
    if (status == STATUS_OK)
        status = descend(&descent, n, options, y, err);
    free(descent.p);
    return status;
}
