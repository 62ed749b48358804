/* Caption scores (see caption_score.h). Words and n-grams are numbers: one table maps (number of a
 * prefix, next byte or word) to the number of the whole, so that equal n-grams, and only those,
 * have equal numbers. Two passes: the first numbers everything and counts in how many images'
 * references an n-gram stands; the second scores an image at a time, with scratch memory for two
 * captions. */
#include "model/task/caption_score.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ORDERS = CAPTION_ORDERS, TEXT_MAX_BYTES = 1 << 30, FIRST_NODE = 256, FIRST_SLOTS = 1 << 12 };

/* Of the scorer's own: keep empty captions from dividing by zero. */
static const double SMALL = 1e-9, TINY = 1e-15;

struct caption_image {
    size_t text; /* offset of the candidate; the references follow */
    int references;
};

/* ---- numbers for words and n-grams ---- */

struct node {
    uint32_t images; /* whose references have it */
    uint32_t last;   /* 1 + the last of them */
};

/* A node is a prefix of bytes (a word) or of words (an n-gram). Numbers below FIRST_NODE are bytes
 * when they stand for what comes next; node 0 is the empty prefix. */
struct lexicon {
    uint64_t *key;   /* (slots): prefix << 32 | next; 0: free */
    uint32_t *value; /* (slots) */
    struct node *node;
    size_t slots; /* a power of two, at most half full */
    uint32_t count, room;
};

static size_t slot_find(const uint64_t *key, size_t slots, uint64_t wanted)
{
    uint64_t mixed = wanted * 0x9e3779b97f4a7c15ULL;
    size_t at = (size_t)(mixed ^ mixed >> 32) & (slots - 1);
    while (key[at] != 0 && key[at] != wanted)
        at = (at + 1) & (slots - 1);
    return at;
}

static bool slots_grow(struct lexicon *l)
{
    size_t slots = l->slots ? 2 * l->slots : FIRST_SLOTS;
    uint64_t *key = calloc(slots, sizeof *key);
    uint32_t *value = calloc(slots, sizeof *value);
    if (!key || !value) {
        free(key);
        free(value);
        return false;
    }
    for (size_t i = 0; i < l->slots; i++)
        if (l->key[i] != 0) {
            size_t at = slot_find(key, slots, l->key[i]);
            key[at] = l->key[i];
            value[at] = l->value[i];
        }
    free(l->key);
    free(l->value);
    l->key = key;
    l->value = value;
    l->slots = slots;
    return true;
}

static bool nodes_grow(struct lexicon *l)
{
    if (l->count < l->room)
        return true;
    if (l->room > UINT32_MAX / 2)
        return false;
    uint32_t room = l->room ? 2 * l->room : FIRST_SLOTS;
    struct node *node = realloc(l->node, room * sizeof *node);
    if (!node)
        return false;
    memset(node + l->room, 0, (room - l->room) * sizeof *node);
    l->node = node;
    l->room = room;
    return true;
}

/* The number of prefix + next, a new one if need be; 0: no memory. */
static uint32_t lexicon_step(struct lexicon *l, uint32_t prefix, uint32_t next)
{
    uint64_t wanted = (uint64_t)prefix << 32 | next;
    size_t at = slot_find(l->key, l->slots, wanted);
    if (l->key[at] == wanted)
        return l->value[at];
    if (2 * (size_t)(l->count + 1) > l->slots) {
        if (!slots_grow(l))
            return 0;
        at = slot_find(l->key, l->slots, wanted);
    }
    if (!nodes_grow(l))
        return 0;
    l->key[at] = wanted;
    l->value[at] = l->count;
    return l->count++;
}

static bool lexicon_init(struct lexicon *l)
{
    *l = (struct lexicon){.count = FIRST_NODE};
    return slots_grow(l) && nodes_grow(l);
}

static void lexicon_deinit(struct lexicon *l)
{
    free(l->key);
    free(l->value);
    free(l->node);
}

/* ---- a caption as numbers ---- */

