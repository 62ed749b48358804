/* Questions about a scene: one function per kind finds something to ask that has exactly one right
 * answer, fills a template's slots and adds distractors of the answer's own category, drawn as
 * scenes draw their concepts. Objects are referred to by a shape or a colour that occurs once.
 * Yes and no are drawn first and the question made to fit, so that they stay balanced. */
#include "model/task/world_words.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct asking {
    const struct world_scene *scene;
    const struct world_domain *domain;
    struct rng *rng;
    struct world_question *out;
};

struct slots {
    const char *shape, *other, *color, *place;
};

/* ---- words ---- */

static const char *shape_word(int i)
{
    return world_shape_list.word[i];
}
static const char *color_word(int i)
{
    return world_color_list.word[i];
}

static int concept_draw(struct asking *a, const struct world_list *list)
{
    return world_list_draw(list, a->domain->tiers, a->scene->target, a->scene->single, a->rng);
}

/* The question or its answer mentions this concept. */
static const char *mention(struct asking *a, const struct world_list *list, int index)
{
    if (world_list_tier(list, index) == TIER_NEW)
        a->out->new_concept = true;
    return list->word[index];
}

static bool coin(struct asking *a, float share)
{
    return rng_uniform(a->rng) < share;
}
static int below(struct asking *a, int n)
{
    return (int)rng_below(a->rng, (uint32_t)n);
}

/* ---- templates ---- */

static const struct world_template *template_pick(struct asking *a, enum world_form form,
                                                  unsigned tier)
{
    const struct world_template *picked = NULL;
    int seen = 0;
    for (int i = 0; i < world_template_count; i++) {
        const struct world_template *t = &world_templates[i];
        if (t->form == form && t->tier == tier && below(a, ++seen) == 0)
            picked = t;
    }
    return picked;
}

static unsigned template_tier(struct asking *a, enum world_form form)
{
    unsigned tiers = a->domain->tiers;
    bool exist = form == FORM_EXIST || form == FORM_EXIST_COLOR || form == FORM_EXIST_SHAPE;
    if (!a->scene->target || !(tiers & (TIER_SHIFT | TIER_NEW)))
        return TIER_SOURCE;
    if ((tiers & TIER_NEW) && (!(tiers & TIER_SHIFT) || coin(a, exist ? .50f : .10f)))
        return TIER_NEW;
    return TIER_SHIFT;
}

/* Appends a slot's word; "a" before a vowel becomes "an". */
static size_t word_append(char *text, size_t at, const char *word)
{
    bool article =
        at >= 2 && memcmp(text + at - 2, "a ", 2) == 0 && (at == 2 || text[at - 3] == ' ');
    if (article && strchr("aeiou", word[0])) {
        text[at - 1] = 'n';
        text[at++] = ' ';
    }
    size_t length = strlen(word);
    memcpy(text + at, word, length);
    return at + length;
}

static const char *slot_word(struct asking *a, char slot, const struct slots *slots)
{
    static const char *const noun[] = {"shape", "thing", "figure"};
    static const char *const image[] = {"image", "picture", "drawing"};
    switch (slot) {
    case 's':
        return slots->shape;
    case 'r':
        return slots->other;
    case 'c':
        return slots->color;
    case 'p':
        return slots->place;
    case 'n':
        return noun[coin(a, .5f) ? 0 : 1 + below(a, 2)];
    default:
        return image[coin(a, .5f) ? 0 : 1 + below(a, 2)];
    }
}

/* Writes the question; returns whether it is a negated one. */
static bool phrase(struct asking *a, enum world_form form, const struct slots *slots)
{
    const struct world_template *t = template_pick(a, form, template_tier(a, form));
    assert(t); /* the table has every form for every tier that asks it */
    char *text = a->out->text;
    size_t at = 0;
    for (const char *c = t->text; *c; c++) {
        if (*c != '{') {
            text[at++] = *c;
            continue;
        }
        at = word_append(text, at, slot_word(a, c[1], slots));
        c += 2;
    }
    text[at] = '\0';
    if (t->tier == TIER_NEW)
        a->out->new_concept = true;
    return t->negated;
}

/* ---- options ---- */

static void option_add(struct world_question *q, const char *text)
{
    for (int i = 0; i < q->options; i++)
        if (strcmp(q->option[i], text) == 0)
            return;
    if (q->options < WORLD_OPTIONS)
        snprintf(q->option[q->options++], WORLD_TEXT, "%s", text);
}

static void answer_set(struct world_question *q, const char *text)
{
    snprintf(q->answer, sizeof q->answer, "%s", text);
    option_add(q, text);
}

