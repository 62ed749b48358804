// The built-in world: reproducible scenes, right answers, tiers that hold, balance, labels.
// links: task
#include "model/task/world.h"
#include "model/task/world_words.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct world_domain domain_of(const char *name)
{
    struct world_domain domain;
    struct err err;
    assert_int_equal(world_domain_parse(name, &domain, &err), STATUS_OK);
    return domain;
}

static void ask_at(const struct world_domain *domain, uint64_t index, int kind,
                   struct world_scene *scene, struct world_question *q)
{
    struct rng rng;
    world_scene_draw(domain, 11, index, scene);
    rng_init(&rng, 12, index);
    world_ask(scene, domain, kind, &rng, q);
}

/* ---- domains ---- */

static void domains_parse_or_say_which_exist(void **state)
{
    (void)state;
    static const char *const names[] = {
        "source", "target", "shift", "dusk",   "night",   "fog",     "blur",           "noise",
        "cast",   "all",    "known", "single", "drift:0", "drift:7", "drift:999999999"};
    static const char *const bad[] = {
        "", "Source", "targets", "drift:", "drift:-1", "drift:1x", "drift:12345678901", "drift: 1"};
    struct world_domain domain;
    struct err err;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        domain = domain_of(names[i]);
        assert_string_equal(domain.name, names[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_not_equal(world_domain_parse(bad[i], &domain, &err), STATUS_OK);
        assert_non_null(strstr(err.text, "world"));
    }
}

static void drift_repeats_after_five_rounds(void **state)
{
    (void)state;
    for (int r = 0; r < 5; r++) {
        char one[24], two[24];
        snprintf(one, sizeof one, "drift:%d", r);
        snprintf(two, sizeof two, "drift:%d", r + 5);
        struct world_domain a = domain_of(one), b = domain_of(two);
        assert_int_equal(a.effects, b.effects);
        assert_true(fabsf(a.source_share - .4f) < 1e-6f);
    }
    assert_int_equal(domain_of("drift:0").effects, EFFECT_DUSK | EFFECT_CAST);
    assert_int_equal(domain_of("drift:3").effects, EFFECT_BLUR | EFFECT_NOISE);
}

/* ---- scenes ---- */

static void scenes_are_a_function_of_domain_seed_and_index(void **state)
{
    (void)state;
    static uint8_t one[64 * 64 * 3], two[64 * 64 * 3];
    struct world_domain domain = domain_of("target");
    struct world_question a, b;
    struct world_scene scene;
    int differing = 0;
    for (uint64_t i = 0; i < 50; i++) {
        ask_at(&domain, i, -1, &scene, &a);
        world_scene_render(&scene, one, NULL);
        world_scene_draw(&domain, 11, i + 1, &scene); /* other work in between changes nothing */
        world_scene_render(&scene, two, NULL);
        differing += memcmp(one, two, sizeof one) != 0;
        ask_at(&domain, i, -1, &scene, &b);
        world_scene_render(&scene, two, NULL);
        assert_memory_equal(one, two, sizeof one);
        assert_memory_equal(&a, &b, sizeof a);
    }
    assert_int_equal(differing, 50);
}

static void source_scenes_are_clean_and_plain(void **state)
{
    (void)state;
    struct world_domain domain = domain_of("source");
    struct world_scene scene;
    for (uint64_t i = 0; i < 500; i++) {
        world_scene_draw(&domain, 3, i, &scene);
        assert_false(scene.target || scene.single);
        assert_int_equal(scene.effect, 0);
        assert_in_range(scene.count, 1, WORLD_OBJECTS);
        for (int k = 0; k < scene.count; k++) {
            assert_true(scene.object[k].shape < world_shape_list.source);
            assert_true(scene.object[k].color < world_color_list.source);
            assert_true(scene.object[k].texture < world_texture_list.source);
        }
    }
}

static void mixes_have_their_shares(void **state)
{
    (void)state;
    struct world_domain all = domain_of("all"), drift = domain_of("drift:2");
    struct world_scene scene;
    int target = 0, single = 0, drift_target = 0, fog = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        world_scene_draw(&all, 5, i, &scene);
        target += scene.target;
        single += scene.single;
        world_scene_draw(&drift, 5, i, &scene);
        drift_target += scene.target;
        fog += scene.effect == EFFECT_FOG;
        assert_true(scene.effect == 0 || scene.effect == EFFECT_FOG);
    }
    assert_in_range(target, 1850, 2150);
    assert_in_range(single, 600, 800); /* 15-20% */
    assert_in_range(drift_target, 2250, 2550);
    assert_in_range(fog, 2000, 2500);
}

