/* The tables of world_words.h. Words of the new tier, in concepts and in templates, occur in no
 * table row of the other tiers (the test holds it), so a student kept from that tier meets them
 * for the first time after deployment. Negation is such a word family. */
#include "model/task/world_words.h"

static const char *const shapes[] = {"circle",    "square",  "triangle", "cross",
                                     "ring",      "diamond", "star",     "heart",
                                     "rectangle", "hexagon", "crescent", "arrow"};
static const char *const colors[] = {"red",   "green",  "blue",       "yellow", "purple",
                                     "white", "orange", "gray",       "black",  "brown",
                                     "pink",  "teal",   "light green"};
static const char *const textures[] = {"solid", "striped", "dotted", "checkered", "framed"};

const struct world_list world_shape_list = {shapes, 6, 9, 12, .60f, .38f};
const struct world_list world_color_list = {colors, 6, 10, 13, .55f, .38f};
const struct world_list world_texture_list = {textures, 3, 4, 5, .50f, .45f};

const char *const world_number[5] = {"zero", "one", "two", "three", "four"};
const char *const world_direction[4] = {"left", "right", "above", "below"};
const char *const world_place[WORLD_PLACES] = {"top left",    "top center",    "top right",
                                               "center left", "center",        "center right",
                                               "bottom left", "bottom center", "bottom right"};

const float world_color_rgb[][2][3] = {
    {{.88f, .12f, .12f}, {1.f, 0.f, 0.f}},    {{.12f, .68f, .20f}, {0.f, 1.f, 0.f}},
    {{.15f, .28f, .90f}, {0.f, 0.f, 1.f}},    {{.95f, .88f, .15f}, {1.f, 1.f, 0.f}},
    {{.55f, .15f, .70f}, {.50f, 0.f, .50f}},  {{.97f, .97f, .97f}, {1.f, 1.f, 1.f}},
    {{.97f, .52f, .08f}, {1.f, .60f, 0.f}},   {{.44f, .44f, .46f}, {.50f, .50f, .50f}},
    {{.05f, .05f, .06f}, {0.f, 0.f, 0.f}},    {{.46f, .25f, .12f}, {.65f, .17f, .17f}},
    {{.98f, .55f, .75f}, {1.f, .70f, .80f}},  {{.04f, .50f, .48f}, {0.f, .50f, .50f}},
    {{.62f, .95f, .52f}, {.60f, .98f, .60f}},
};