static void options_shuffle(struct asking *a)
{
    struct world_question *q = a->out;
    char swap[WORLD_TEXT];
    for (int i = q->options - 1; i > 0; i--) {
        int j = below(a, i + 1);
        memcpy(swap, q->option[i], WORLD_TEXT);
        memcpy(q->option[i], q->option[j], WORLD_TEXT);
        memcpy(q->option[j], swap, WORLD_TEXT);
    }
    for (int i = 0; i < q->options; i++)
        if (strcmp(q->option[i], q->answer) == 0)
            q->answer_option = i;
}

static void answer_concept(struct asking *a, const struct world_list *list, int index)
{
    answer_set(a->out, mention(a, list, index));
    while (a->out->options < WORLD_OPTIONS)
        option_add(a->out, list->word[concept_draw(a, list)]);
}

static void answer_word(struct asking *a, const char *const *words, int count, int index)
{
    answer_set(a->out, words[index]);
    while (a->out->options < WORLD_OPTIONS)
        option_add(a->out, words[below(a, count)]);
}

static void answer_truth(struct asking *a, bool yes)
{
    static const char *const words[] = {"no", "yes", "maybe", "both"};
    answer_word(a, words, 4, yes);
}

/* ---- referring ---- */

static bool shape_unique(const struct world_scene *scene, int object)
{
    for (int i = 0; i < scene->count; i++)
        if (i != object && scene->object[i].shape == scene->object[object].shape)
            return false;
    return true;
}

static bool color_unique(const struct world_scene *scene, int object)
{
    for (int i = 0; i < scene->count; i++)
        if (i != object && scene->object[i].color == scene->object[object].color)
            return false;
    return true;
}

/* A random object for which `unique` holds, or NULL. */
static const struct world_object *object_pick(struct asking *a,
                                              bool (*unique)(const struct world_scene *, int))
{
    const struct world_object *picked = NULL;
    int seen = 0;
    for (int i = 0; i < a->scene->count; i++)
        if (unique(a->scene, i) && below(a, ++seen) == 0)
            picked = &a->scene->object[i];
    return picked;
}

/* A random ordered pair of objects, each the only one of its shape, for which `fits` holds. */
static bool pair_pick(struct asking *a,
                      bool (*fits)(const struct world_object *, const struct world_object *),
                      const struct world_object **one, const struct world_object **two)
{
    const struct world_scene *s = a->scene;
    int seen = 0;
    for (int i = 0; i < s->count; i++)
        for (int j = 0; j < s->count; j++)
            if (i != j && shape_unique(s, i) && shape_unique(s, j) &&
                fits(&s->object[i], &s->object[j]) && below(a, ++seen) == 0) {
                *one = &s->object[i];
                *two = &s->object[j];
            }
    return seen > 0;
}

/* The cell of the 3x3 grid an object lies in, or -1 near a border between two. */
static int object_place(const struct world_object *o)
{
    int column = 3 * o->x / WORLD_SIZE, row = 3 * o->y / WORLD_SIZE;
    int dx = abs(6 * o->x - WORLD_SIZE * (2 * column + 1)) / 6;
    int dy = abs(6 * o->y - WORLD_SIZE * (2 * row + 1)) / 6;
    bool inside = column >= 0 && column < 3 && row >= 0 && row < 3;
    return inside && dx <= 7 && dy <= 7 ? 3 * row + column : -1;
}

/* ---- kinds: each returns false when the scene has no such question ---- */

/* A scene of one object may speak of "the shape". */
static bool alone(struct asking *a)
{
    return a->scene->target && a->scene->count == 1 && coin(a, .6f);
}

static bool ask_color(struct asking *a)
{
    const struct world_object *o = object_pick(a, shape_unique);
    if (!o)
        return false;
    if (alone(a))
        phrase(a, FORM_COLOR_ONE, &(struct slots){0});
    else
        phrase(a, FORM_COLOR, &(struct slots){.shape = mention(a, &world_shape_list, o->shape)});
    answer_concept(a, &world_color_list, o->color);
    return true;
}

static bool ask_shape(struct asking *a)
{
    const struct world_object *o = object_pick(a, color_unique);
    if (!o)
        return false;
    if (alone(a))
        phrase(a, FORM_SHAPE_ONE, &(struct slots){0});
    else
        phrase(a, FORM_SHAPE, &(struct slots){.color = mention(a, &world_color_list, o->color)});
    answer_concept(a, &world_shape_list, o->shape);
    return true;
}