static void objects_lie_apart_and_inside(void **state)
{
    (void)state;
    struct world_domain domain = domain_of("target");
    struct world_scene scene;
    for (uint64_t i = 0; i < 1000; i++) {
        world_scene_draw(&domain, 6, i, &scene);
        for (int a = 0; a < scene.count; a++) {
            const struct world_object *o = &scene.object[a];
            assert_in_range(o->x, 2, 62);
            assert_in_range(o->y, 2, 62);
            assert_true(o->large ? o->radius >= 10 : o->radius <= 8);
            for (int b = 0; b < a; b++) {
                int dx = abs(o->x - scene.object[b].x), dy = abs(o->y - scene.object[b].y);
                assert_true(dx >= 17 || dy >= 17);
            }
        }
    }
}

/* The label of the patch an object's body covers most is that object's. */
static void labels_match_the_objects(void **state)
{
    (void)state;
    static uint8_t rgb[64 * 64 * 3], labels[WORLD_PATCHES][4];
    struct world_domain domain = domain_of("target");
    struct world_scene scene;
    int filled = 0, found = 0, objects = 0;
    for (uint64_t i = 0; i < 300; i++) {
        world_scene_draw(&domain, 7, i, &scene);
        world_scene_render(&scene, rgb, labels);
        for (int p = 0; p < WORLD_PATCHES; p++) {
            bool match = labels[p][0] == 0;
            for (int k = 0; k < scene.count; k++) {
                const struct world_object *o = &scene.object[k];
                match |= labels[p][0] == 1 + o->shape && labels[p][1] == 1 + o->color &&
                         labels[p][2] == 1 + o->texture && labels[p][3] == 1 + o->large;
            }
            assert_true(match);
            filled += labels[p][0] != 0;
        }
        for (int k = 0; k < scene.count; k++, objects++)
            for (int p = 0; p < WORLD_PATCHES; p++)
                if (labels[p][0] == 1 + scene.object[k].shape &&
                    labels[p][1] == 1 + scene.object[k].color) {
                    found++;
                    break;
                }
    }
    assert_true(filled > 300 * 4);
    assert_true(found > objects * 97 / 100); /* a tiny one may share its patches out too thinly */
}

/* ---- questions: the answers worked out again from the scene ---- */

static int concept_in(const struct world_list *list, const char *text)
{
    int found = -1;
    for (int i = 0; i < list->count; i++) { /* the longest: "light green" over "green" */
        const char *at = strstr(text, list->word[i]);
        if (at && (found < 0 || strlen(list->word[i]) > strlen(list->word[found])))
            found = i;
    }
    return found;
}

static const struct world_object *by_shape(const struct world_scene *s, int shape)
{
    const struct world_object *found = NULL;
    for (int i = 0; i < s->count; i++)
        if (s->object[i].shape == shape) {
            assert_null(found); /* what a question refers to is unique */
            found = &s->object[i];
        }
    assert_non_null(found);
    return found ? found : &s->object[0];
}

static const struct world_object *by_color(const struct world_scene *s, int color)
{
    const struct world_object *found = NULL;
    for (int i = 0; i < s->count; i++)
        if (s->object[i].color == color) {
            assert_null(found);
            found = &s->object[i];
        }
    assert_non_null(found);
    return found ? found : &s->object[0];
}

/* The two shapes of a comparison in the order of the text. */
static void shapes_of(const char *text, int pair[2])
{
    const char *where[2] = {NULL, NULL};
    for (int i = 0; i < world_shape_list.count; i++) {
        const char *at = strstr(text, world_shape_list.word[i]);
        if (!at)
            continue;
        int slot = where[0] ? 1 : 0;
        assert_null(where[1]);
        where[slot] = at;
        pair[slot] = i;
    }
    assert_non_null(where[1]);
    if (where[0] > where[1]) {
        int swap = pair[0];
        pair[0] = pair[1];
        pair[1] = swap;
    }
}

static bool any_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strstr(text, *words))
            return true;
    return false;
}

