/* The built-in world: scenes of 1-4 objects on 64x64 images, questions about them, captions; a
 * source domain and drifting target domains. Everything is a pure function of (domain, seed,
 * index), so nothing need be stored. Concepts (shapes, colours, textures, words) come in three
 * tiers: source: clean images, what the student is fine-tuned on last; shift:  the student met them
 * in pretraining, before the source fine-tuning buried them; new:    the student has met them in no
 * stage; only the teacher knows them. */
#ifndef CDCCA_WORLD_H
#define CDCCA_WORLD_H

#include "api/base/rng.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    WORLD_SIZE = 64,
    WORLD_PATCHES = 64,
    WORLD_OBJECTS = 4,
    WORLD_OPTIONS = 4,
    WORLD_TEXT = 128,
    WORLD_CAPTION = 256,
    WORLD_REFERENCES = 5
};

enum world_tier { TIER_SOURCE = 1, TIER_SHIFT = 2, TIER_NEW = 4 }; /* bits */

enum world_effect {
    EFFECT_DUSK = 1,
    EFFECT_NIGHT = 2,
    EFFECT_FOG = 4,
    EFFECT_BLUR = 8,
    EFFECT_NOISE = 16,
    EFFECT_CAST = 32
}; /* bits; one is drawn per image */

enum world_kind {
    KIND_COLOR,
    KIND_SHAPE,
    KIND_TEXTURE,
    KIND_COUNT,
    KIND_EXIST,
    KIND_RELATION,
    KIND_COMPARE,
    KIND_OBJECT /* two-word answers */,
    KIND_CAPTION,
    KINDS
};
const char *world_kind_name(enum world_kind kind);

struct world_domain {
    char name[48];
    unsigned tiers;     /* tiers whose concepts and question templates may appear */
    unsigned effects;   /* 0: clean */
    float source_share; /* share of samples drawn from the plain source domain instead */
    float single_share; /* of the other samples: one object of any size anywhere, see "single" */
    float strength_low, strength_high;
};

/* "source", "target" (all effects, all tiers), "shift" (target without the new tier), "dusk",
 * "night", "fog", "blur", "noise", "cast", "drift:R" (round R = 0.. of the demo's stream: 40%
 * source, dusk+cast, night, fog, blur+noise, mix, then again), "all" (half source, half target;
 * teacher pretraining), "known" (half source, half shift; student pretraining), "single" (all
 * tiers; every scene one object anywhere, of many sizes, often clean, on a plain, mostly pale
 * background). */
enum status world_domain_parse(const char *name, struct world_domain *out, struct err *err);

struct world_object {
    int shape, color, texture, large; /* indices into the word lists; large 0/1 */
    int x, y, radius;
    float angle, aspect; /* radians, clockwise; of a rectangle: width over height */
};

struct world_scene {
    bool target;       /* not from the plain source domain */
    bool single, hard; /* one object anywhere; drawn without anti-aliasing */
    unsigned effect;   /* one bit or 0 */
    float strength;
    int count;
    struct world_object object[WORLD_OBJECTS];
    uint64_t seed; /* of its pixels */
};

struct world_question {
    enum world_kind kind;
    char text[WORLD_TEXT];
    char answer[WORLD_CAPTION];
    char option[WORLD_OPTIONS][WORLD_TEXT]; /* the right one at answer_option; none for captions */
    int options, answer_option;
    bool new_concept; /* the answer or a word of the question belongs to the new tier */
};

/* Sizes of the word lists, for dense labels: index 0 = background, then 1 + shape etc. */
int world_shapes(void);
int world_colors(void);
int world_textures(void);

void world_scene_draw(const struct world_domain *domain, uint64_t seed, uint64_t index,
                      struct world_scene *out);
/* rgb: (64,64,3). labels: per 8x8 patch {shape, color, texture, size}, 0 = background; or NULL. */
void world_scene_render(const struct world_scene *scene, uint8_t *rgb,
                        uint8_t labels[WORLD_PATCHES][4]);
/* A question about the scene; kind < 0: drawn by the world's shares (captions apart). A kind the
 * scene has no question of (a comparison of one object) gives way to another: see out->kind. */
void world_ask(const struct world_scene *scene, const struct world_domain *domain, int kind,
               struct rng *rng, struct world_question *out);
/* References to score a caption of the scene against: the caption that world_ask gives, then others
 * that say the same in other words and another order. All end with a NUL. */
void world_captions(const struct world_scene *scene, char out[WORLD_REFERENCES][WORLD_CAPTION]);

#endif
