/* See screen.h. All of it depends on the uploads and the teacher alone, not on the student or the
 * round's seed: uploads that come back after a restart are screened to the same end. */
#include "model/learn/screen.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AGREED_SHARE = 5 /* one of so many devices has to agree */ };
static const float SCREEN_MARGIN = 2, INCOHERENT = 1.0f / 3;

/* ---- who sent how much ---- */

/* One thing a device sent; key: random, to draw by. */
struct sent {
    uint64_t device, key;
    int index;
};

static int sent_compare(const void *a, const void *b)
{
    const struct sent *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->index - y->index;
}

static int int_compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static enum status sent_allocate(int n, struct sent **out, struct err *err)
{
    *out = calloc((size_t)n + 1, sizeof **out);
    return *out ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory to screen %d uploads", n);
}

static void sent_note(struct sent *sent, uint64_t device, int index, int number)
{
    struct rng rng;
    rng_init(&rng, device, (uint64_t)number);
    *sent = (struct sent){.device = device, .key = rng_u64(&rng), .index = index};
}

/* Of n sorted: how many each device sent, in counts (n); returns the number of devices. */
static int sent_count(const struct sent *sent, int n, int *counts)
{
    int devices = 0;
    for (int i = 0; i < n; i++) {
        if (i == 0 || sent[i].device != sent[i - 1].device)
            counts[devices++] = 0;
        counts[devices - 1]++;
    }
    return devices;
}

/* Twice the median device's, at least `least`. */
static int share_of(int *counts, int devices, int least)
{
    if (devices == 0)
        return least;
    qsort(counts, (size_t)devices, sizeof *counts, int_compare);
    int twice = counts[(devices - 1) / 2] + counts[devices / 2];
    return twice > least ? twice : least;
}

/* Sorts, and moves those within their device's share to the front; returns how many they are. */
static enum status sent_limit(struct sent *sent, int n, int least, int *within, struct err *err)
{
    int *counts = calloc((size_t)n + 1, sizeof *counts), run = 0;
    if (!counts)
        return err_set(err, STATUS_NO_MEMORY, "no memory to screen %d uploads", n);
    qsort(sent, (size_t)n, sizeof *sent, sent_compare);
    int share = share_of(counts, sent_count(sent, n, counts), least);
    *within = 0;
    for (int i = 0; i < n; i++) {
        run = i > 0 && sent[i].device == sent[i - 1].device ? run + 1 : 1;
        if (run <= share)
            sent[(*within)++] = sent[i];
    }
    free(counts);
    return STATUS_OK;
}

enum status screen_devices(const struct distill_instance *instances, int n, int *devices,
                           struct err *err)
{
    struct sent *sent;
    TRY(sent_allocate(n, &sent, err));
    for (int i = 0; i < n; i++)
        sent[i].device = instances[i].device;
    qsort(sent, (size_t)n, sizeof *sent, sent_compare);
    *devices = n > 0;
    for (int i = 1; i < n; i++)
        *devices += sent[i].device != sent[i - 1].device;
    free(sent);
    return STATUS_OK;
}

/* Sets out for what is beyond its device's share. */
static enum status share_mark(const struct distill_instance *instances, int n, bool *out,
                              struct err *err)
{
    struct sent *sent;
    int within = 0;
    TRY(sent_allocate(n, &sent, err));
    for (int i = 0; i < n; i++) {
        sent_note(&sent[i], instances[i].device, i, i);
        out[i] = true;
    }
    enum status s = sent_limit(sent, n, SCREEN_UPLOADS, &within, err);
    for (int i = 0; s == STATUS_OK && i < within; i++)
        out[sent[i].index] = false;
    free(sent);
    return s;
}

/* ---- what the tokens are like ---- */

float screen_coherence(const struct distill_instance *instance, int width)
{
    double common = 0, all = 0;
    for (int c = 0; c < width; c++) {
        double sum = 0;
        for (int t = 0; t < instance->count; t++) {
            double x = (double)instance->visual[(size_t)t * (size_t)width + (size_t)c];
            sum += x;
            all += x * x;
        }
        common += sum * sum;
    }
    double share = all > 0 ? common / (all * instance->count) : 1;
    return isfinite(share) ? (float)share : 1;
}

static int float_compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Sets out for the incoherent among them too; those are counted as strange, the rest as over their
 * share. */
static enum status strange_mark(const struct distill_instance *instances, int n, int width,
                                bool *out, struct distill_left_out *counts, struct err *err)
{
    float *coherence = calloc(2 * (size_t)n + 2, sizeof *coherence);
    if (!coherence)
        return err_set(err, STATUS_NO_MEMORY, "no memory to screen %d uploads", n);
    float *sorted = coherence + n;
    for (int i = 0; i < n; i++)
        sorted[i] = coherence[i] = screen_coherence(&instances[i], width);
    qsort(sorted, (size_t)n, sizeof *sorted, float_compare);
    for (int i = 0; i < n; i++) {
        bool strange = coherence[i] < INCOHERENT * sorted[n / 2];
        counts->strange += strange;
        counts->over_share += out[i] && !strange;
        out[i] = out[i] || strange;
    }
    free(coherence);
    return STATUS_OK;
}

