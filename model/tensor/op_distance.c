/* Distances between features, as baselines and options of distillation use them next to the plain
 * squared error (op_loss.c): PKD's Pearson distance, CWD's divergence of channels, and the wavelet
 * term. B batch, Q positions, C channels; R = B*Q rows. The target is constant and borrowed until
 * the backward pass is over. Small tensors: plain loops. */
#include "model/tensor/ops.h"
#include "model/tensor/tape.h"
#include <math.h>
#include <string.h>

struct distance_node {
    struct tape_node node;
    struct tensor x, y;
    float *gradient; /* of the loss with respect to x, kept from the forward pass */
};

static void distance_backward(struct tape_node *node, struct tape *tape)
{
    const struct distance_node *n = (const struct distance_node *)node;
    size_t count = tensor_count(n->x);
    (void)tape;
    for (size_t i = 0; i < count; i++)
        n->x.grad[i] += n->y.grad[0] * n->gradient[i];
}

/* The loss as a tensor, its gradient attached. */
static struct tensor distance_finish(struct tape *tape, struct tensor x, double loss,
                                     float *gradient)
{
    struct tensor y = tape_tensor(tape, x.grad != NULL, 1, (int[]){1});
    if (!tensor_is(y))
        return y;
    y.data[0] = (float)loss;
    struct distance_node *n = tape_record(tape, y, sizeof *n, distance_backward);
    if (n)
        n->x = x, n->y = y, n->gradient = gradient;
    return y;
}

/* A zeroed gradient for x, or NULL (sticky) when the arguments or the memory will not do. */
static float *distance_begin(struct tape *tape, struct tensor x, const float *target, bool ok,
                             const char *op, const char *what)
{
    if (!tape_expect(tape, tensor_is(x) && target && ok, op, what))
        return NULL;
    float *gradient = tape_floats(tape, tensor_count(x));
    if (gradient)
        memset(gradient, 0, tensor_count(x) * sizeof *gradient);
    return gradient;
}

/* ---- PKD ---- */

struct moments {
    double mean, deviation; /* sample deviation */
};

static struct moments channel_moments(const float *x, int R, int C)
{
    double sum = 0, squares = 0;
    for (int r = 0; r < R; r++)
        sum += (double)x[(size_t)r * (size_t)C];
    double mean = sum / R;
    for (int r = 0; r < R; r++) {
        double d = (double)x[(size_t)r * (size_t)C] - mean;
        squares += d * d;
    }
    return (struct moments){mean, sqrt(squares / (R - 1))};
}

/* One channel, x and target pointing at it: adds to the gradient, returns its share of the loss.
 * With u = (x - m)/(s + e): du_i/dx_j = (1[i=j] - 1/R)/(s + e) - u_i (x_j - m)/((R - 1) s (s + e))
 */
static double pearson_channel(const float *x, const float *target, float *gradient, int R, int C)
{
    const double e = 1e-6;
    struct moments a = channel_moments(x, R, C), b = channel_moments(target, R, C);
    double loss = 0, sum = 0, along = 0, scale = 1 / ((double)R * C), sd = a.deviation + e;
    for (int r = 0; r < R; r++) {
        size_t at = (size_t)r * (size_t)C;
        double u = ((double)x[at] - a.mean) / sd;
        double d = u - ((double)target[at] - b.mean) / (b.deviation + e);
        loss += 0.5 * scale * d * d;
        sum += scale * d;
        along += scale * d * u;
    }
    for (int r = 0; r < R; r++) {
        size_t at = (size_t)r * (size_t)C;
        double c = (double)x[at] - a.mean;
        double d = c / sd - ((double)target[at] - b.mean) / (b.deviation + e);
        double bend = a.deviation > 0 ? along * c / ((R - 1) * a.deviation * sd) : 0;
        gradient[at] = (float)((scale * d - sum / R) / sd - bend);
    }
    return loss;
}

struct tensor op_pearson(struct tape *tape, struct tensor x, const float *target)
{
    int R = tensor_rows(x), C = tensor_cols(x);
    float *gradient =
        distance_begin(tape, x, target, R > 1, "pearson", "two rows or more, and a target");
    double loss = 0;
    if (!gradient)
        return (struct tensor){0};
    for (int c = 0; c < C; c++)
        loss += pearson_channel(x.data + c, target + c, gradient + c, R, C);
    return distance_finish(tape, x, loss, gradient);
}

/* ---- CWD ---- */

/* log of the sum over positions of exp(x / T) */
static double channel_normaliser(const float *x, int Q, int C, double T)
{
    double max = (double)x[0], sum = 0;
    for (int q = 1; q < Q; q++)
        max = fmax(max, (double)x[(size_t)q * (size_t)C]);
    for (int q = 0; q < Q; q++)
        sum += exp(((double)x[(size_t)q * (size_t)C] - max) / T);
    return max / T + log(sum);
}

