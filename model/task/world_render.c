/* Pixels and dense labels of a scene. Shapes are implicit functions on the square [-1,1]^2, sampled
 * once per pixel and 4x4 times where the corners disagree (an edge); everything random about the
 * pixels comes from scene->seed. No tables are built, so any thread may render. */
#include "model/task/world_words.h"
#include <math.h>
#include <string.h>

enum { S = WORLD_SIZE, SPRITE = 56, GRID = 4 /* samples per pixel side at an edge */ };

struct canvas {
    float rgb[S][S][3];
    float cover[WORLD_OBJECTS][WORLD_PATCHES]; /* share of each patch an object covers */
};

/* One object's coverage of the pixels around it; origin: the pixel of alpha[0][0]. */
struct sprite {
    float alpha[SPRITE][SPRITE];
    int x, y, side;
};

/* ---- shapes ---- */

static bool star_covers(float x, float y)
{
    /* a pentagram is where at least 4 of 5 half-planes agree */
    static const float normal[5][2] = {
        {0.f, 1.f}, {.9511f, .3090f}, {.5878f, -.8090f}, {-.5878f, -.8090f}, {-.9511f, .3090f}};
    int agree = 0;
    for (int i = 0; i < 5; i++)
        agree += x * normal[i][0] + y * normal[i][1] < .38f;
    return agree >= 4;
}

static bool heart_covers(float x, float y)
{
    float a = x * 1.15f, b = .12f - y * 1.15f;
    float t = a * a + b * b - .72f;
    return t * t * t - a * a * b * b * b * 1.6f < 0.f;
}

static bool arrow_covers(float x, float y)
{
    return (fabsf(y) < .3f && x < .1f && x > -1.f) || (x >= 0.f && fabsf(y) < (1.f - x) * .95f);
}

static bool shape_covers(const struct world_object *o, float x, float y)
{
    float ax = fabsf(x), ay = fabsf(y), r2 = x * x + y * y;
    switch ((enum world_shape)o->shape) {
    case SHAPE_CIRCLE:
        return r2 < 1.f;
    case SHAPE_SQUARE:
        return fmaxf(ax, ay) < .85f;
    case SHAPE_TRIANGLE:
        return y < .8f && y > 1.9f * ax - 1.f;
    case SHAPE_CROSS:
        return fminf(ax, ay) < .34f && fmaxf(ax, ay) < 1.f;
    case SHAPE_RING:
        return r2 < 1.f && r2 > .25f;
    case SHAPE_DIAMOND:
        return ax * 1.25f + ay < 1.05f;
    case SHAPE_STAR:
        return star_covers(x, y);
    case SHAPE_HEART:
        return heart_covers(x, y);
    case SHAPE_RECTANGLE:
        return ax < fminf(1.f, o->aspect) && ay < fminf(1.f, 1.f / o->aspect);
    case SHAPE_HEXAGON:
        return fmaxf(ax, ax * .5f + ay * .866f) < .88f;
    case SHAPE_CRESCENT:
        return r2 < 1.f && (x - .45f) * (x - .45f) + y * y > .5625f;
    case SHAPE_ARROW:
        return arrow_covers(x, y);
    }
    return false;
}

/* ---- sprites ---- */

struct placed { /* an object's own coordinates */
    const struct world_object *o;
    float cos, sin, scale;
};

static bool placed_covers(const struct placed *p, float dx, float dy)
{
    float x = (dx * p->cos + dy * p->sin) * p->scale, y = (dy * p->cos - dx * p->sin) * p->scale;
    return shape_covers(p->o, x, y);
}

static float pixel_alpha(const struct placed *p, float dx, float dy)
{
    int hits = 0;
    for (int i = 0; i < GRID; i++)
        for (int j = 0; j < GRID; j++)
            hits += placed_covers(p, dx + ((float)j + .5f) / GRID - .5f,
                                  dy + ((float)i + .5f) / GRID - .5f);
    return (float)hits / (GRID * GRID);
}

