/* Sampling; see sampling.h. Cuts need the likeliest tokens in order: a heap over the vocabulary
 * gives them one at a time, which is cheaper than sorting all of it, as few are taken. */
#include "model/mllm/sampling.h"

#include "model/tensor/ops.h"
#include <math.h>

int32_t sampling_largest(const float *x, int n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

float sampling_normaliser(const float *logits, int V)
{
    int top = sampling_largest(logits, V);
    float max = logits[top];
    double sum = 1; /* the largest itself */
    for (int i = 0; i < V; i++)
        sum += i == top ? 0 : (double)expf(logits[i] - max);
    return max + (float)log(sum);
}

struct token sampling_token(const float *logits, int V, int32_t id)
{
    return (struct token){id, logits[id] - sampling_normaliser(logits, V), entropy_row(logits, V)};
}

/* ---- the heap: heap[0] is the likeliest; of equals, the smaller id ---- */

static bool before(const float *weight, int32_t a, int32_t b)
{
    return weight[a] > weight[b] || (a < b && weight[a] == weight[b]);
}

static void heap_sink(int32_t *heap, int n, const float *weight, int at)
{
    for (int child = 2 * at + 1; child < n; child = 2 * at + 1) {
        child += child + 1 < n && before(weight, heap[child + 1], heap[child]);
        if (!before(weight, heap[child], heap[at]))
            return;
        int32_t down = heap[at];
        heap[at] = heap[child];
        heap[child] = down;
        at = child;
    }
}

static void heap_build(int32_t *heap, int n, const float *weight)
{
    for (int i = 0; i < n; i++)
        heap[i] = i;
    for (int i = n / 2 - 1; i >= 0; i--)
        heap_sink(heap, n, weight, i);
}

/* The likeliest goes behind the n - 1 that stay. */
static int32_t heap_pop(int32_t *heap, int n, const float *weight)
{
    int32_t top = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = top;
    heap_sink(heap, n - 1, weight, 0);
    return top;
}

/* ---- drawing ---- */

/* weight (V): exp((logits - max) / temperature); returns their sum. */
static double weigh(const float *logits, int V, float temperature, float *weight)
{
    float max = logits[sampling_largest(logits, V)];
    double sum = 0;
    for (int i = 0; i < V; i++) {
        weight[i] = expf((logits[i] - max) / temperature);
        sum += (double)weight[i];
    }
    return sum;
}

/* Where a share of the total falls among ids 0 .. n-1, or order[n-1], order[n-2], .. when given. */
static int32_t pick(const float *weight, const int32_t *order, int n, int kept, double at)
{
    int32_t id = 0;
    for (int i = 0; i < kept; i++) {
        id = order ? order[n - 1 - i] : i;
        at -= (double)weight[id];
        if (at < 0)
            break;
    }
    return id;
}

/* The mass of the kept likeliest: the cut by number goes first and rescales what p is a share of.
 */
static double cut(const struct sampling *how, const float *weight, int32_t *order, int V,
                  double total, int *kept)
{
    int most = how->top_k > 0 && how->top_k < V ? how->top_k : V;
    double mass = 0, top = total;
    heap_build(order, V, weight);
    if (most < V) {
        top = 0;
        for (int i = 0; i < most; i++)
            top += (double)weight[heap_pop(order, V - i, weight)];
    }
    double enough = how->top_p > 0 && how->top_p < 1 ? (double)how->top_p * top : HUGE_VAL;
    for (*kept = 0; *kept < most && (*kept == 0 || mass < enough); ++*kept)
        mass +=
            (double)weight[most < V ? order[V - 1 - *kept] : heap_pop(order, V - *kept, weight)];
    return mass;
}

int32_t sampling_draw(const struct sampling *how, const float *logits, int V, struct rng *rng,
                      float *weight, int32_t *order)
{
    bool cuts = (how->top_k > 0 && how->top_k < V) || (how->top_p > 0 && how->top_p < 1);
    int kept = V;
    if (how->temperature <= 0)
        return sampling_largest(logits, V);
    double total = weigh(logits, V, how->temperature, weight);
    if (cuts)
        total = cut(how, weight, order, V, total, &kept);
    double at = (double)(rng_u64(rng) >> 11) * 0x1p-53 * total;
    return pick(weight, cuts ? order : NULL, V, kept, at);
}