/* KL(target || x) of one channel of one image; gradient: p_x - p_target, times factor */
static double channel_kl(const float *x, const float *target, float *gradient, int Q, int C,
                         double T, double factor)
{
    double zx = channel_normaliser(x, Q, C, T), zt = channel_normaliser(target, Q, C, T), kl = 0;
    for (int q = 0; q < Q; q++) {
        size_t at = (size_t)q * (size_t)C;
        double lx = (double)x[at] / T - zx, lt = (double)target[at] / T - zt;
        kl += exp(lt) * (lt - lx);
        gradient[at] = (float)(factor * (exp(lx) - exp(lt)));
    }
    return kl;
}

struct tensor op_channel_kl(struct tape *tape, struct tensor x, const float *target,
                            float temperature)
{
    double T = (double)temperature, loss = 0;
    float *gradient = distance_begin(tape, x, target, x.ndim == 3 && temperature > 0, "channel_kl",
                                     "(B,Q,C), a target and a temperature above 0");
    if (!gradient)
        return (struct tensor){0};
    int B = x.dim[0], Q = x.dim[1], C = x.dim[2];
    for (int b = 0; b < B; b++)
        for (int c = 0; c < C; c++) {
            size_t at = (size_t)b * (size_t)Q * (size_t)C + (size_t)c;
            loss +=
                channel_kl(x.data + at, target + at, gradient + at, Q, C, T, T / ((double)B * C));
        }
    return distance_finish(tape, x, loss * T * T / ((double)B * C), gradient);
}

/* ---- wavelet ---- */

enum { TAPS = 12, LEVELS = 3, POSITIONS_MAX = 512 };

/* Daubechies' filter with six vanishing moments (Ten Lectures on Wavelets, 1992, table 6.1), the
 * low pass of a decomposition; the high pass is its mirror, (-1)^(k+1) low[TAPS - 1 - k]. */
static const double DB6[TAPS] = {-0.00107730108499558,  0.004777257511010651, 0.0005538422009938016,
                                 -0.031582039318031156, 0.02752286553001629,  0.09750160558707936,
                                 -0.12976686756709563,  -0.22626469396516913, 0.3152503517092432,
                                 0.7511339080215775,    0.4946238903983854,   0.11154074335008017};

static int band_length(int n)
{
    return (n + TAPS - 1) / 2;
}

/* low, high (band_length(n)): filtered and halved, zero beyond the ends. */
static void analyse(const double *x, int n, double *low, double *high)
{
    for (int i = 0; i < band_length(n); i++) {
        low[i] = high[i] = 0;
        for (int k = 0; k < TAPS; k++) {
            int at = 2 * i + 1 - k;
            if (at < 0 || at >= n)
                continue;
            low[i] += DB6[k] * x[at];
            high[i] += (k % 2 ? 1 : -1) * DB6[TAPS - 1 - k] * x[at];
        }
    }
}

/* The transpose of analyse: dx += low^T dlow + high^T dhigh */
static void analyse_back(double *dx, int n, const double *dlow, const double *dhigh)
{
    for (int i = 0; i < band_length(n); i++)
        for (int k = 0; k < TAPS; k++) {
            int at = 2 * i + 1 - k;
            if (at >= 0 && at < n)
                dx[at] += DB6[k] * dlow[i] + (k % 2 ? 1 : -1) * DB6[TAPS - 1 - k] * dhigh[i];
        }
}

/* Sum over levels from this one on of mean |high band| of d (n), each weighted; gradient in dd. */
static double bands(const double *d, int n, int levels, double weight, double *dd)
{
    double low[POSITIONS_MAX] = {0}, high[POSITIONS_MAX] = {0}, dlow[POSITIONS_MAX] = {0};
    double loss = 0;
    if (levels == 0)
        return 0;
    int m = band_length(n);
    analyse(d, n, low, high);
    loss += bands(low, m, levels - 1, weight, dlow);
    for (int i = 0; i < m; i++) {
        loss += weight * fabs(high[i]) / m;
        high[i] = weight * (high[i] > 0 ? 1 : high[i] < 0 ? -1 : 0) / m;
    }
    analyse_back(dd, n, dlow, high);
    return loss;
}

struct tensor op_wavelet(struct tape *tape, struct tensor x, const float *target)
{
    double d[POSITIONS_MAX], dd[POSITIONS_MAX], loss = 0;
    float *gradient =
        distance_begin(tape, x, target, x.ndim == 3 && x.dim[1] <= POSITIONS_MAX - TAPS, "wavelet",
                       "(B,Q,C) of at most 500 positions, and a target");
    if (!gradient)
        return (struct tensor){0};
    int B = x.dim[0], Q = x.dim[1], C = x.dim[2];
    for (int b = 0; b < B; b++)
        for (int c = 0; c < C; c++) {
            size_t at = (size_t)b * (size_t)Q * (size_t)C + (size_t)c;
            for (int q = 0; q < Q; q++) {
                size_t i = at + (size_t)q * (size_t)C;
                d[q] = (double)x.data[i] - (double)target[i];
                dd[q] = 0;
            }
            loss += bands(d, Q, LEVELS, 1 / ((double)B * C), dd);
            for (int q = 0; q < Q; q++)
                gradient[at + (size_t)q * (size_t)C] = (float)dd[q];
        }
    return distance_finish(tape, x, loss, gradient);
}