static void sprite_draw(const struct world_object *o, bool hard, struct sprite *out)
{
    struct placed p = {o, cosf(o->angle), sinf(o->angle), 1.f / (float)o->radius};
    bool corner[SPRITE + 1][SPRITE + 1];
    int reach = o->angle == 0.f ? o->radius + 3 : o->radius * 3 / 2 + 1; /* corners turn outwards */
    int half = reach < SPRITE / 2 ? reach : SPRITE / 2;
    out->side = 2 * half;
    out->x = o->x - half;
    out->y = o->y - half;
    for (int i = 0; i <= out->side; i++)
        for (int j = 0; j <= out->side; j++)
            corner[i][j] = placed_covers(&p, (float)(j - half), (float)(i - half));
    for (int i = 0; i < out->side; i++)
        for (int j = 0; j < out->side; j++) {
            int inside = corner[i][j] + corner[i + 1][j] + corner[i][j + 1] + corner[i + 1][j + 1];
            float dx = (float)(j - half) + .5f, dy = (float)(i - half) + .5f;
            if (hard)
                out->alpha[i][j] = placed_covers(&p, dx, dy) ? 1.f : 0.f;
            else
                out->alpha[i][j] = inside == 0 ? 0.f : inside == 4 ? 1.f : pixel_alpha(&p, dx, dy);
        }
}

/* Pixels deeper than two steps inside the shape: what a frame encloses. */
static void sprite_erode(const struct sprite *s, bool deep[SPRITE][SPRITE])
{
    bool from[SPRITE][SPRITE];
    memset(deep, 0, SPRITE * SPRITE * sizeof(bool));
    for (int i = 0; i < s->side; i++)
        for (int j = 0; j < s->side; j++)
            deep[i][j] = s->alpha[i][j] > .5f;
    for (int pass = 0; pass < 2; pass++) {
        memcpy(from, deep, sizeof from);
        for (int i = 1; i < s->side - 1; i++)
            for (int j = 1; j < s->side - 1; j++)
                deep[i][j] = from[i][j] && from[i - 1][j] && from[i + 1][j] && from[i][j - 1] &&
                             from[i][j + 1];
    }
}

/* ---- painting ---- */

static bool texture_marks(enum world_texture texture, int i, int j)
{
    switch (texture) {
    case TEXTURE_SOLID:
        return false;
    case TEXTURE_STRIPED:
        return (i / 2) % 2 == 1;
    case TEXTURE_DOTTED:
        return i % 4 < 2 && j % 4 < 2;
    case TEXTURE_CHECKERED:
        return (i / 3 + j / 3) % 2 == 1;
    case TEXTURE_FRAMED:
        return false; /* marked by depth instead */
    }
    return false;
}

/* A texture's second tone: a darker one, for dark colours a lighter one. */
static void second_tone(const float rgb[3], float out[3])
{
    bool dark = rgb[0] + rgb[1] + rgb[2] < .45f;
    for (int c = 0; c < 3; c++)
        out[c] = dark ? rgb[c] * .5f + .5f : rgb[c] * .28f;
}

static void object_color(const struct world_scene *scene, const struct world_object *o,
                         struct rng *rng, float out[3])
{
    float pure = 0.f;
    if (scene->single)
        pure = rng_below(rng, 2) ? 1.f : rng_uniform(rng);
    else if (scene->target)
        pure = rng_range(rng, 0.f, .4f);
    float light = scene->single ? rng_range(rng, .94f, 1.04f) : rng_range(rng, .9f, 1.08f);
    for (int c = 0; c < 3; c++) {
        const float *tone = world_color_rgb[o->color][0], *clear = world_color_rgb[o->color][1];
        out[c] = (tone[c] + pure * (clear[c] - tone[c])) * light;
    }
}