enum status screen_uploads(const struct distill_instance *instances, int n, int width, bool *out,
                           struct distill_left_out *counts, struct err *err)
{
    TRY(share_mark(instances, n, out, err));
    return strange_mark(instances, n, width, out, counts, err);
}

/* ---- corrections ---- */

/* What the teacher makes of a correction. */
struct doubt {
    float margin;  /* nats that it is behind the teacher's own words, place by place */
    int32_t other; /* those words' first that differs, -1: none does */
};

static int32_t likeliest(const float *logits, int vocab)
{
    int32_t best = 0;
    for (int32_t v = 1; v < vocab; v++)
        if (logits[v] > logits[best])
            best = v;
    return best;
}

static struct doubt doubt_of(const struct exemplar *e, int vocab)
{
    struct doubt doubt = {.other = -1};
    for (int i = 0; i < e->label_count; i++) {
        const float *logits = e->logits + (size_t)i * (size_t)vocab;
        int32_t label = e->ids[e->prompt_count + i], best = likeliest(logits, vocab);
        doubt.margin += logits[best] - logits[label];
        if (doubt.other < 0 && best != label)
            doubt.other = best;
    }
    return doubt;
}

static bool same_claim(const struct exemplar *a, const struct exemplar *b)
{
    return a->corrected && b->corrected && a->label_count == b->label_count &&
           memcmp(a->ids + a->prompt_count, b->ids + b->prompt_count,
                  (size_t)a->label_count * sizeof *a->ids) == 0 &&
           strcmp(a->question, b->question) == 0;
}

/* Do enough devices say what sent[at] does? sent is sorted by device, doubts go by exemplar. */
static bool agreed(const struct exemplar *item, const struct doubt *doubts, const struct sent *sent,
                   int n, int at, int needed)
{
    int mine = sent[at].index, voices = 0;
    for (int i = 0; i < n && voices < needed; i++) {
        int other = sent[i].index;
        if (doubts[other].other != doubts[mine].other || !same_claim(&item[mine], &item[other]))
            continue;
        voices++;
        while (i + 1 < n && sent[i + 1].device == sent[i].device)
            i++;
    }
    return voices >= needed;
}

/* sent: the corrections within their devices' shares. Marks who is believed. */
static void believe(const struct exemplar *item, const struct doubt *doubts,
                    const struct sent *sent, int n, int devices, bool *believed)
{
    int share = (devices + AGREED_SHARE - 1) / AGREED_SHARE;
    int needed = share > SCREEN_AGREED ? share : SCREEN_AGREED;
    for (int i = 0; i < n; i++)
        believed[sent[i].index] = doubts[sent[i].index].margin <= SCREEN_MARGIN ||
                                  agreed(item, doubts, sent, n, i, needed);
}

static int corrections_find(const struct exemplars *list, int first, struct sent *sent)
{
    int n = 0;
    for (int i = first; i < list->count; i++)
        if (list->item[i].corrected && !list->item[i].crossed) {
            sent_note(&sent[n], list->item[i].device, i, n);
            n++;
        }
    return n;
}

enum status screen_corrections(struct exemplars *list, int first, int devices, int vocab,
                               struct distill_corrections *out, struct err *err)
{
    struct sent *sent = NULL;
    struct doubt *doubts = calloc((size_t)list->count + 1, sizeof *doubts);
    bool *believed = calloc((size_t)list->count + 1, sizeof *believed);
    enum status s = doubts && believed
                        ? sent_allocate(list->count, &sent, err)
                        : err_set(err, STATUS_NO_MEMORY, "no memory to screen corrections");
    int within = 0, n = s == STATUS_OK ? corrections_find(list, first, sent) : 0;
    for (int i = 0; i < n; i++)
        doubts[sent[i].index] = doubt_of(&list->item[sent[i].index], vocab);
    if (s == STATUS_OK)
        s = sent_limit(sent, n, SCREEN_CORRECTIONS, &within, err);
    if (s == STATUS_OK)
        believe(list->item, doubts, sent, within, devices, believed);
    for (int i = first; s == STATUS_OK && i < list->count; i++)
        if (list->item[i].corrected && believed[i])
            out->believed++;
        else if (list->item[i].corrected)
            exemplar_forget(&list->item[i]);
    out->over_share += n - within;
    out->doubted += n - (n - within) - out->believed;
    free(sent);
    free(doubts);
    free(believed);
    return s;
}