static void check_color(const struct world_scene *s, const struct world_question *q)
{
    int shape = concept_in(&world_shape_list, q->text);
    const struct world_object *o = shape < 0 ? &s->object[0] : by_shape(s, shape);
    if (shape < 0)
        assert_int_equal(s->count, 1);
    assert_string_equal(q->answer, world_color_list.word[o->color]);
}

static void check_shape(const struct world_scene *s, const struct world_question *q)
{
    int color = concept_in(&world_color_list, q->text);
    const struct world_object *o = color < 0 ? &s->object[0] : by_color(s, color);
    if (color < 0)
        assert_int_equal(s->count, 1);
    assert_string_equal(q->answer, world_shape_list.word[o->shape]);
}

static void check_texture(const struct world_scene *s, const struct world_question *q)
{
    int shape = concept_in(&world_shape_list, q->text);
    const struct world_object *o = shape < 0 ? &s->object[0] : by_shape(s, shape);
    assert_string_equal(q->answer, world_texture_list.word[o->texture]);
}

static void check_count(const struct world_scene *s, const struct world_question *q)
{
    int color = concept_in(&world_color_list, q->text), n = 0;
    for (int i = 0; i < s->count; i++)
        n += color < 0 || s->object[i].color == color;
    assert_string_equal(q->answer, world_number[n]);
}

static void check_exist(const struct world_scene *s, const struct world_question *q)
{
    static const char *const negations[] = {" not ", " no ", " lack ", " absent ", NULL};
    int color = concept_in(&world_color_list, q->text);
    int shape = concept_in(&world_shape_list, q->text);
    bool there = false;
    assert_true(color >= 0 || shape >= 0);
    for (int i = 0; i < s->count; i++)
        there |= (color < 0 || s->object[i].color == color) &&
                 (shape < 0 || s->object[i].shape == shape);
    assert_string_equal(q->answer, there != any_of(q->text, negations) ? "yes" : "no");
}

static void check_relation(const struct world_scene *s, const struct world_question *q)
{
    static const char *const swapped[] = {"seen from", "from the", "side of", NULL};
    int pair[2];
    shapes_of(q->text, pair);
    bool swap = any_of(q->text, swapped);
    const struct world_object *one = by_shape(s, pair[swap]), *two = by_shape(s, pair[!swap]);
    int dx = one->x - two->x, dy = one->y - two->y;
    assert_true(abs(abs(dx) - abs(dy)) >= 9);
    const char *right =
        abs(dx) > abs(dy) ? (dx < 0 ? "left" : "right") : (dy < 0 ? "above" : "below");
    assert_string_equal(q->answer, right);
}

static void check_compare(const struct world_scene *s, const struct world_question *q)
{
    static const char *const choose[] = {"which", "name the one", "what item", NULL};
    static const char *const smaller[] = {"smaller", "lesser", "is outsized", NULL};
    int pair[2];
    shapes_of(q->text, pair);
    const struct world_object *one = by_shape(s, pair[0]), *two = by_shape(s, pair[1]);
    assert_true(one->large != two->large && abs(one->radius - two->radius) >= 3);
    bool first =
        any_of(q->text, smaller) ? two->large : one->large; /* the first is what is asked */
    if (any_of(q->text, choose))
        assert_string_equal(q->answer, world_shape_list.word[first ? pair[0] : pair[1]]);
    else
        assert_string_equal(q->answer, first ? "yes" : "no");
}

static void check_object(const struct world_scene *s, const struct world_question *q)
{
    static const int third[4] = {0, 21, 43, 64};
    int shape = concept_in(&world_shape_list, q->text), place = -1;
    const char *text = shape < 0 ? q->text : q->answer;
    for (int i = 0; i < WORLD_PLACES; i++) /* "center" is in three longer ones */
        if (strstr(text, world_place[i]) &&
            (place < 0 || strlen(world_place[i]) > strlen(world_place[place])))
            place = i;
    assert_true(place >= 0);
    const struct world_object *o = NULL;
    for (int i = 0; i < s->count; i++)
        if (s->object[i].x >= third[place % 3] && s->object[i].x <= third[place % 3 + 1] &&
            s->object[i].y >= third[place / 3] && s->object[i].y <= third[place / 3 + 1])
            o = &s->object[i];
    assert_non_null(o);
    if (shape >= 0) {
        assert_ptr_equal(o, by_shape(s, shape));
        return;
    }
    char name[WORLD_TEXT];
    snprintf(name, sizeof name, "%s %s", world_color_list.word[o->color],
             world_shape_list.word[o->shape]);
    assert_string_equal(q->answer, name);
}