static void sprite_paint(struct canvas *canvas, int object, const struct sprite *s,
                         enum world_texture texture, const float rgb[3], int phase)
{
    bool deep[SPRITE][SPRITE];
    float tone[2][3];
    memcpy(tone[0], rgb, sizeof tone[0]);
    second_tone(rgb, tone[1]);
    if (texture == TEXTURE_FRAMED)
        sprite_erode(s, deep);
    for (int i = 0; i < s->side; i++) {
        int y = s->y + i;
        for (int j = 0; j < s->side; j++) {
            int x = s->x + j;
            float a = s->alpha[i][j];
            if (a <= 0.f || y < 0 || x < 0 || y >= S || x >= S)
                continue;
            bool mark = texture == TEXTURE_FRAMED
                            ? !deep[i][j]
                            : texture_marks(texture, i + phase % 4, j + phase / 4);
            for (int c = 0; c < 3; c++)
                canvas->rgb[y][x][c] += a * (tone[mark][c] - canvas->rgb[y][x][c]);
            canvas->cover[object][y / 8 * 8 + x / 8] += a / 64.f;
        }
    }
}

static void single_background(struct rng *rng, float out[3])
{
    float u = rng_uniform(rng);
    for (int c = 0; c < 3; c++)
        out[c] = u < .65f ? rng_range(rng, .88f, 1.f) : u < .72f ? 1.f : rng_uniform(rng);
}

static void grid_background(bool target, struct rng *rng, float out[3])
{
    static const float source[3][3] = {{.62f, .80f, .95f}, {.55f, .62f, .50f}, {.70f, .68f, .62f}};
    static const float other[6][3] = {{.62f, .80f, .95f}, {.72f, .60f, .62f}, {.50f, .50f, .62f},
                                      {.30f, .38f, .34f}, {.86f, .84f, .76f}, {.34f, .30f, .42f}};
    const float *tone = target ? other[rng_below(rng, 6)] : source[rng_below(rng, 3)];
    float light = rng_range(rng, .85f, 1.1f);
    for (int c = 0; c < 3; c++)
        out[c] = tone[c] * light;
}

/* How far the background stays from the nearest object's colour, the largest channel difference. */
static float background_contrast(const float background[3], const float color[][3], int n)
{
    float nearest = 1.f;
    for (int i = 0; i < n; i++) {
        float far = 0.f;
        for (int c = 0; c < 3; c++)
            far = fmaxf(far, fabsf(background[c] - color[i][c]));
        nearest = fminf(nearest, far);
    }
    return nearest;
}

static void background_paint(struct canvas *canvas, const struct world_scene *scene,
                             const float color[][3], struct rng *rng)
{
    float rgb[3], top, bottom;
    for (int attempt = 0; attempt < 12; attempt++) {
        if (scene->single)
            single_background(rng, rgb);
        else
            grid_background(scene->target, rng, rgb);
        if (background_contrast(rgb, color, scene->count) > (scene->single ? .20f : .16f))
            break;
    }
    top = rng_range(rng, .85f, 1.1f);
    bottom = rng_range(rng, .85f, 1.1f);
    for (int y = 0; y < S; y++) {
        float light = scene->single ? 1.f : top + (bottom - top) * (float)y / (S - 1);
        for (int x = 0; x < S; x++)
            for (int c = 0; c < 3; c++)
                canvas->rgb[y][x][c] = rgb[c] * light;
    }
}

/* ---- effects ---- */

/* Two nearly normal numbers of deviation 1 from 64 random bits: sums of four bytes each. */
static void noise_pair(struct rng *rng, float out[2])
{
    uint64_t bits = rng_u64(rng);
    for (int k = 0; k < 2; k++, bits >>= 32) {
        uint32_t low = (uint32_t)bits;
        uint32_t sum = (low & 255) + (low >> 8 & 255) + (low >> 16 & 255) + (low >> 24);
        out[k] = ((float)sum - 510.f) / 147.8f;
    }
}

static void add_noise(float *v, float deviation, struct rng *rng)
{
    float pair[2];
    for (int i = 0; i < S * S * 3; i += 2) {
        noise_pair(rng, pair);
        v[i] += deviation * pair[0];
        v[i + 1] += deviation * pair[1];
    }
}

static void scale_shift(float *v, const float scale[3], float shift)
{
    for (int i = 0; i < S * S; i++)
        for (int c = 0; c < 3; c++)
            v[3 * i + c] = v[3 * i + c] * scale[c] + shift;
}

