/* Domains and scenes of the built-in world (see world.h). A scene is drawn from its own generator,
 * seeded by (seed, index) under a salt of its own, so that questions drawn from a generator with
 * the same numbers are independent of it. Rendering: world_render.c; questions: world_ask.c. */
#include "model/task/world.h"
#include "model/task/world_words.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALL_TIERS = TIER_SOURCE | TIER_SHIFT | TIER_NEW,
    ALL_EFFECTS = EFFECT_DUSK | EFFECT_NIGHT | EFFECT_FOG | EFFECT_BLUR | EFFECT_NOISE | EFFECT_CAST
};

#define SCENE_SALT 0x7363656e65ULL

static const struct world_domain domains[] = {
    {"source", TIER_SOURCE, 0, 1.f, 0.f, 0.f, 0.f},
    {"target", ALL_TIERS, ALL_EFFECTS, 0.f, .10f, .6f, 1.f},
    {"shift", TIER_SOURCE | TIER_SHIFT, ALL_EFFECTS, 0.f, .10f, .6f, 1.f},
    {"dusk", ALL_TIERS, EFFECT_DUSK, 0.f, .10f, .6f, 1.f},
    {"night", ALL_TIERS, EFFECT_NIGHT, 0.f, .10f, .6f, 1.f},
    {"fog", ALL_TIERS, EFFECT_FOG, 0.f, .10f, .6f, 1.f},
    {"blur", ALL_TIERS, EFFECT_BLUR, 0.f, .10f, .6f, 1.f},
    {"noise", ALL_TIERS, EFFECT_NOISE, 0.f, .10f, .6f, 1.f},
    {"cast", ALL_TIERS, EFFECT_CAST, 0.f, .10f, .6f, 1.f},
    {"all", ALL_TIERS, ALL_EFFECTS, .5f, .35f, .6f, 1.f},
    {"known", TIER_SOURCE | TIER_SHIFT, ALL_EFFECTS, .5f, .20f, .6f, 1.f},
    {"single", ALL_TIERS, ALL_EFFECTS, 0.f, 1.f, .6f, 1.f},
};

/* "drift:R": what the stream of round R meets beside its easy share of source samples */
static enum status drift_parse(const char *name, struct world_domain *out, struct err *err)
{
    static const unsigned rounds[] = {EFFECT_DUSK | EFFECT_CAST, EFFECT_NIGHT, EFFECT_FOG,
                                      EFFECT_BLUR | EFFECT_NOISE, ALL_EFFECTS};
    const char *digits = name + strlen("drift:");
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || length > 9 || digits[length] != '\0')
        return err_set(err, STATUS_MALFORMED,
                       "world '%.60s': drift wants a round, drift:0 to drift:999999999", name);
    *out = (struct world_domain){.tiers = ALL_TIERS,
                                 .effects = rounds[strtoul(digits, NULL, 10) % 5],
                                 .source_share = .4f,
                                 .single_share = .10f,
                                 .strength_low = .6f,
                                 .strength_high = 1.f};
    memcpy(out->name, name, strlen(name) + 1);
    return STATUS_OK;
}

enum status world_domain_parse(const char *name, struct world_domain *out, struct err *err)
{
    if (strncmp(name, "drift:", 6) == 0)
        return drift_parse(name, out, err);
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++)
        if (strcmp(name, domains[i].name) == 0) {
            *out = domains[i];
            return STATUS_OK;
        }
    return err_set(err, STATUS_NOT_FOUND,
                   "world '%.60s' is none of source, target, shift, dusk, night, fog, blur, noise, "
                   "cast, drift:R, all, known, single",
                   name);
}

const char *world_kind_name(enum world_kind kind)
{
    static const char *const names[] = {"color",    "shape",   "texture", "count",  "exist",
                                        "relation", "compare", "object",  "caption"};
    return (unsigned)kind < KINDS ? names[kind] : "other";
}

int world_shapes(void)
{
    return world_shape_list.count;
}
int world_colors(void)
{
    return world_color_list.count;
}
int world_textures(void)
{
    return world_texture_list.count;
}