struct gram {
    uint32_t id;
    int count;
};

struct cooked {
    int words, grams[ORDERS]; /* different ones, of each order */
    uint32_t word[CAPTION_WORDS];
    struct gram gram[ORDERS][CAPTION_WORDS]; /* (grams), by id */
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool over_long(const char *text)
{
    int words = 0;
    for (; *text && words <= CAPTION_WORDS; text++)
        words += !is_space(*text) && (text[1] == '\0' || is_space(text[1]));
    return words > CAPTION_WORDS;
}

static bool words_number(struct lexicon *l, const char *text, struct cooked *out)
{
    out->words = 0;
    while (out->words < CAPTION_WORDS) {
        uint32_t id = 0;
        while (is_space(*text))
            text++;
        if (*text == '\0')
            break;
        for (; *text && !is_space(*text); text++)
            if ((id = lexicon_step(l, id, (unsigned char)*text)) == 0)
                return false;
        out->word[out->words++] = id;
    }
    return true;
}

static int by_id(const void *a, const void *b)
{
    const struct gram *one = a, *two = b;
    return (one->id > two->id) - (one->id < two->id);
}

/* Equal neighbours of a sorted list become one. */
static int grams_merge(struct gram *gram, int n)
{
    int kept = 0;
    qsort(gram, (size_t)n, sizeof *gram, by_id);
    for (int i = 0; i < n; i++)
        if (kept > 0 && gram[kept - 1].id == gram[i].id)
            gram[kept - 1].count++;
        else
            gram[kept++] = gram[i];
    return kept;
}

static bool caption_cook(struct lexicon *l, const char *text, struct cooked *out)
{
    if (!words_number(l, text, out))
        return false;
    for (int i = 0; i < out->words; i++) {
        uint32_t id = 0;
        for (int k = 0; k < ORDERS && i + k < out->words; k++) {
            if ((id = lexicon_step(l, id, out->word[i + k])) == 0)
                return false;
            out->gram[k][i] = (struct gram){id, 1};
        }
    }
    for (int k = 0; k < ORDERS; k++)
        out->grams[k] = out->words > k ? grams_merge(out->gram[k], out->words - k) : 0;
    return true;
}

static int gram_count(const struct cooked *c, int order, uint32_t id)
{
    const struct gram wanted = {id, 0};
    const struct gram *found =
        bsearch(&wanted, c->gram[order], (size_t)c->grams[order], sizeof wanted, by_id);
    return found ? found->count : 0;
}

/* ---- scores of one image ---- */

struct bleu_counts {
    double correct[ORDERS], guessed[ORDERS], words, reference_words;
};

struct scoring {
    struct lexicon lexicon;
    double log_images;
    struct bleu_counts total;
    struct cooked candidate, reference;
    int best[ORDERS][CAPTION_WORDS]; /* of each gram of the candidate: most often in a reference */
    int lengths[CAPTION_WORDS + 1];  /* a row of the common subsequence's table */
};

static double inverse_frequency(const struct scoring *s, uint32_t id)
{
    uint32_t images = s->lexicon.node[id].images;
    return s->log_images - log(images > 1 ? (double)images : 1.0);
}

static double tfidf_norm(const struct scoring *s, const struct cooked *c, int order)
{
    double sum = 0;
    for (int i = 0; i < c->grams[order]; i++) {
        double weight = c->gram[order][i].count * inverse_frequency(s, c->gram[order][i].id);
        sum += weight * weight;
    }
    return sqrt(sum);
}

/* CIDEr-D against one reference, before the factor of 10. */
static double cider_similarity(const struct scoring *s)
{
    const struct cooked *c = &s->candidate, *r = &s->reference;
    /* lengths are counted in pairs of words */
    double apart = (c->words > 0 ? c->words - 1 : 0) - (r->words > 0 ? r->words - 1 : 0);
    double sum = 0;
    for (int k = 0; k < ORDERS; k++) {
        double dot = 0, norms = tfidf_norm(s, c, k) * tfidf_norm(s, r, k);
        for (int i = 0; i < c->grams[k]; i++) {
            int mine = c->gram[k][i].count, there = gram_count(r, k, c->gram[k][i].id);
            double weight = there ? inverse_frequency(s, c->gram[k][i].id) : 0.0;
            dot += (mine < there ? mine : there) * weight * there * weight;
        }
        sum += norms > 0 ? dot / norms : 0.0;
    }
    return sum / ORDERS * exp(-apart * apart / (2 * 6.0 * 6.0));
}

static int common_subsequence(struct scoring *s)
{
    const struct cooked *c = &s->candidate, *r = &s->reference;
    int *row = s->lengths;
    memset(row, 0, sizeof s->lengths);
    for (int i = 0; i < c->words; i++) {
        int diagonal = 0;
        for (int j = 1; j <= r->words; j++) {
            int above = row[j];
            if (c->word[i] == r->word[j - 1])
                row[j] = diagonal + 1;
            else if (row[j - 1] > above)
                row[j] = row[j - 1];
            diagonal = above;
        }
    }
    return row[r->words];
}

static void best_update(struct scoring *s)
{
    for (int k = 0; k < ORDERS; k++)
        for (int i = 0; i < s->candidate.grams[k]; i++) {
            int there = gram_count(&s->reference, k, s->candidate.gram[k][i].id);
            if (there > s->best[k][i])
                s->best[k][i] = there;
        }
}

static void bleu_count(const struct scoring *s, int closest, struct bleu_counts *out)
{
    const struct cooked *c = &s->candidate;
    *out = (struct bleu_counts){.words = c->words, .reference_words = closest};
    for (int k = 0; k < ORDERS; k++) {
        out->guessed[k] = c->words > k ? c->words - k : 0;
        for (int i = 0; i < c->grams[k]; i++) {
            int count = c->gram[k][i].count;
            out->correct[k] += count < s->best[k][i] ? count : s->best[k][i];
        }
    }
}

static void bleu_fill(const struct bleu_counts *b, double bleu[ORDERS])
{
    double product = 1, ratio = (b->words + TINY) / (b->reference_words + SMALL);
    for (int k = 0; k < ORDERS; k++) {
        product *= (b->correct[k] + TINY) / (b->guessed[k] + SMALL);
        bleu[k] = pow(product, 1.0 / (k + 1)) * (ratio < 1 ? exp(1 - 1 / ratio) : 1.0);
    }
}

static void bleu_add(struct bleu_counts *sum, const struct bleu_counts *b)
{
    for (int k = 0; k < ORDERS; k++) {
        sum->correct[k] += b->correct[k];
        sum->guessed[k] += b->guessed[k];
    }
    sum->words += b->words;
    sum->reference_words += b->reference_words;
}

/* beta 1.2; precision and recall each from the reference that is best for it */
static double rouge_f(double precision, double recall)
{
    const double weight = 1.2 * 1.2;
    if (!(precision > 0) || !(recall > 0))
        return 0;
    return (1 + weight) * precision * recall / (recall + weight * precision);
}

static bool closer(int length, int than, int words)
{
    int one = abs(length - words), two = abs(than - words);
    return one < two || (one == two && length < than);
}

static bool image_score(struct scoring *s, const char *text, int references,
                        struct caption_scores *out)
{
    struct bleu_counts counts;
    double precision = 0, recall = 0;
    int closest = -1;
    *out = (struct caption_scores){0};
    if (!caption_cook(&s->lexicon, text, &s->candidate))
        return false;
    memset(s->best, 0, sizeof s->best);
    for (int i = 0; i < references; i++) {
        text += strlen(text) + 1;
        if (!caption_cook(&s->lexicon, text, &s->reference))
            return false;
        int words = s->reference.words, common = common_subsequence(s);
        best_update(s);
        out->cider += 10 * cider_similarity(s) / references;
        if (closest < 0 || closer(words, closest, s->candidate.words))
            closest = words;
        precision = fmax(precision, common ? (double)common / s->candidate.words : 0);
        recall = fmax(recall, common ? (double)common / words : 0);
    }
    out->rouge_l = rouge_f(precision, recall);
    bleu_count(s, closest, &counts);
    bleu_fill(&counts, out->bleu);
    bleu_add(&s->total, &counts);
    return true;
}

/* ---- the corpus ---- */

static const struct caption_image *image_at(const struct caption_corpus *c, int i)
{
    return (const struct caption_image *)(const void *)c->images.data + i;
}

static const char *text_at(const struct caption_corpus *c, int i)
{
    return (const char *)c->text.data + image_at(c, i)->text;
}

static enum status text_append(struct caption_corpus *c, const char *text, struct err *err)
{
    if (over_long(text))
        return err_set(err, STATUS_TOO_LARGE, "a caption of over %d words: '%.60s...'",
                       CAPTION_WORDS, text);
    enum status status = buf_append(&c->text, text, strlen(text) + 1);
    return status == STATUS_OK ? status : err_set(err, status, "too much text to score at once");
}

enum status caption_corpus_add(struct caption_corpus *c, const char *candidate,
                               const char *const *references, int n, struct err *err)
{
    const struct caption_image image = {c->text.len, n};
    c->text.max = c->images.max = TEXT_MAX_BYTES;
    if (n < 1)
        return err_set(err, STATUS_MALFORMED, "a candidate without references; one is needed");
    enum status status = text_append(c, candidate, err);
    for (int i = 0; i < n && status == STATUS_OK; i++)
        status = text_append(c, references[i], err);
    if (status == STATUS_OK && (status = buf_append(&c->images, &image, sizeof image)) != STATUS_OK)
        err_set(err, status, "too many captions to score at once");
    if (status == STATUS_OK)
        c->count++;
    else
        c->text.len = image.text;
    return status;
}

void caption_corpus_free(struct caption_corpus *c)
{
    buf_free(&c->text);
    buf_free(&c->images);
    c->count = 0;
}

/* In how many images' references each n-gram stands. */
static bool frequencies_count(struct scoring *s, const struct caption_corpus *c)
{
    for (int i = 0; i < c->count; i++) {
        const char *text = text_at(c, i);
        for (int j = 0; j < image_at(c, i)->references; j++) {
            text += strlen(text) + 1;
            if (!caption_cook(&s->lexicon, text, &s->reference))
                return false;
            for (int k = 0; k < ORDERS; k++)
                for (int g = 0; g < s->reference.grams[k]; g++) {
                    struct node *node = &s->lexicon.node[s->reference.gram[k][g].id];
                    node->images += node->last != (uint32_t)i + 1;
                    node->last = (uint32_t)i + 1;
                }
        }
    }
    return true;
}

static bool corpus_score(struct scoring *s, const struct caption_corpus *c,
                         struct caption_scores *total, struct caption_scores *each)
{
    *total = (struct caption_scores){0};
    s->log_images = log((double)c->count);
    if (!lexicon_init(&s->lexicon) || !frequencies_count(s, c))
        return false;
    for (int i = 0; i < c->count; i++) {
        struct caption_scores one;
        if (!image_score(s, text_at(c, i), image_at(c, i)->references, &one))
            return false;
        total->cider += one.cider / c->count;
        total->rouge_l += one.rouge_l / c->count;
        if (each)
            each[i] = one;
    }
    bleu_fill(&s->total, total->bleu);
    return true;
}

enum status caption_score(const struct caption_corpus *c, struct caption_scores *total,
                          struct caption_scores *each, struct err *err)
{
    if (c->count == 0)
        return err_set(err, STATUS_MALFORMED, "no captions to score");
    struct scoring *s = calloc(1, sizeof *s);
    bool scored = s && corpus_score(s, c, total, each);
    if (s)
        lexicon_deinit(&s->lexicon);
    free(s);
    return scored ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory to score captions");
}