static void check_caption(const struct world_scene *s, const struct world_question *q)
{
    int mentioned = 1;
    for (const char *at = q->answer; (at = strstr(at, " and ")); at++)
        mentioned++;
    assert_int_equal(mentioned, s->count);
    for (int i = 0; i < s->count; i++) {
        const struct world_object *o = &s->object[i];
        char phrase[WORLD_TEXT];
        snprintf(phrase, sizeof phrase, "a %s %s %s%s%s", o->large ? "large" : "small",
                 world_color_list.word[o->color],
                 o->texture ? world_texture_list.word[o->texture] : "", o->texture ? " " : "",
                 world_shape_list.word[o->shape]);
        assert_non_null(strstr(q->answer, phrase));
    }
}

static void every_answer_follows_from_the_scene(void **state)
{
    (void)state;
    static void (*const check[KINDS])(const struct world_scene *, const struct world_question *) = {
        check_color,    check_shape,   check_texture, check_count,  check_exist,
        check_relation, check_compare, check_object,  check_caption};
    static const char *const names[] = {"source", "target", "known", "single", "all"};
    int asked[KINDS] = {0};
    for (size_t d = 0; d < sizeof names / sizeof names[0]; d++) {
        struct world_domain domain = domain_of(names[d]);
        for (uint64_t i = 0; i < 3000; i++) {
            struct world_scene scene;
            struct world_question q;
            ask_at(&domain, i, (int)(i % KINDS), &scene, &q);
            check[q.kind](&scene, &q);
            asked[q.kind]++;
        }
    }
    for (int k = 0; k < KINDS; k++)
        assert_true(asked[k] > 500);
}

static int occurrences(const char *text, const char *word)
{
    size_t length = strlen(word);
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at += length) {
        char before = at == text ? ' ' : at[-1], behind = at[length];
        n += before == ' ' && (behind == ' ' || behind == ',' || behind == '\0');
    }
    return n;
}

/* "green" stands in "light green", too. */
static int color_count(const struct world_scene *s, const char *color)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += occurrences(world_color_list.word[s->object[i].color], color) > 0;
    return n;
}

static int shape_count(const struct world_scene *s, int shape)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += s->object[i].shape == shape;
    return n;
}

static int texture_count(const struct world_scene *s, int texture)
{
    int n = 0;
    for (int i = 0; i < s->count; i++)
        n += s->object[i].texture == texture;
    return n;
}

static void check_reference(const struct world_scene *s, const char *text)
{
    assert_true(strlen(text) < WORLD_CAPTION - 1);
    for (int k = 0; k < world_shape_list.count; k++)
        assert_int_equal(occurrences(text, world_shape_list.word[k]), shape_count(s, k));
    for (int k = 0; k < world_color_list.count; k++)
        assert_int_equal(occurrences(text, world_color_list.word[k]),
                         color_count(s, world_color_list.word[k]));
    for (int k = TEXTURE_SOLID + 1; k < world_texture_list.count; k++)
        assert_int_equal(occurrences(text, world_texture_list.word[k]), texture_count(s, k));
}

/* Each names every object and nothing else; the first is the caption that models learn. */
static void references_say_the_same_in_other_words(void **state)
{
    (void)state;
    static const char *const names[] = {"source", "target", "single"};
    for (size_t d = 0; d < sizeof names / sizeof names[0]; d++) {
        struct world_domain domain = domain_of(names[d]);
        for (uint64_t i = 0; i < 2000; i++) {
            char text[WORLD_REFERENCES][WORLD_CAPTION];
            struct world_scene scene;
            struct world_question q;
            ask_at(&domain, i, KIND_CAPTION, &scene, &q);
            world_captions(&scene, text);
            assert_string_equal(text[0], q.answer);
            for (int k = 0; k < WORLD_REFERENCES; k++) {
                check_reference(&scene, text[k]);
                for (int j = 0; j < k; j++)
                    assert_string_not_equal(text[j], text[k]);
            }
        }
    }
}

