/* Nested JSON arrays to flat numbers; see numbers.h. */
#include "model/tool/numbers.h"

#include <string.h>

enum { NUMBERS_MAX = 1 << 26, IGNORED = -100 };

static void numbers_shape(const json *value, struct numbers *n)
{
    n->count = 1;
    n->ndim = 0;
    for (int d = 0; d < TENSOR_DIMS && json_length(value) > 0; d++, value = json_at(value, 0)) {
        size_t length = json_length(value);
        n->count = length > NUMBERS_MAX / n->count ? NUMBERS_MAX + 1 : n->count * length;
        if (n->count > NUMBERS_MAX)
            return;
        n->dim[d] = (int)length;
        n->ndim = d + 1;
    }
}

static enum status numbers_fill(const json *value, int depth, struct numbers *n, size_t *at,
                                struct err *err)
{
    if (depth >= TENSOR_DIMS || depth >= n->ndim || json_length(value) != (size_t)n->dim[depth])
        return err_set(err, STATUS_SHAPE, "rows of different lengths");
    for (size_t i = 0; i < json_length(value); i++) {
        if (depth + 1 < n->ndim)
            TRY(numbers_fill(json_at(value, i), depth + 1, n, at, err));
        else
            TRY(json_number_at(value, i, &n->at[(*at)++], err));
    }
    return STATUS_OK;
}

const json *numbers_field(const json *object, const char *key)
{
    const json *value = NULL;
    void *cursor = NULL;
    for (const char *k; object && (k = json_next(object, &cursor, &value)) != NULL;)
        if (strcmp(k, key) == 0)
            return value;
    return NULL;
}

enum status numbers_read(struct tape *tape, const json *object, const char *key,
                         struct numbers *out, struct err *err)
{
    const json *value = numbers_field(object, key);
    size_t at = 0;
    *out = (struct numbers){0};
    if (json_length(value) == 0)
        return STATUS_OK;
    numbers_shape(value, out);
    if (out->count > NUMBERS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "%s: more than %d numbers", key, NUMBERS_MAX);
    out->at = tape_alloc(tape, out->count * sizeof *out->at);
    TRY(tape_check(tape, err));
    enum status status = numbers_fill(value, 0, out, &at, err);
    return status == STATUS_OK ? status : err_prefix(err, "%s", key);
}

float *numbers_floats(struct tape *tape, const struct numbers *n)
{
    float *out = tape_alloc(tape, n->count * sizeof *out);
    for (size_t i = 0; out && i < n->count; i++)
        out[i] = (float)n->at[i];
    return out;
}

enum status numbers_ids(struct tape *tape, const struct numbers *n, const char *what, int32_t **out,
                        struct err *err)
{
    *out = tape_alloc(tape, (n->count + 1) * sizeof **out);
    TRY(tape_check(tape, err));
    for (size_t i = 0; i < n->count; i++) {
        double id = n->at[i];
        if (!(id >= IGNORED && id <= INT32_MAX) || id != (double)(int32_t)id)
            return err_set(err, STATUS_MALFORMED, "%s: %g is not an id", what, id);
        (*out)[i] = (int32_t)id;
    }
    return STATUS_OK;
}