const struct world_template world_templates[] = {
    /* ---- source ---- */
    {FORM_COLOR, TIER_SOURCE, false, "what color is the {s}?"},
    {FORM_COLOR, TIER_SOURCE, false, "which color is the {s}?"},
    {FORM_COLOR, TIER_SOURCE, false, "what is the color of the {s}?"},
    {FORM_SHAPE, TIER_SOURCE, false, "what shape is the {c} object?"},
    {FORM_SHAPE, TIER_SOURCE, false, "which shape is the {c} object?"},
    {FORM_SHAPE, TIER_SOURCE, false, "what is the shape of the {c} object?"},
    {FORM_TEXTURE, TIER_SOURCE, false, "what texture is the {s}?"},
    {FORM_TEXTURE, TIER_SOURCE, false, "which texture does the {s} have?"},
    {FORM_TEXTURE, TIER_SOURCE, false, "what is the texture of the {s}?"},
    {FORM_COUNT, TIER_SOURCE, false, "how many objects are there?"},
    {FORM_COUNT, TIER_SOURCE, false, "what is the number of objects?"},
    {FORM_COUNT_COLOR, TIER_SOURCE, false, "how many {c} objects are there?"},
    {FORM_COUNT_COLOR, TIER_SOURCE, false, "what is the number of {c} objects?"},
    {FORM_EXIST, TIER_SOURCE, false, "is there a {c} {s}?"},
    {FORM_EXIST, TIER_SOURCE, false, "is there any {c} {s}?"},
    {FORM_EXIST_COLOR, TIER_SOURCE, false, "is there a {c} object?"},
    {FORM_EXIST_SHAPE, TIER_SOURCE, false, "is there any {s}?"},
    {FORM_RELATION, TIER_SOURCE, false, "where is the {s} relative to the {r}?"},
    {FORM_RELATION, TIER_SOURCE, false, "where is the {s} compared to the {r}?"},
    {FORM_LARGER, TIER_SOURCE, false, "is the {s} larger than the {r}?"},
    {FORM_LARGER, TIER_SOURCE, false, "is the {s} bigger than the {r}?"},
    {FORM_SMALLER, TIER_SOURCE, false, "is the {s} smaller than the {r}?"},
    {FORM_WHICH_LARGER, TIER_SOURCE, false, "which is larger, the {s} or the {r}?"},
    {FORM_WHICH_SMALLER, TIER_SOURCE, false, "which is smaller, the {s} or the {r}?"},
    {FORM_OBJECT_AT, TIER_SOURCE, false, "what object is at the {p}?"},
    {FORM_OBJECT_AT, TIER_SOURCE, false, "what is at the {p}?"},
    {FORM_WHERE, TIER_SOURCE, false, "where is the {s}?"},
    {FORM_CAPTION, TIER_SOURCE, false, "describe the scene."},

    /* ---- shift ---- */
    {FORM_COLOR, TIER_SHIFT, false, "tell me the hue of the {s}."},
    {FORM_COLOR, TIER_SHIFT, false, "the {s} appears in which hue?"},
    {FORM_COLOR, TIER_SHIFT, false, "name the paint on the {s}."},
    {FORM_COLOR, TIER_SHIFT, false, "which color does the {s} have?"},
    {FORM_COLOR_ONE, TIER_SHIFT, false, "what color is the {n}?"},
    {FORM_COLOR_ONE, TIER_SHIFT, false, "what is the color of the {n}?"},
    {FORM_COLOR_ONE, TIER_SHIFT, false, "which color does the {n} have?"},
    {FORM_COLOR_ONE, TIER_SHIFT, false, "name the color of the {n} in the {i}."},
    {FORM_COLOR_ONE, TIER_SHIFT, false, "in which hue is the {n} painted?"},
    {FORM_SHAPE, TIER_SHIFT, false, "tell me the form of the {c} {n}."},
    {FORM_SHAPE, TIER_SHIFT, false, "the {c} thing has which form?"},
    {FORM_SHAPE, TIER_SHIFT, false, "name the figure painted {c}."},
    {FORM_SHAPE, TIER_SHIFT, false, "what is the {c} {n}?"},
    {FORM_SHAPE_ONE, TIER_SHIFT, false, "what {n} does the {i} show?"},
    {FORM_SHAPE_ONE, TIER_SHIFT, false, "what shape does the {i} contain?"},
    {FORM_SHAPE_ONE, TIER_SHIFT, false, "which {n} is in the {i}?"},
    {FORM_SHAPE_ONE, TIER_SHIFT, false, "what shape can you see?"},
    {FORM_SHAPE_ONE, TIER_SHIFT, false, "which shape is present?"},
    {FORM_SHAPE_ONE, TIER_SHIFT, false, "name the shape in the {i}."},
    {FORM_TEXTURE, TIER_SHIFT, false, "tell me the pattern on the {s}."},
    {FORM_TEXTURE, TIER_SHIFT, false, "the {s} is covered by which pattern?"},
    {FORM_TEXTURE, TIER_SHIFT, false, "name the surface of the {s}."},
    {FORM_TEXTURE_ONE, TIER_SHIFT, false, "what pattern does the {n} have?"},
    {FORM_TEXTURE_ONE, TIER_SHIFT, false, "name the surface of the {n}."},
    {FORM_COUNT, TIER_SHIFT, false, "count all things."},
    {FORM_COUNT, TIER_SHIFT, false, "tell me the total of things."},
    {FORM_COUNT, TIER_SHIFT, false, "how many figures does the {i} show?"},
    {FORM_COUNT_COLOR, TIER_SHIFT, false, "count all {c} things."},
    {FORM_COUNT_COLOR, TIER_SHIFT, false, "tell me the total of {c} things."},
    {FORM_COUNT_COLOR, TIER_SHIFT, false, "how many {c} figures does the {i} show?"},
    {FORM_EXIST, TIER_SHIFT, false, "do you see a {c} {s}?"},
    {FORM_EXIST, TIER_SHIFT, false, "can you find a {c} {s}?"},
    {FORM_EXIST, TIER_SHIFT, false, "does the {i} contain a {c} {s}?"},
    {FORM_EXIST, TIER_SHIFT, false, "is a {c} {s} present?"},
    {FORM_EXIST_COLOR, TIER_SHIFT, false, "do you see a {c} {n}?"},
    {FORM_EXIST_COLOR, TIER_SHIFT, false, "does the {i} contain a {c} {n}?"},
    {FORM_EXIST_COLOR, TIER_SHIFT, false, "is there a {c} {n} in the {i}?"},
    {FORM_EXIST_COLOR, TIER_SHIFT, false, "is there a {c} {n}?"},
    {FORM_EXIST_COLOR, TIER_SHIFT, false, "is a {c} {n} present?"},
    {FORM_EXIST_COLOR, TIER_SHIFT, false, "is any {n} painted {c}?"},
    {FORM_EXIST_SHAPE, TIER_SHIFT, false, "do you see a {s}?"},
    {FORM_EXIST_SHAPE, TIER_SHIFT, false, "does the {i} show a {s}?"},
    {FORM_EXIST_SHAPE, TIER_SHIFT, false, "does the {i} contain a {s}?"},
    {FORM_EXIST_SHAPE, TIER_SHIFT, false, "is there a {s} in the {i}?"},
    {FORM_EXIST_SHAPE, TIER_SHIFT, false, "is there a {s}?"},
    {FORM_EXIST_SHAPE, TIER_SHIFT, false, "is a {s} present?"},
    {FORM_EXIST_SHAPE, TIER_SHIFT, false, "can you find a {s} in the {i}?"},
    {FORM_RELATION, TIER_SHIFT, false, "seen from the {r} in which direction is the {s}?"},
    {FORM_RELATION, TIER_SHIFT, false, "in which direction from the {r} do you find the {s}?"},
    {FORM_LARGER, TIER_SHIFT, false, "does the {s} exceed the {r} in size?"},
    {FORM_LARGER, TIER_SHIFT, false, "would the {s} cover the {r} in size?"},
    {FORM_SMALLER, TIER_SHIFT, false, "does the {r} exceed the {s} in size?"},
    {FORM_WHICH_LARGER, TIER_SHIFT, false, "name the one of greater size: {s} or {r}?"},
    {FORM_WHICH_SMALLER, TIER_SHIFT, false, "name the one of lesser size: {s} or {r}?"},
    {FORM_OBJECT_AT, TIER_SHIFT, false, "name the thing at the {p}."},
    {FORM_OBJECT_AT, TIER_SHIFT, false, "tell me what you see at the {p}."},
    {FORM_WHERE, TIER_SHIFT, false, "tell me the place of the {s}."},
    {FORM_WHERE, TIER_SHIFT, false, "in which part of the {i} is the {s}?"},
    {FORM_CAPTION, TIER_SHIFT, false, "tell me all you see."},
    {FORM_CAPTION, TIER_SHIFT, false, "name all things in the {i}."},

    /* ---- new ---- */
    {FORM_COLOR, TIER_NEW, false, "identify the tint of the {s}."},
    {FORM_COLOR, TIER_NEW, false, "what tint has the {s} been given?"},
    {FORM_COLOR_ONE, TIER_NEW, false, "identify the tint of the item."},
    {FORM_COLOR_ONE, TIER_NEW, false, "what tint has the item been given?"},
    {FORM_SHAPE, TIER_NEW, false, "identify the outline of the {c} item."},
    {FORM_SHAPE, TIER_NEW, false, "what outline has the {c} item been given?"},
    {FORM_SHAPE_ONE, TIER_NEW, false, "identify the outline of the item."},
    {FORM_SHAPE_ONE, TIER_NEW, false, "what outline has the item been given?"},
    {FORM_TEXTURE, TIER_NEW, false, "identify the weave of the {s}."},
    {FORM_TEXTURE, TIER_NEW, false, "what weave has the {s} been given?"},
    {FORM_TEXTURE_ONE, TIER_NEW, false, "identify the weave of the item."},
    {FORM_COUNT, TIER_NEW, false, "give the tally of items."},
    {FORM_COUNT, TIER_NEW, false, "what tally do the items reach?"},
    {FORM_COUNT_COLOR, TIER_NEW, false, "give the tally of {c} items."},
    {FORM_COUNT_COLOR, TIER_NEW, false, "what tally do the {c} items reach?"},
    {FORM_EXIST, TIER_NEW, false, "does a {c} {s} occur here?"},
    {FORM_EXIST, TIER_NEW, true, "is there not a {c} {s} in the {i}?"},
    {FORM_EXIST, TIER_NEW, true, "is no {c} {s} present?"},
    {FORM_EXIST, TIER_NEW, true, "does the {i} lack a {c} {s}?"},
    {FORM_EXIST_COLOR, TIER_NEW, false, "does a {c} item occur here?"},
    {FORM_EXIST_COLOR, TIER_NEW, true, "is there not a {c} {n}?"},
    {FORM_EXIST_COLOR, TIER_NEW, true, "is there not a {c} {n} in the {i}?"},
    {FORM_EXIST_COLOR, TIER_NEW, true, "is no {c} {n} present?"},
    {FORM_EXIST_COLOR, TIER_NEW, true, "does the {i} not contain a {c} {n}?"},
    {FORM_EXIST_COLOR, TIER_NEW, true, "is a {c} {n} absent from the {i}?"},
    {FORM_EXIST_SHAPE, TIER_NEW, false, "does a {s} occur here?"},
    {FORM_EXIST_SHAPE, TIER_NEW, true, "is there not a {s}?"},
    {FORM_EXIST_SHAPE, TIER_NEW, true, "is there not a {s} in the {i}?"},
    {FORM_EXIST_SHAPE, TIER_NEW, true, "is no {s} present?"},
    {FORM_EXIST_SHAPE, TIER_NEW, true, "does the {i} not contain a {s}?"},
    {FORM_EXIST_SHAPE, TIER_NEW, true, "is a {s} absent from the {i}?"},
    {FORM_RELATION, TIER_NEW, false, "on what side of the {r} does the {s} lie?"},
    {FORM_RELATION, TIER_NEW, false, "going from the {r} toward the {s}, what is the heading?"},
    {FORM_LARGER, TIER_NEW, false, "does the {s} outsize the {r}?"},
    {FORM_SMALLER, TIER_NEW, false, "does the {r} outsize the {s}?"},
    {FORM_WHICH_LARGER, TIER_NEW, false, "what item outsizes the other, {s} or {r}?"},
    {FORM_WHICH_SMALLER, TIER_NEW, false, "what item is outsized, {s} or {r}?"},
    {FORM_OBJECT_AT, TIER_NEW, false, "identify the item at the {p}."},
    {FORM_WHERE, TIER_NEW, false, "what spot does the {s} occupy?"},
    {FORM_CAPTION, TIER_NEW, false, "identify every item here."},
};
const int world_template_count = (int)(sizeof world_templates / sizeof world_templates[0]);

enum world_tier world_list_tier(const struct world_list *list, int index)
{
    return index < list->source ? TIER_SOURCE : index < list->shift ? TIER_SHIFT : TIER_NEW;
}

static int draw_between(struct rng *rng, int from, int to)
{
    return from + (int)rng_below(rng, (uint32_t)(to - from));
}

int world_list_draw(const struct world_list *list, unsigned tiers, bool target, bool single,
                    struct rng *rng)
{
    bool other =
        target && (tiers & (TIER_SHIFT | TIER_NEW)) && rng_uniform(rng) < list->other_share;
    int index;
    if (!other)
        index = draw_between(rng, 0, list->source);
    else if ((tiers & TIER_NEW) && (!(tiers & TIER_SHIFT) || rng_uniform(rng) < list->new_share))
        index = draw_between(rng, list->shift, list->count);
    else
        index = draw_between(rng, list->source, list->shift);
    if (single && list == &world_shape_list && index == SHAPE_SQUARE)
        index = (tiers & TIER_SHIFT) ? SHAPE_RECTANGLE : SHAPE_CIRCLE;
    return index;
}
