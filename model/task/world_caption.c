/* Captions of a scene (world.h): its objects in an order, each with its size, colour, texture and
 * shape, in several phrasings, as several people would describe one picture. The first is the one
 * that models are trained to say. A pure function of the scene. */
#include "model/task/world_words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In reading order: rows of the 3x3 grid from the top, each from the left. */
static int reading_order(const void *a, const void *b)
{
    const struct world_object *one = a, *two = b;
    int row = 3 * one->y / WORLD_SIZE, row_two = 3 * two->y / WORLD_SIZE;
    return row != row_two ? row - row_two : one->x - two->x;
}

static int left_to_right(const void *a, const void *b)
{
    const struct world_object *one = a, *two = b;
    return one->x != two->x ? one->x - two->x : one->y - two->y;
}

static int large_first(const void *a, const void *b)
{
    const struct world_object *one = a, *two = b;
    return one->large != two->large ? two->large - one->large : reading_order(a, b);
}

static const struct phrasing {
    const char *opening, *size[2], *joint, *closing;
    int (*order)(const void *, const void *);
    bool texture_last; /* "a large red square that is striped" */
} phrasings[WORLD_REFERENCES] = {
    {"", {"small", "large"}, " and ", "", reading_order, false},
    {"there is ", {"small", "large"}, " and ", "", left_to_right, false},
    {"", {"little", "big"}, " next to ", "", large_first, false},
    {"the picture shows ", {"small", "big"}, " with ", "", reading_order, true},
    {"", {"small", "large"}, ", ", " can be seen", left_to_right, true},
};

/* What does not fit is cut off; at most WORLD_OBJECTS objects fit. */
static void append(char out[WORLD_CAPTION], const char *text)
{
    size_t at = strlen(out);
    snprintf(out + at, WORLD_CAPTION - at, "%s", text);
}

static void object_append(char out[WORLD_CAPTION], const struct phrasing *p,
                          const struct world_object *o)
{
    const char *const words[] = {p->size[o->large], world_color_list.word[o->color],
                                 world_texture_list.word[o->texture],
                                 world_shape_list.word[o->shape]};
    bool solid = o->texture == TEXTURE_SOLID;
    append(out, "a");
    for (int i = 0; i < 4; i++)
        if (i != 2 || !(solid || p->texture_last)) {
            append(out, " ");
            append(out, words[i]);
        }
    if (p->texture_last && !solid) {
        append(out, " that is ");
        append(out, words[2]);
    }
}

void world_captions(const struct world_scene *scene, char out[WORLD_REFERENCES][WORLD_CAPTION])
{
    for (int k = 0; k < WORLD_REFERENCES; k++) {
        const struct phrasing *p = &phrasings[k];
        struct world_object object[WORLD_OBJECTS];
        memcpy(object, scene->object, sizeof object);
        qsort(object, (size_t)scene->count, sizeof object[0], p->order);
        snprintf(out[k], WORLD_CAPTION, "%s", p->opening);
        for (int i = 0; i < scene->count; i++) {
            append(out[k], i ? p->joint : "");
            object_append(out[k], p, &object[i]);
        }
        append(out[k], p->closing);
    }
}
