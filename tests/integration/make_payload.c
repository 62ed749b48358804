/* make_payload STUDENT_DIR SEED INSTANCES [safetensors|json]: an upload of random tokens for that
 * student on stdout, such as its encoder's layer norm could give. Environment: DEVICE, BASE,
 * ENCODER, WIDTH, TOKENS, ENTROPY override what it says of itself; STRETCH: tokens so many times as
 * long. */
#include "api/wire/payload.h"
#include "model/mllm/mllm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INSTANCES_MAX = 256, TOKENS_MAX = 64, WIDTH_MAX = 256 };

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value ? value : otherwise;
}

static struct payload_instance instances[INSTANCES_MAX];
static char ids[INSTANCES_MAX][32];
static float values[INSTANCES_MAX * TOKENS_MAX * WIDTH_MAX];
static uint8_t codes[INSTANCES_MAX * TOKENS_MAX * WIDTH_MAX];
static uint16_t scales[INSTANCES_MAX * TOKENS_MAX], positions[INSTANCES_MAX * TOKENS_MAX];

/* The encoder's last layer norm, of random values. */
static void token_draw(const struct mllm *student, struct rng *rng, int width, float *token)
{
    const float *gamma = student->vision.post_norm_w->data;
    const float *beta = student->vision.post_norm_b->data;
    double sum = 0, squares = 0, stretch = atof(setting("STRETCH", "1"));
    for (int c = 0; c < width; c++) {
        token[c] = rng_normal(rng);
        sum += (double)token[c];
        squares += (double)token[c] * (double)token[c];
    }
    double mean = sum / width, deviation = sqrt(squares / width - mean * mean);
    for (int c = 0; c < width; c++) {
        int at = c % student->config.vision.hidden; /* WIDTH may say more than there are */
        double x = ((double)token[c] - mean) / deviation;
        token[c] = (float)(stretch * (x * (double)gamma[at] + (double)beta[at]));
    }
}

static void fill(const struct mllm *student, struct payload *p, uint64_t seed, int count)
{
    static const char *const questions[] = {"what color is the cat", "is it night", "is it red"};
    struct rng rng;
    rng_init(&rng, seed, 5);
    for (size_t t = 0; t < p->tokens; t++)
        token_draw(student, &rng, p->width, values + t * (size_t)p->width);
    for (size_t t = 0; t < p->tokens; t++)
        positions[t] = (uint16_t)(t % (size_t)count);
    for (size_t i = 0; i < p->instances; i++) {
        snprintf(ids[i], sizeof ids[i], "q%u-%d", (unsigned)seed % 100000u, (int)i % INSTANCES_MAX);
        instances[i] = (struct payload_instance){.id = ids[i],
                                                 .question = questions[i % 3],
                                                 .answer = "red",
                                                 .entropy = atof(setting("ENTROPY", "0.5")),
                                                 .first = (uint32_t)(i * (size_t)count),
                                                 .count = (uint32_t)count};
    }
}

static enum status payload_make(const struct mllm *student, uint64_t seed, int n, const char *form,
                                struct buf *out, struct err *err)
{
    char encoder[HASH_HEX];
    int count = atoi(setting("TOKENS", "8"));
    hash_hex(&student->encoder, encoder);
    struct payload p = {.device = setting("DEVICE", "edge-1"),
                        .base_version = atoll(setting("BASE", "0")),
                        .encoder = setting("ENCODER", encoder),
                        .bits = 8,
                        .width = student->config.vision.hidden,
                        .instances = (size_t)n,
                        .tokens = (size_t)(n * count),
                        .instance = instances,
                        .codes = codes,
                        .scales = scales,
                        .positions = positions};
    if (getenv("WIDTH"))
        p.width = atoi(getenv("WIDTH"));
    if (n < 1 || n > INSTANCES_MAX || count < 1 || count > TOKENS_MAX || p.width > WIDTH_MAX)
        return err_set(err, STATUS_USAGE, "too many instances or tokens");
    fill(student, &p, seed, count);
    TRY(payload_quantize(values, p.tokens, p.width, p.bits, codes, scales, err));
    return strcmp(form, "json") == 0 ? payload_encode_json(&p, out, err)
                                     : payload_encode(&p, out, err);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct mllm *student = NULL;
    struct buf out = {.max = LIMIT_UPLOAD_RAW_BYTES};
    if (argc < 4)
        return fprintf(stderr, "usage: make_payload STUDENT_DIR SEED INSTANCES [json]\n"), 2;
    enum status status = mllm_load(io_posix(), argv[1], &student, &err);
    if (status == STATUS_OK)
        status = payload_make(student, strtoull(argv[2], NULL, 10), atoi(argv[3]),
                              argc > 4 ? argv[4] : "safetensors", &out, &err);
    if (student)
        mllm_release(student);
    if (status != STATUS_OK)
        return fprintf(stderr, "make_payload: %s\n", err.text), 1;
    size_t written = fwrite(out.data, 1, out.len, stdout);
    size_t wanted = out.len;
    buf_free(&out);
    return written == wanted ? 0 : 1;
}