static void the_longest_references_fit(void **state)
{
    (void)state;
    char text[WORLD_REFERENCES][WORLD_CAPTION];
    struct world_scene scene = {.count = WORLD_OBJECTS};
    for (int i = 0; i < WORLD_OBJECTS; i++)
        scene.object[i] = (struct world_object){.shape = SHAPE_RECTANGLE,
                                                .color = world_color_list.count - 1,
                                                .texture = TEXTURE_CHECKERED,
                                                .large = 0,
                                                .x = 10 * i};
    world_captions(&scene, text);
    for (int k = 0; k < WORLD_REFERENCES; k++)
        check_reference(&scene, text[k]);
}

static void options_are_distinct_and_hold_the_answer(void **state)
{
    (void)state;
    struct world_domain domain = domain_of("all");
    int position[WORLD_OPTIONS] = {0};
    for (uint64_t i = 0; i < 4000; i++) {
        struct world_scene scene;
        struct world_question q;
        ask_at(&domain, i, i % 20 == 0 ? KIND_CAPTION : -1, &scene, &q);
        if (q.kind == KIND_CAPTION) {
            assert_int_equal(q.options, 0);
            continue;
        }
        assert_int_equal(q.options, WORLD_OPTIONS);
        assert_string_equal(q.option[q.answer_option], q.answer);
        position[q.answer_option]++;
        for (int a = 0; a < q.options; a++)
            for (int b = 0; b < a; b++)
                assert_string_not_equal(q.option[a], q.option[b]);
    }
    for (int k = 0; k < WORLD_OPTIONS; k++)
        assert_in_range(position[k], 850, 1050);
}