static bool ask_texture(struct asking *a)
{
    const struct world_object *o = object_pick(a, shape_unique);
    if (!o)
        return false;
    if (alone(a))
        phrase(a, FORM_TEXTURE_ONE, &(struct slots){0});
    else
        phrase(a, FORM_TEXTURE, &(struct slots){.shape = mention(a, &world_shape_list, o->shape)});
    answer_set(a->out, mention(a, &world_texture_list, o->texture));
    /* three textures make no four options: the others of the known tiers are added */
    int known = a->domain->tiers & TIER_NEW ? world_texture_list.count : world_texture_list.shift;
    while (a->out->options < WORLD_OPTIONS)
        option_add(a->out, world_texture_list.word[below(a, known)]);
    return true;
}

static bool ask_count(struct asking *a)
{
    const struct world_scene *s = a->scene;
    int n = s->count;
    if (coin(a, .5f)) {
        phrase(a, FORM_COUNT, &(struct slots){0});
    } else {
        int color = coin(a, .75f) ? s->object[below(a, s->count)].color
                                  : concept_draw(a, &world_color_list);
        n = 0;
        for (int i = 0; i < s->count; i++)
            n += s->object[i].color == color;
        phrase(a, FORM_COUNT_COLOR, &(struct slots){.color = mention(a, &world_color_list, color)});
    }
    answer_word(a, world_number, 5, n);
    return true;
}

/* color or shape -1: any */
static bool present(const struct world_scene *s, int color, int shape)
{
    for (int i = 0; i < s->count; i++)
        if ((color < 0 || s->object[i].color == color) &&
            (shape < 0 || s->object[i].shape == shape))
            return true;
    return false;
}

/* Another value for one property: half the time one that another object of the scene has. */
static void property_change(struct asking *a, int *color, int *shape)
{
    const struct world_object *other = &a->scene->object[below(a, a->scene->count)];
    bool from_scene = coin(a, .5f), recolor = *shape < 0 || (*color >= 0 && coin(a, .5f));
    if (recolor)
        *color = from_scene ? other->color : concept_draw(a, &world_color_list);
    else
        *shape = from_scene ? other->shape : concept_draw(a, &world_shape_list);
}

static bool ask_exist(struct asking *a)
{
    const struct world_object *o = &a->scene->object[below(a, a->scene->count)];
    float u = rng_uniform(a->rng), both = a->scene->single ? .15f : .5f;
    int color = u < both || u > .5f + both / 2.f ? o->color : -1;
    int shape = u < .5f + both / 2.f ? o->shape : -1;
    bool truth = coin(a, .5f);
    for (int attempt = 0; !truth && present(a->scene, color, shape) && attempt < 64; attempt++)
        property_change(a, &color, &shape);
    truth = present(a->scene, color, shape);
    struct slots slots = {.shape = shape < 0 ? NULL : mention(a, &world_shape_list, shape),
                          .color = color < 0 ? NULL : mention(a, &world_color_list, color)};
    bool negated = phrase(a,
                          color < 0   ? FORM_EXIST_SHAPE
                          : shape < 0 ? FORM_EXIST_COLOR
                                      : FORM_EXIST,
                          &slots);
    answer_truth(a, truth != negated);
    return true;
}

static bool direction_clear(const struct world_object *a, const struct world_object *b)
{
    int dx = abs(a->x - b->x), dy = abs(a->y - b->y);
    return abs(dx - dy) >= 9;
}

static bool ask_relation(struct asking *a)
{
    const struct world_object *one = NULL, *two = NULL;
    if (!pair_pick(a, direction_clear, &one, &two) || !one || !two)
        return false;
    int dx = one->x - two->x, dy = one->y - two->y;
    int direction = abs(dx) > abs(dy) ? (dx < 0 ? 0 : 1) : (dy < 0 ? 2 : 3);
    phrase(a, FORM_RELATION,
           &(struct slots){.shape = mention(a, &world_shape_list, one->shape),
                           .other = mention(a, &world_shape_list, two->shape)});
    answer_word(a, world_direction, 4, direction);
    return true;
}

static bool larger_first(const struct world_object *a, const struct world_object *b)
{
    return a->large && !b->large;
}

static bool ask_compare(struct asking *a)
{
    const struct world_object *big = NULL, *small = NULL;
    if (!pair_pick(a, larger_first, &big, &small) || !big || !small)
        return false;
    bool which = coin(a, .4f), grows = coin(a, .5f), big_first = coin(a, .5f);
    const struct world_object *one = big_first ? big : small, *two = big_first ? small : big;
    struct slots slots = {.shape = mention(a, &world_shape_list, one->shape),
                          .other = mention(a, &world_shape_list, two->shape)};
    if (which) {
        phrase(a, grows ? FORM_WHICH_LARGER : FORM_WHICH_SMALLER, &slots);
        answer_set(a->out, shape_word(grows ? big->shape : small->shape));
        option_add(a->out, shape_word(grows ? small->shape : big->shape));
        while (a->out->options < WORLD_OPTIONS)
            option_add(a->out, shape_word(concept_draw(a, &world_shape_list)));
    } else {
        phrase(a, grows ? FORM_LARGER : FORM_SMALLER, &slots);
        answer_truth(a, grows == big_first);
    }
    return true;
}

