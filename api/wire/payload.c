/* The payload itself: quantizing tokens, and the one function, payload_check, that says whether a
 * struct payload may exist. Both encoders call it before they write and both decoders after they
 * have read, so nothing is ever sent that the other side would refuse. */
#include "api/wire/payload.h"
#include "api/base/hash.h"
#include "api/base/utf8.h"
#include "api/wire/payload_parts.h"
#include "api/wire/safetensors.h"
#include <math.h>
#include <string.h>

static const int64_t VERSION_MAX = INT64_C(1) << 53;
static const double ENTROPY_MAX = 100; /* nats; ln of any vocabulary is far below */

bool payload_sizes(int bits, int width, size_t tokens, size_t *codes_size)
{
    if ((bits != 4 && bits != 8) || width < 1 || width > LIMIT_TOKEN_WIDTH)
        return false;
    if (bits == 4 && width % 2)
        return false;
    if (tokens > (size_t)LIMIT_INSTANCES * LIMIT_TOKENS)
        return false;
    *codes_size = tokens * (size_t)width * (size_t)bits / 8;
    return true;
}

static bool id_valid(const char *id)
{
    size_t len = strnlen(id, LIMIT_ID + 1);
    if (len < 1 || len > LIMIT_ID)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = id[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static enum status text_check(const char *name, const char *text, size_t min, size_t max,
                              struct err *err)
{
    size_t len = strnlen(text, max + 1);
    if (len > max)
        return err_set(err, STATUS_TOO_LARGE, "%s is longer than %zu bytes", name, max);
    if (len < min)
        return err_set(err, STATUS_MALFORMED, "%s is empty", name);
    if (!utf8_valid(text, len))
        return err_set(err, STATUS_MALFORMED, "%s is not valid UTF-8", name);
    return STATUS_OK;
}

static enum status instance_check(const struct payload *p, size_t i, struct err *err)
{
    const struct payload_instance *instance = &p->instance[i];
    if (!id_valid(instance->id))
        return err_set(err, STATUS_MALFORMED, "id must be 1 to %d of A-Z a-z 0-9 . _ -", LIMIT_ID);
    TRY(text_check("question", instance->question, 1, LIMIT_QUESTION, err));
    TRY(text_check("answer", instance->answer, 0, LIMIT_ANSWER, err));
    if (instance->correction)
        TRY(text_check("correction", instance->correction, 1, LIMIT_ANSWER, err));
    if (!(instance->entropy >= 0 && instance->entropy <= ENTROPY_MAX))
        return err_set(err, STATUS_MALFORMED, "entropy is %g; it must be from 0 to %g nats",
                       instance->entropy, ENTROPY_MAX);
    for (size_t j = 0; j < i; j++)
        if (strcmp(p->instance[j].id, instance->id) == 0)
            return err_set(err, STATUS_MALFORMED, "id \"%s\" comes twice", instance->id);
    return STATUS_OK;
}

/* `begin` is where the instance before ended. */
static enum status tokens_check(const struct payload *p, size_t i, size_t begin, struct err *err)
{
    const struct payload_instance *instance = &p->instance[i];
    if (instance->first != begin || instance->count < 1 || instance->count > p->tokens - begin)
        return err_set(err, STATUS_SHAPE,
                       "offsets must rise from 0 to the %zu tokens, by at least "
                       "one token an instance",
                       p->tokens);
    for (size_t t = begin; t < begin + instance->count; t++) {
        bool rest =
            p->positions[t] == PAYLOAD_REST && t > begin && t + 1 == begin + instance->count;
        if (p->positions[t] >= LIMIT_TOKENS && !rest)
            return err_set(err, STATUS_MALFORMED,
                           "position %u; the limit is %d, and 65535 for an "
                           "instance's last token but not its first",
                           p->positions[t], LIMIT_TOKENS - 1);
        if (t > begin && p->positions[t] <= p->positions[t - 1])
            return err_set(err, STATUS_MALFORMED,
                           "positions must rise within an instance; %u "
                           "follows %u",
                           p->positions[t], p->positions[t - 1]);
        if (p->scales[t] >= 0x7c00)
            return err_set(err, STATUS_MALFORMED,
                           "scale 0x%04x of token %zu; scales must be finite "
                           "and not negative",
                           p->scales[t], t);
    }
    return STATUS_OK;
}

enum status payload_check(const struct payload *p, struct err *err)
{
    size_t codes_size, end = 0;
    struct hash encoder;
    if (!id_valid(p->device))
        return err_set(err, STATUS_MALFORMED, "device must be 1 to %d of A-Z a-z 0-9 . _ -",
                       LIMIT_ID);
    if (p->base_version < 0 || p->base_version > VERSION_MAX)
        return err_set(err, STATUS_MALFORMED, "base_version must be from 0 to 2^53");
    if (!hash_parse(p->encoder, &encoder))
        return err_set(err, STATUS_MALFORMED,
                       "encoder must be a SHA-256: 64 lower-case "
                       "hexadecimal digits");
    if (!payload_sizes(p->bits, p->width, p->tokens, &codes_size))
        return err_set(err, STATUS_SHAPE,
                       "bits must be 4 or 8 and width 1 to %d, even for 4 bit; "
                       "they are %d and %d",
                       LIMIT_TOKEN_WIDTH, p->bits, p->width);
    if (p->instances < 1 || p->instances > LIMIT_INSTANCES)
        return err_set(err, STATUS_TOO_LARGE, "%zu instances; 1 to %d are possible", p->instances,
                       LIMIT_INSTANCES);
    for (size_t i = 0; i < p->instances; i++) {
        enum status status = instance_check(p, i, err);
        if (status == STATUS_OK)
            status = tokens_check(p, i, end, err);
        if (status != STATUS_OK) {
            err_prefix(err, "instance %zu", i);
            return status;
        }
        end += p->instance[i].count;
    }
    if (end != p->tokens)
        return err_set(err, STATUS_SHAPE, "offsets end at %zu, but there are %zu tokens", end,
                       p->tokens);
    return STATUS_OK;
}

/* q is clamped: the scale was rounded to F16, perhaps below absmax / levels. */
static int code_of(float x, float scale, int levels)
{
    if (scale <= 0)
        return 0;
    long q = lrintf(x / scale);
    return q > levels ? levels : q < -levels ? -levels : (int)q;
}

static void row_pack(const float *x, float scale, int width, int bits, uint8_t *codes)
{
    if (bits == 8) {
        for (int c = 0; c < width; c++)
            codes[c] = (uint8_t)code_of(x[c], scale, 127);
        return;
    }
    for (int c = 0; c < width; c += 2) {
        int low = code_of(x[c], scale, 7) + 8, high = code_of(x[c + 1], scale, 7) + 8;
        codes[c / 2] = (uint8_t)(low | high << 4);
    }
}

enum status payload_quantize(const float *tokens, size_t count, int width, int bits, uint8_t *codes,
                             uint16_t *scales, struct err *err)
{
    size_t unused;
    if (!payload_sizes(bits, width, count, &unused))
        return err_set(err, STATUS_SHAPE, "%zu tokens of width %d at %d bit cannot be quantized",
                       count, width, bits);
    size_t row_bytes = (size_t)width * (size_t)bits / 8;
    for (size_t t = 0; t < count; t++) {
        const float *x = tokens + t * (size_t)width;
        float absmax = 0, scale;
        for (int c = 0; c < width; c++) {
            if (!isfinite(x[c]))
                return err_set(err, STATUS_MALFORMED, "token %zu, channel %d is not finite", t, c);
            absmax = fmaxf(absmax, fabsf(x[c]));
        }
        scale = absmax / (bits == 4 ? 7.0f : 127.0f);
        f32_to_f16(&scale, 1, &scales[t]);
        if (scales[t] >= 0x7c00)
            return err_set(err, STATUS_MALFORMED,
                           "token %zu reaches %g, which no F16 scale can hold", t, (double)absmax);
        dtype_to_f32(DTYPE_F16, &scales[t], 1, &scale);
        row_pack(x, scale, width, bits, codes + t * row_bytes);
    }
    return STATUS_OK;
}

static void row_unpack(const uint8_t *codes, float scale, int width, int bits, float *out)
{
    if (bits == 8) {
        for (int c = 0; c < width; c++)
            out[c] = scale * (float)(int8_t)codes[c];
        return;
    }
    for (int c = 0; c < width; c += 2) {
        out[c] = scale * (float)((codes[c / 2] & 15) - 8);
        out[c + 1] = scale * (float)((codes[c / 2] >> 4) - 8);
    }
}

void payload_dequantize(const struct payload *p, size_t i, float *out)
{
    const struct payload_instance *instance = &p->instance[i];
    size_t row_bytes = (size_t)p->width * (size_t)p->bits / 8;
    for (size_t t = 0; t < instance->count; t++) {
        size_t token = instance->first + t;
        float scale;
        dtype_to_f32(DTYPE_F16, &p->scales[token], 1, &scale);
        row_unpack(p->codes + token * row_bytes, scale, p->width, p->bits,
                   out + t * (size_t)p->width);
    }
}