static int between(struct rng *rng, int low, int high) /* both included */
{
    return low + (int)rng_below(rng, (uint32_t)(high - low + 1));
}

static void concepts_draw(const struct world_domain *domain, const struct world_scene *scene,
                          struct world_object *o, struct rng *rng)
{
    o->shape = world_list_draw(&world_shape_list, domain->tiers, scene->target, scene->single, rng);
    o->color = world_list_draw(&world_color_list, domain->tiers, scene->target, scene->single, rng);
    o->texture =
        world_list_draw(&world_texture_list, domain->tiers, scene->target, scene->single, rng);
    o->large = (int)rng_below(rng, 2);
}

/* 1-4 objects on a 3x3 grid with jitter. Small and large are far apart: comparisons are clear. */
static void grid_draw(const struct world_domain *domain, struct world_scene *scene, struct rng *rng)
{
    float u = rng_uniform(rng);
    int32_t cell[WORLD_PLACES];
    for (int i = 0; i < WORLD_PLACES; i++)
        cell[i] = i;
    rng_shuffle(rng, cell, WORLD_PLACES);
    scene->count = u < .10f ? 1 : u < .40f ? 2 : u < .75f ? 3 : 4;
    for (int i = 0; i < scene->count; i++) {
        struct world_object *o = &scene->object[i];
        concepts_draw(domain, scene, o, rng);
        o->radius = o->large ? between(rng, 10, 11) : between(rng, 6, 7);
        int jitter = o->large ? 0 : 2;
        o->x = 11 + 21 * (cell[i] % 3) + between(rng, -jitter, jitter);
        o->y = 11 + 21 * (cell[i] / 3) + between(rng, -jitter, jitter);
        o->angle = 0.f;
        o->aspect = rng_range(rng, 1.6f, 2.2f);
        if (rng_below(rng, 2))
            o->aspect = 1.f / o->aspect;
    }
}

/* One object anywhere, up to half the image wide, sometimes a little turned. A diamond is a turned
 * square and an arrow's direction is its own: those and boxes in half of the cases stay upright. */
static void single_draw(const struct world_domain *domain, struct world_scene *scene,
                        struct rng *rng)
{
    struct world_object *o = &scene->object[0];
    scene->count = 1;
    concepts_draw(domain, scene, o, rng);
    if (rng_uniform(rng) < .5f)
        o->texture = TEXTURE_SOLID;
    o->radius = o->large ? between(rng, 10, 17) : between(rng, 4, 8);
    int margin = o->radius - (rng_uniform(rng) < .1f ? 2 : 0); /* a few touch the border */
    o->x = between(rng, margin, WORLD_SIZE - margin);
    o->y = between(rng, margin, WORLD_SIZE - margin);
    o->aspect = expf(rng_range(rng, -1.f, 1.f));
    bool turned = rng_uniform(rng) < .4f && o->shape != SHAPE_DIAMOND;
    o->angle = turned ? rng_range(rng, -.3f, .3f) : 0.f;
    scene->hard = rng_uniform(rng) < .5f;
}

static unsigned effect_draw(unsigned effects, struct rng *rng)
{
    int n = __builtin_popcount(effects);
    if (n == 0)
        return 0;
    for (int skip = (int)rng_below(rng, (uint32_t)n); skip > 0; skip--)
        effects &= effects - 1;
    return effects & (~effects + 1);
}

void world_scene_draw(const struct world_domain *domain, uint64_t seed, uint64_t index,
                      struct world_scene *out)
{
    struct rng rng;
    rng_init(&rng, seed ^ SCENE_SALT, index);
    *out = (struct world_scene){0};
    out->target = rng_uniform(&rng) >= domain->source_share;
    out->single = out->target && rng_uniform(&rng) < domain->single_share;
    if (out->target && !(out->single && rng_uniform(&rng) < .6f)) {
        out->effect = effect_draw(domain->effects, &rng);
        out->strength = rng_range(&rng, domain->strength_low, domain->strength_high);
    }
    if (out->single)
        single_draw(domain, out, &rng);
    else
        grid_draw(domain, out, &rng);
    out->seed = rng_u64(&rng);
}