static void object_name(char out[WORLD_TEXT], int color, int shape)
{
    snprintf(out, WORLD_TEXT, "%s %s", color_word(color), shape_word(shape));
}

static bool ask_object_at(struct asking *a)
{
    const struct world_object *o = &a->scene->object[below(a, a->scene->count)];
    int place = object_place(o);
    char name[WORLD_TEXT];
    if (place < 0)
        return false;
    phrase(a, FORM_OBJECT_AT, &(struct slots){.place = world_place[place]});
    mention(a, &world_color_list, o->color);
    mention(a, &world_shape_list, o->shape);
    object_name(name, o->color, o->shape);
    answer_set(a->out, name);
    for (int i = 0; a->out->options < WORLD_OPTIONS; i++) {
        int color = i % 3 == 0 ? o->color : concept_draw(a, &world_color_list);
        int shape = i % 3 == 1 ? o->shape : concept_draw(a, &world_shape_list);
        object_name(name, color, shape);
        option_add(a->out, name);
    }
    return true;
}

static bool ask_where(struct asking *a)
{
    const struct world_object *o = object_pick(a, shape_unique);
    int place = o ? object_place(o) : -1;
    if (place < 0)
        return false;
    phrase(a, FORM_WHERE, &(struct slots){.shape = mention(a, &world_shape_list, o->shape)});
    answer_word(a, world_place, WORLD_PLACES, place);
    return true;
}

static bool ask_object(struct asking *a)
{
    return coin(a, .35f) ? ask_object_at(a) || ask_where(a) : ask_where(a) || ask_object_at(a);
}

/* ---- captions ---- */

static bool ask_caption(struct asking *a)
{
    char caption[WORLD_REFERENCES][WORLD_CAPTION];
    phrase(a, FORM_CAPTION, &(struct slots){0});
    world_captions(a->scene, caption);
    snprintf(a->out->answer, sizeof a->out->answer, "%s", caption[0]);
    for (int i = 0; i < a->scene->count; i++) {
        mention(a, &world_texture_list, a->scene->object[i].texture);
        mention(a, &world_color_list, a->scene->object[i].color);
        mention(a, &world_shape_list, a->scene->object[i].shape);
    }
    return true;
}

/* ---- the draw ---- */

/* Weights among the questions about scenes of either layout. Many scenes have no relation or
 * comparison to ask; with these weights color, shape : texture, exist, relation : count, compare :
 * object come out near .19 : .12 : .11 : .05. */
static const struct {
    bool (*ask)(struct asking *);
    float grid, single;
} kinds[KINDS] = {
    [KIND_COLOR] = {ask_color, .19f, .24f},     [KIND_SHAPE] = {ask_shape, .19f, .24f},
    [KIND_TEXTURE] = {ask_texture, .12f, .06f}, [KIND_COUNT] = {ask_count, .09f, .02f},
    [KIND_EXIST] = {ask_exist, .10f, .40f},     [KIND_RELATION] = {ask_relation, .19f, 0.f},
    [KIND_COMPARE] = {ask_compare, .22f, 0.f},  [KIND_OBJECT] = {ask_object, .05f, .04f},
    [KIND_CAPTION] = {ask_caption, 0.f, 0.f},
};

static float kind_weight(const struct asking *a, int kind)
{
    return a->scene->single ? kinds[kind].single : kinds[kind].grid;
}

static enum world_kind kind_draw(struct asking *a)
{
    float sum = 0.f;
    for (int k = 0; k < KINDS; k++)
        sum += kind_weight(a, k);
    float u = rng_uniform(a->rng) * sum;
    for (int k = 0; k < KINDS; k++) {
        u -= kind_weight(a, k);
        if (u < 0.f)
            return (enum world_kind)k;
    }
    return KIND_EXIST;
}

void world_ask(const struct world_scene *scene, const struct world_domain *domain, int kind,
               struct rng *rng, struct world_question *out)
{
    struct asking a = {scene, domain, rng, out};
    enum world_kind wanted = kind >= 0 && kind < KINDS ? (enum world_kind)kind : kind_draw(&a);
    for (;;) { /* ends: counting and existence can always be asked */
        memset(out, 0, sizeof *out);
        out->kind = wanted;
        if (kinds[wanted].ask(&a))
            break;
        wanted = kind_draw(&a);
    }
    options_shuffle(&a);
}
