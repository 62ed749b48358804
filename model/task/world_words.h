/* The world's vocabulary: the concepts (shapes, colours, textures, places) with their tiers, and
 * the question templates with theirs. Private to model/task/world*.c.
 *
 * A concept list is ordered source, shift, new; an index into it is what scenes and labels hold.
 * A template's slots: {s} shape, {r} the other shape, {c} colour, {p} place; {n} and {i} stand for
 * a noun for an object and one for the image, drawn at random. */
#ifndef CDCCA_WORLD_WORDS_H
#define CDCCA_WORLD_WORDS_H

#include "model/task/world.h"

enum world_shape {
    SHAPE_CIRCLE,
    SHAPE_SQUARE,
    SHAPE_TRIANGLE,
    SHAPE_CROSS,
    SHAPE_RING,
    SHAPE_DIAMOND,
    SHAPE_STAR,
    SHAPE_HEART,
    SHAPE_RECTANGLE,
    SHAPE_HEXAGON,
    SHAPE_CRESCENT,
    SHAPE_ARROW
};
enum world_texture {
    TEXTURE_SOLID,
    TEXTURE_STRIPED,
    TEXTURE_DOTTED,
    TEXTURE_CHECKERED,
    TEXTURE_FRAMED
};

struct world_list {
    const char *const *word;
    int source, shift, count; /* [0,source) source, [source,shift) shift, [shift,count) new */
    float other_share;        /* of a target scene's concepts: from shift and new */
    float new_share;          /* of those: from new */
};

enum { WORLD_PLACES = 9 }; /* of the 3x3 grid, row by row */

extern const struct world_list world_shape_list, world_color_list, world_texture_list;
extern const char *const world_number[5], *const world_direction[4],
                                              *const world_place[WORLD_PLACES];
/* Per colour: its tone in drawings with lights, and its pure tone. RGB, 0..1. */
extern const float world_color_rgb[][2][3];

enum world_form {
    FORM_COLOR,
    FORM_COLOR_ONE,
    FORM_SHAPE,
    FORM_SHAPE_ONE,
    FORM_TEXTURE,
    FORM_TEXTURE_ONE,
    FORM_COUNT,
    FORM_COUNT_COLOR,
    FORM_EXIST,
    FORM_EXIST_COLOR,
    FORM_EXIST_SHAPE,
    FORM_RELATION,
    FORM_LARGER,
    FORM_SMALLER,
    FORM_WHICH_LARGER,
    FORM_WHICH_SMALLER,
    FORM_OBJECT_AT,
    FORM_WHERE,
    FORM_CAPTION,
    FORMS
};

struct world_template {
    enum world_form form;
    unsigned tier;
    bool negated; /* "is there no ...": the answer is turned round */
    const char *text;
};

extern const struct world_template world_templates[];
extern const int world_template_count;

enum world_tier world_list_tier(const struct world_list *list, int index);
/* A concept for a scene or a question: source in source scenes, else by the list's shares among the
 * tiers allowed. single: a box is called a rectangle there whatever its sides, never a square. */
int world_list_draw(const struct world_list *list, unsigned tiers, bool target, bool single,
                    struct rng *rng);

#endif