static void blur(struct canvas *canvas)
{
    static const int step[5][2] = {{0, 0}, {-1, 0}, {1, 0}, {0, -1}, {0, 1}};
    float from[S][S][3];
    memcpy(from, canvas->rgb, sizeof from);
    for (int y = 0; y < S; y++)
        for (int x = 0; x < S; x++)
            for (int c = 0; c < 3; c++) {
                float sum = from[y][x][c];
                for (int k = 0; k < 5; k++) {
                    int v = y + step[k][0], u = x + step[k][1];
                    sum += from[v < 0 ? 0 : v >= S ? S - 1 : v][u < 0 ? 0 : u >= S ? S - 1 : u][c];
                }
                canvas->rgb[y][x][c] = sum / 6.f;
            }
}

static void effect_apply(struct canvas *canvas, const struct world_scene *scene, struct rng *rng)
{
    float s = scene->strength, *v = &canvas->rgb[0][0][0];
    float dusk = 1.f - .45f * s, night = 1.f - .68f * s, fog = 1.f - .58f * s;
    switch (scene->effect) {
    case EFFECT_DUSK:
        scale_shift(v, (float[3]){1.12f * dusk, .92f * dusk, .8f * dusk}, 0.f);
        break;
    case EFFECT_NIGHT:
        scale_shift(v, (float[3]){.85f * night, .95f * night, 1.25f * night}, 0.f);
        add_noise(v, .025f, rng);
        break;
    case EFFECT_FOG:
        scale_shift(v, (float[3]){fog, fog, fog}, .78f * .58f * s);
        break;
    case EFFECT_BLUR:
        blur(canvas);
        if (s > .5f)
            blur(canvas);
        break;
    case EFFECT_NOISE:
        add_noise(v, .1f * s, rng);
        break;
    case EFFECT_CAST: {
        float scale[3];
        for (int c = 0; c < 3; c++)
            scale[c] = 1.f + s * rng_range(rng, -.4f, .3f);
        scale_shift(v, scale, 0.f);
        break;
    }
    default:
        break;
    }
}

/* ---- the whole ---- */

static void labels_write(const struct canvas *canvas, const struct world_scene *scene,
                         uint8_t labels[WORLD_PATCHES][4])
{
    memset(labels, 0, WORLD_PATCHES * 4);
    for (int p = 0; p < WORLD_PATCHES; p++) {
        int best = 0;
        for (int i = 1; i < scene->count; i++)
            if (canvas->cover[i][p] > canvas->cover[best][p])
                best = i;
        if (canvas->cover[best][p] <= .18f)
            continue;
        const struct world_object *o = &scene->object[best];
        labels[p][0] = (uint8_t)(1 + o->shape);
        labels[p][1] = (uint8_t)(1 + o->color);
        labels[p][2] = (uint8_t)(1 + o->texture);
        labels[p][3] = (uint8_t)(1 + o->large);
    }
}

void world_scene_render(const struct world_scene *scene, uint8_t *rgb,
                        uint8_t labels[WORLD_PATCHES][4])
{
    struct canvas canvas;
    struct sprite sprite;
    struct rng rng;
    float color[WORLD_OBJECTS][3];
    rng_init(&rng, scene->seed, 0);
    memset(canvas.cover, 0, sizeof canvas.cover);
    for (int i = 0; i < scene->count; i++)
        object_color(scene, &scene->object[i], &rng, color[i]);
    background_paint(&canvas, scene, (const float(*)[3])color, &rng);
    for (int i = 0; i < scene->count; i++) {
        sprite_draw(&scene->object[i], scene->hard, &sprite);
        sprite_paint(&canvas, i, &sprite, (enum world_texture)scene->object[i].texture, color[i],
                     (int)rng_below(&rng, 16));
    }
    effect_apply(&canvas, scene, &rng);
    if (!scene->single || rng_below(&rng, 2))
        add_noise(&canvas.rgb[0][0][0], .01f, &rng);
    const float *v = &canvas.rgb[0][0][0];
    for (int i = 0; i < S * S * 3; i++)
        rgb[i] = (uint8_t)(fminf(fmaxf(v[i], 0.f), 1.f) * 255.f + .5f);
    if (labels)
        labels_write(&canvas, scene, labels);
}