static void questions_are_sentences(void **state)
{
    (void)state;
    struct world_domain domain = domain_of("all");
    for (uint64_t i = 0; i < 4000; i++) {
        struct world_scene scene;
        struct world_question q;
        ask_at(&domain, i, (int)(i % (KINDS + 1)) - 1, &scene, &q);
        size_t n = strlen(q.text);
        assert_in_range(n, 8, WORLD_TEXT - 1);
        assert_true(q.text[n - 1] == '?' || q.text[n - 1] == '.');
        assert_null(strpbrk(q.text, "{}ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
        assert_null(strstr(q.text, "  "));
        assert_null(strstr(q.text, " a orange"));
        assert_null(strstr(q.text, " a arrow"));
    }
}

static void yes_and_no_are_balanced(void **state)
{
    (void)state;
    static const char *const names[] = {"source", "target", "single"};
    for (size_t d = 0; d < sizeof names / sizeof names[0]; d++) {
        struct world_domain domain = domain_of(names[d]);
        int yes[KINDS] = {0}, no[KINDS] = {0};
        for (uint64_t i = 0; i < 6000; i++) {
            struct world_scene scene;
            struct world_question q;
            ask_at(&domain, i, i % 2 ? KIND_EXIST : KIND_COMPARE, &scene, &q);
            yes[q.kind] += strcmp(q.answer, "yes") == 0;
            no[q.kind] += strcmp(q.answer, "no") == 0;
        }
        for (int k = KIND_EXIST; k <= KIND_COMPARE; k++)
            if (yes[k] + no[k] > 500)
                assert_true(abs(yes[k] - no[k]) * 100 < 8 * (yes[k] + no[k]));
    }
}

/* ---- tiers ---- */

/* A word of the new tier: in no concept and no template of the others. */
static void words_of(unsigned tier, char *out, size_t size)
{
    size_t at = (size_t)snprintf(out, size, " ");
    const struct world_list *lists[] = {&world_shape_list, &world_color_list, &world_texture_list};
    for (size_t l = 0; l < 3; l++)
        for (int i = 0; i < lists[l]->count; i++)
            if (world_list_tier(lists[l], i) == tier)
                at += (size_t)snprintf(out + at, size - at, "%s ", lists[l]->word[i]);
    for (int i = 0; i < world_template_count; i++)
        if (world_templates[i].tier == tier)
            at += (size_t)snprintf(out + at, size - at, "%s ", world_templates[i].text);
    assert_true(at < size);
    for (char *c = out; *c; c++)
        if (strchr("?.,:{}", *c))
            *c = ' ';
}

static void new_words_stay_out_of_known(void **state)
{
    (void)state;
    static const char *const new_words[] = {"hexagon", "crescent", "arrow",    "pink",    "teal",
                                            "light",   "framed",   "not",      "no",      "lack",
                                            "absent",  "tint",     "identify", "outline", "weave",
                                            "tally",   "outsize",  "item",     "given"};
    static char old[16384], fresh[16384];
    struct world_domain known = domain_of("known"), shift = domain_of("shift");
    words_of(TIER_SOURCE, old, sizeof old);
    words_of(TIER_SHIFT, old + strlen(old), sizeof old - strlen(old));
    words_of(TIER_NEW, fresh, sizeof fresh);
    for (size_t i = 0; i < sizeof new_words / sizeof new_words[0]; i++) {
        char word[32];
        snprintf(word, sizeof word, " %s ", new_words[i]);
        assert_null(strstr(old, word));
        assert_non_null(strstr(fresh, word));
    }
    for (uint64_t i = 0; i < 6000; i++) {
        struct world_scene scene;
        struct world_question q;
        ask_at(i % 2 ? &known : &shift, i, (int)(i % (KINDS + 1)) - 1, &scene, &q);
        assert_false(q.new_concept);
        for (int k = 0; k < q.options; k++)
            for (size_t w = 0; w < 7; w++)
                assert_null(strstr(q.option[k], new_words[w]));
        for (int k = 0; k < scene.count; k++)
            assert_true(world_list_tier(&world_shape_list, scene.object[k].shape) != TIER_NEW &&
                        world_list_tier(&world_color_list, scene.object[k].color) != TIER_NEW &&
                        world_list_tier(&world_texture_list, scene.object[k].texture) != TIER_NEW);
    }
}

static void new_concept_means_a_new_word(void **state)
{
    (void)state;
    struct world_domain domain = domain_of("target");
    int flagged = 0, five = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        struct world_scene scene;
        struct world_question q;
        ask_at(&domain, i, -1, &scene, &q);
        if (q.kind > KIND_EXIST)
            continue;
        const struct world_list *lists[] = {&world_shape_list, &world_color_list,
                                            &world_texture_list};
        bool mention = false;
        for (size_t l = 0; l < 3; l++)
            for (int k = lists[l]->shift; k < lists[l]->count; k++)
                mention |=
                    strstr(q.text, lists[l]->word[k]) || !strcmp(q.answer, lists[l]->word[k]);
        if (mention)
            assert_true(q.new_concept);
        flagged += q.new_concept;
        five++;
    }
    assert_in_range(flagged * 100 / five, 35, 48);
}

static void source_templates_stay_out_of_the_target(void **state)
{
    (void)state;
    struct world_domain source = domain_of("source"), target = domain_of("target");
    for (uint64_t i = 0; i < 4000; i++) {
        struct world_scene scene;
        struct world_question q;
        ask_at(&target, i, (int)(i % (KINDS + 1)) - 1, &scene, &q);
        assert_null(strstr(q.text, "object"));
        assert_null(strstr(q.text, "relative"));
        ask_at(&source, i, (int)(i % (KINDS + 1)) - 1, &scene, &q);
        assert_null(strstr(q.text, "hue"));
        assert_null(strstr(q.text, "thing"));
        assert_null(strstr(q.text, "tint"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(domains_parse_or_say_which_exist),
        cmocka_unit_test(drift_repeats_after_five_rounds),
        cmocka_unit_test(scenes_are_a_function_of_domain_seed_and_index),
        cmocka_unit_test(source_scenes_are_clean_and_plain),
        cmocka_unit_test(mixes_have_their_shares),
        cmocka_unit_test(objects_lie_apart_and_inside),
        cmocka_unit_test(labels_match_the_objects),
        cmocka_unit_test(every_answer_follows_from_the_scene),
        cmocka_unit_test(references_say_the_same_in_other_words),
        cmocka_unit_test(the_longest_references_fit),
        cmocka_unit_test(options_are_distinct_and_hold_the_answer),
        cmocka_unit_test(questions_are_sentences),
        cmocka_unit_test(yes_and_no_are_balanced),
        cmocka_unit_test(new_words_stay_out_of_known),
        cmocka_unit_test(new_concept_means_a_new_word),
        cmocka_unit_test(source_templates_stay_out_of_the_target),
    };
    return cmocka_run_group_tests_name("world", tests, NULL, NULL);
}
