/* Agreement of whole greedy answers, before and after (gate.h). */
#include "model/learn/gate.h"
#include <stdlib.h>
#include <string.h>

static bool agrees(const struct exemplar *e, const struct answer *a, int32_t eos)
{
    const int32_t *label = e->ids + e->prompt_count;
    int n = e->label_count;
    if (n > 0 && label[n - 1] == eos)
        n--;
    return a->count == n && memcmp(a->ids, label, (size_t)n * sizeof *label) == 0;
}

/* One id more than the longest label: what runs on beyond it differs. */
static int answer_length(const struct gate *gate)
{
    int most = 1;
    for (int i = 0; i < gate->count; i++)
        if (gate->items[i]->label_count > most)
            most = gate->items[i]->label_count;
    return most < ANSWER_IDS ? most : ANSWER_IDS;
}

static enum status answers_compare(const struct gate *gate, const struct mllm *student,
                                   struct pool *pool, struct ask *asks, struct answer *answers,
                                   bool *right, struct err *err)
{
    for (int i = 0; i < gate->count; i++)
        asks[i] = (struct ask){.visual = gate->items[i]->visual,
                               .visual_count = gate->items[i]->visual_count,
                               .visual_rest = gate->items[i]->visual_rest,
                               .question = gate->items[i]->question};
    TRY(answer_batch(student, pool, asks, gate->count, answer_length(gate), answers, err));
    for (int i = 0; i < gate->count; i++)
        right[i] = agrees(gate->items[i], &answers[i], student->config.text.eos);
    return STATUS_OK;
}

static enum status measure(const struct gate *gate, const struct mllm *student, struct pool *pool,
                           bool *right, struct err *err)
{
    size_t n = (size_t)gate->count;
    struct ask *asks = calloc(n, sizeof *asks);
    struct answer *answers = calloc(n, sizeof *answers);
    enum status s =
        asks && answers
            ? answers_compare(gate, student, pool, asks, answers, right, err)
            : err_set(err, STATUS_NO_MEMORY, "no memory to gate %d uploads", gate->count);
    free(asks);
    free(answers);
    return s;
}

static float share_of(const bool *right, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += right[i];
    return (float)sum / (float)n;
}

enum status gate_open(struct gate *gate, const struct mllm *student, struct pool *pool,
                      const struct exemplar **items, int n, struct err *err)
{
    *gate = (struct gate){.items = items, .count = n};
    if (n == 0)
        return STATUS_OK;
    gate->right = calloc((size_t)n, sizeof *gate->right);
    if (!gate->right)
        return err_set(err, STATUS_NO_MEMORY, "no memory to gate %d uploads", n);
    TRY(measure(gate, student, pool, gate->right, err));
    gate->before = share_of(gate->right, n);
    return STATUS_OK;
}

/* ---- devices ---- */

struct vote {
    uint64_t device;
    int items, before, after, gained, lost;
};

static int by_device(const void *a, const void *b)
{
    const struct vote *x = a, *y = b;
    return (x->device > y->device) - (x->device < y->device);
}

/* By net change per item, the worst first. */
static int by_change(const void *a, const void *b)
{
    const struct vote *x = a, *y = b;
    int64_t one = (int64_t)(x->lost - x->gained) * y->items;
    int64_t two = (int64_t)(y->lost - y->gained) * x->items;
    if (one != two)
        return one > two ? -1 : 1;
    return by_device(a, b);
}

static void vote_add(struct vote *to, const struct vote *from)
{
    to->device = from->device;
    to->items += from->items;
    to->before += from->before;
    to->after += from->after;
    to->gained += from->gained;
    to->lost += from->lost;
}

/* Every item's vote becomes its device's; returns how many devices there are. */
static int votes_cast(const struct gate *gate, const bool *right, struct vote *votes)
{
    int devices = 0;
    for (int i = 0; i < gate->count; i++)
        votes[i] = (struct vote){.device = gate->items[i]->device,
                                 .items = 1,
                                 .before = gate->right[i],
                                 .after = right[i],
                                 .gained = right[i] && !gate->right[i],
                                 .lost = !right[i] && gate->right[i]};
    qsort(votes, (size_t)gate->count, sizeof *votes, by_device);
    for (int i = 0; i < gate->count; i++) {
        struct vote one = votes[i];
        if (devices == 0 || votes[devices - 1].device != one.device)
            votes[devices++] = (struct vote){0};
        vote_add(&votes[devices - 1], &one);
    }
    return devices;
}

enum status gate_count(struct gate *gate, const bool *right, struct err *err)
{
    struct vote *votes = calloc((size_t)gate->count + 1, sizeof *votes), sum = {0};
    if (!votes)
        return err_set(err, STATUS_NO_MEMORY, "no memory to gate %d uploads", gate->count);
    int devices = votes_cast(gate, right, votes);
    int trim = devices >= GATE_DEVICES ? devices / 8 : 0;
    qsort(votes, (size_t)devices, sizeof *votes, by_change);
    for (int i = trim; i < devices - trim; i++)
        vote_add(&sum, &votes[i]);
    gate->gained = sum.gained;
    gate->lost = sum.lost;
    gate->before = (float)sum.before / (float)sum.items;
    gate->after = (float)sum.after / (float)sum.items;
    free(votes);
    return STATUS_OK;
}

enum status gate_measure(struct gate *gate, const struct mllm *student, struct pool *pool,
                         struct err *err)
{
    if (gate->count == 0)
        return STATUS_OK;
    bool *right = calloc((size_t)gate->count, sizeof *right);
    if (!right)
        return err_set(err, STATUS_NO_MEMORY, "no memory to gate %d uploads", gate->count);
    enum status s = measure(gate, student, pool, right, err);
    if (s == STATUS_OK)
        s = gate_count(gate, right, err);
    free(right);
    return s;
}

bool gate_passed(const struct gate *gate)
{
    int net = gate->lost - gate->gained, changed = gate->lost + gate->gained;
    return net <= 0 || 4 * net * net <= 9 * changed;
}

void gate_close(struct gate *gate)
{
    free(gate->right);
    memset(gate, 0, sizeof *gate);
}
