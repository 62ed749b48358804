/* See settings.h. The numbers go by one table; ranges of the distiller's own fields are checked
 * once more by distill_options_check, which knows what fits together. */
#include "server/settings.h"
#include "model/learn/codec.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct number {
    const char *name;
    size_t offset; /* of a float in struct settings */
    double min, max;
} numbers[] = {
    {"lr", offsetof(struct settings, distill.lr), 1e-7, 1},
    {"clip", offsetof(struct settings, distill.clip), 0, 1000},
    {"query", offsetof(struct settings, distill.query), 0, 1000},
    {"repr", offsetof(struct settings, distill.repr), 0, 1000},
    {"ce", offsetof(struct settings, distill.ce), 0, 1000},
    {"kl", offsetof(struct settings, distill.kl), 0, 1000},
    {"temperature", offsetof(struct settings, distill.temperature), 0.1, 100},
    {"holdout", offsetof(struct settings, distill.holdout), 0, 0.9},
    {"selected_share", offsetof(struct settings, compress.selected_share), 0.001, 1},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static const char *const fields[] = {
    "steps", "batch",       "lr",   "clip",  "labels",  "query",        "repr",           "ce",
    "kl",    "temperature", "seed", "codec", "holdout", "budget_bytes", "selected_share", NULL};

struct settings settings_defaults(void)
{
    return (struct settings){.distill = distill_defaults(), .compress = compress_defaults()};
}

static enum status numbers_read(const json *value, struct settings *out, struct err *err)
{
    for (int i = 0; i < NUMBERS; i++) {
        float *field = (float *)(void *)((char *)out + numbers[i].offset);
        double number = (double)*field;
        if (!json_has(value, numbers[i].name))
            continue;
        TRY(json_opt_number(value, numbers[i].name, numbers[i].min, numbers[i].max, &number, err));
        *field = (float)number;
    }
    return STATUS_OK;
}

static enum status integers_read(const json *value, struct settings *out, struct err *err)
{
    int64_t steps = out->distill.steps, batch = out->distill.batch;
    int64_t seed = (int64_t)out->distill.seed, budget = (int64_t)out->compress.budget_bytes;
    TRY(json_opt_int(value, "steps", 1, 10000, &steps, err));
    TRY(json_opt_int(value, "batch", 1, 256, &batch, err));
    TRY(json_opt_int(value, "seed", 0, INT64_MAX, &seed, err));
    TRY(json_opt_int(value, "budget_bytes", 0, LIMIT_DELTA_BYTES, &budget, err));
    out->distill.steps = (int)steps;
    out->distill.batch = (int)batch;
    out->distill.seed = (uint64_t)seed;
    out->compress.budget_bytes = (size_t)budget;
    return STATUS_OK;
}

static enum status words_read(const json *value, struct settings *out, struct err *err)
{
    const char *labels = NULL, *codec = NULL;
    TRY(json_opt_string(value, "labels", 8, &labels, err));
    TRY(json_opt_string(value, "codec", 8, &codec, err));
    if (labels && strcmp(labels, "hard") != 0 && strcmp(labels, "soft") != 0)
        return err_set(err, STATUS_MALFORMED, "labels is \"%s\"; right is \"hard\" or \"soft\"",
                       labels);
    if (labels)
        out->distill.labels = labels[0] == 's' ? LABELS_SOFT : LABELS_HARD;
    if (codec && strcmp(codec, "auto") != 0 &&
        (strlen(codec) != 1 || !strchr(CODEC_LETTERS, codec[0])))
        return err_set(err, STATUS_MALFORMED, "codec is \"%s\"; right is \"auto\" or one of %s",
                       codec, CODEC_LETTERS);
    if (codec)
        out->compress.codec = codec[1] ? '\0' : codec[0];
    return STATUS_OK;
}

static enum status fields_read(const json *value, struct settings *out, struct err *err)
{
    if (!json_is_object(value))
        return err_set(err, STATUS_MALFORMED, "settings are a JSON object");
    TRY(json_only(value, fields, err));
    TRY(numbers_read(value, out, err));
    TRY(integers_read(value, out, err));
    TRY(words_read(value, out, err));
    return distill_options_check(&out->distill, err);
}

enum status settings_parse(const void *text, size_t len, struct settings *out, struct err *err)
{
    json *value = NULL;
    *out = settings_defaults();
    if (len == 0)
        return STATUS_OK;
    TRY(json_parse(text, len, &value, err));
    enum status status = fields_read(value, out, err);
    json_free(value);
    return status;
}

/* 0.001f as 0.001, not as 0.001000000047: the fewest digits that give the same float. */
static double float_tidy(float value)
{
    char text[32];
    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return strtod(text, NULL);
}

json *settings_json(const struct settings *settings)
{
    char codec[2] = {settings->compress.codec, '\0'};
    json *out = json_object_new();
    bool ok =
        out && json_set_int(out, "steps", settings->distill.steps) &&
        json_set_int(out, "batch", settings->distill.batch) &&
        json_set_int(out, "seed", (int64_t)settings->distill.seed) &&
        json_set_int(out, "budget_bytes", (int64_t)settings->compress.budget_bytes) &&
        json_set_string(out, "labels", settings->distill.labels == LABELS_SOFT ? "soft" : "hard") &&
        json_set_string(out, "codec", codec[0] ? codec : "auto");
    for (int i = 0; i < NUMBERS && ok; i++) {
        const void *field = (const char *)settings + numbers[i].offset;
        ok = json_set_number(out, numbers[i].name, float_tidy(*(const float *)field));
    }
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

enum status settings_write(const struct settings *settings, struct buf *out, struct err *err)
{
    json *value = settings_json(settings);
    bool ok =
        value && json_print(value, false, out) == STATUS_OK && buf_append(out, "", 1) == STATUS_OK;
    json_free(value);
    if (!ok)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    out->len--;
    return STATUS_OK;
}
