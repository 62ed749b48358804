/* The only file, with its header, that knows jansson. What jansson leaves open is closed here: how
 * deep a text may nest and how many values it may hold is counted before jansson sees it, so that a
 * megabyte of '[' costs one pass over its bytes and no memory; a lack of memory is told from a text
 * that is wrong. Every reader's error says which
 * field, what was there and what would be right. */
#include "api/wire/json.h"
#include "api/base/clock.h"
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#undef json_is_object /* jansson's macro; ours is a function of the same meaning */

enum { DEPTH_MAX = 32, VALUES_MAX = 1 << 20, SHOWN = 64 };

/* jansson takes no const where it only reads. */
static json_t *unconst(const json *value)
{
    union {
        const json *in;
        json_t *out;
    } both = {.in = value};
    return both.out;
}

static enum status bounds_check(const char *text, size_t len, struct err *err)
{
    size_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        in_string = c == '"';
        values += c == ',' || c == '[' || c == '{';
        if ((c == '[' || c == '{') && ++depth > DEPTH_MAX)
            return err_set(err, STATUS_TOO_LARGE, "JSON nests deeper than %d levels", DEPTH_MAX);
        if ((c == ']' || c == '}') && depth > 0)
            depth--;
        if (values > VALUES_MAX)
            return err_set(err, STATUS_TOO_LARGE, "JSON holds more than %d values", VALUES_MAX);
    }
    return STATUS_OK;
}

/* ---- no memory ----
 *
 * When jansson (2.14) has no memory in the middle of a text, it takes the text for ill-formed or
 * fails an assertion of its own. So a parse that meets a lack of memory is left by longjmp, and
 * what it had allocated by then, kept in a list, is freed. jansson holds no lock meanwhile. */

struct block {
    struct block *next, **at; /* at: what points here; NULL: in no list */
};

struct parse {
    struct block *first;
    jmp_buf out;
};

static _Thread_local struct parse *parsing; /* by this thread, now */

static void *block_alloc(size_t size)
{
    struct block *block = size < SIZE_MAX - sizeof *block ? malloc(sizeof *block + size) : NULL;
    if (!block && parsing)
        longjmp(parsing->out, 1);
    if (!block)
        return NULL;
    *block = (struct block){NULL, NULL};
    if (parsing) {
        block->at = &parsing->first;
        block->next = parsing->first;
        parsing->first = block;
        if (block->next)
            block->next->at = &block->next;
    }
    return block + 1;
}

static void block_free(void *data)
{
    if (!data)
        return;
    struct block *block = (struct block *)data - 1;
    if (block->at) {
        *block->at = block->next;
        if (block->next)
            block->next->at = block->at;
    }
    free(block);
}

/* Before anything else: what is allocated one way must not be freed the other. */
__attribute__((constructor)) static void blocks_install(void)
{
    json_set_alloc_funcs(block_alloc, block_free);
}

static json_t *parse_run(const void *data, size_t len, bool *starved, json_error_t *error)
{
    struct parse parse = {0};
    json_t *value = NULL;
    parsing = &parse;
    *starved = setjmp(parse.out) != 0;
    if (!*starved)
        value = json_loadb(data, len, JSON_REJECT_DUPLICATES, error);
    parsing = NULL;
    for (struct block *block = parse.first, *next; block; block = next) {
        next = block->next;
        *block = (struct block){NULL, NULL};
        if (*starved)
            free(block);
    }
    return *starved ? NULL : value;
}

enum status json_parse(const void *data, size_t len, json **out, struct err *err)
{
    json_error_t error;
    bool starved = false;
    *out = NULL;
    TRY(bounds_check(data, len, err));
    *out = parse_run(data, len, &starved, &error);
    if (*out)
        return STATUS_OK;
    if (starved)
        return err_set(err, STATUS_NO_MEMORY, "out of memory while reading JSON");
    return err_set(err, STATUS_MALFORMED, "not valid JSON: %s (line %d, column %d)", error.text,
                   error.line, error.column);
}

void json_free(json *value)
{
    json_decref(value);
}

struct sink {
    struct buf *out;
    enum status status;
};

static int sink_take(const char *text, size_t len, void *context)
{
    struct sink *sink = context;
    if (sink->status == STATUS_OK)
        sink->status = buf_append(sink->out, text, len);
    return sink->status == STATUS_OK ? 0 : -1;
}

enum status json_print(const json *value, bool indent, struct buf *out)
{
    size_t before = out->len;
    size_t flags = JSON_REAL_PRECISION(10) | (indent ? JSON_INDENT(2) : JSON_COMPACT);
    struct sink sink = {out, STATUS_OK};
    int failed = json_dump_callback(value, sink_take, &sink, flags);
    if (!failed && sink.status == STATUS_OK) /* of a separator that found no room it says nothing */
        return STATUS_OK;
    out->len = before;
    return sink.status != STATUS_OK ? sink.status : STATUS_NO_MEMORY;
}

/* "the string \"abc\"", "1.5", "an array of 3": what an error shows of the value it found. */
static const char *value_show(const json *value, char out[SHOWN])
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        snprintf(out, SHOWN, "an array of %zu", json_array_size(value));
        return out;
    case JSON_STRING:
        snprintf(out, SHOWN, "a string of %zu bytes", json_string_length(value));
        if (json_string_length(value) <= 24)
            snprintf(out, SHOWN, "\"%s\"", json_string_value(value));
        return out;
    case JSON_INTEGER:
        snprintf(out, SHOWN, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return out;
    case JSON_REAL:
        snprintf(out, SHOWN, "%.17g (not an integer)", json_real_value(value));
        return out;
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "null";
    }
}

static enum status value_refuse(const char *name, const json *value, const char *wanted,
                                struct err *err)
{
    char shown[SHOWN];
    return err_set(err, STATUS_MALFORMED, "field \"%.64s\" is %s; it must be %s", name,
                   value_show(value, shown), wanted);
}

static enum status read_string(const char *name, const json *value, size_t max, const char **out,
                               struct err *err)
{
    if (!json_is_string(value))
        return value_refuse(name, value, "a string", err);
    if (json_string_length(value) > max)
        return err_set(err, STATUS_TOO_LARGE, "field \"%.64s\" has %zu bytes; the limit is %zu",
                       name, json_string_length(value), max);
    *out = json_string_value(value);
    return STATUS_OK;
}

static enum status read_int(const char *name, const json *value, int64_t min, int64_t max,
                            int64_t *out, struct err *err)
{
    char wanted[96];
    snprintf(wanted, sizeof wanted, "an integer from %" PRId64 " to %" PRId64, min, max);
    if (!json_is_integer(value))
        return value_refuse(name, value, wanted, err);
    int64_t number = json_integer_value(value);
    if (number < min || number > max)
        return value_refuse(name, value, wanted, err);
    *out = number;
    return STATUS_OK;
}

static enum status read_number(const char *name, const json *value, double min, double max,
                               double *out, struct err *err)
{
    char wanted[96];
    snprintf(wanted, sizeof wanted, "a number from %g to %g", min, max);
    if (!json_is_number(value))
        return value_refuse(name, value, wanted, err);
    double number = json_number_value(value);
    if (!(number >= min && number <= max)) {
        return err_set(err, STATUS_MALFORMED, "field \"%.64s\" is %g; it must be %s", name, number,
                       wanted);
    }
    *out = number;
    return STATUS_OK;
}

static enum status read_bool(const char *name, const json *value, bool *out, struct err *err)
{
    if (!json_is_boolean(value))
        return value_refuse(name, value, "true or false", err);
    *out = json_is_true(value);
    return STATUS_OK;
}

static enum status read_object(const char *name, const json *value, const json **out,
                               struct err *err)
{
    if (!json_is_object(value))
        return value_refuse(name, value, "an object", err);
    *out = value;
    return STATUS_OK;
}

/* The field of an object. Absent is an error that names what is wanted. */
static enum status field_find(const json *value, const char *key, const char *wanted,
                              const json **out, struct err *err)
{
    if (!json_is_object(value))
        return err_set(err, STATUS_MALFORMED, "an object with the field \"%.64s\" is expected",
                       key);
    *out = json_object_get(value, key);
    if (*out)
        return STATUS_OK;
    return err_set(err, STATUS_MALFORMED, "field \"%.64s\" is missing; it must be %s", key, wanted);
}

/* NULL for absent or null. */
static const json *field_optional(const json *value, const char *key)
{
    const json *field = json_object_get(value, key);
    return json_is_null(field) ? NULL : field;
}

enum status json_get_string(const json *value, const char *key, size_t max, const char **out,
                            struct err *err)
{
    const json *field = NULL;
    TRY(field_find(value, key, "a string", &field, err));
    return read_string(key, field, max, out, err);
}

enum status json_get_int(const json *value, const char *key, int64_t min, int64_t max, int64_t *out,
                         struct err *err)
{
    const json *field = NULL;
    TRY(field_find(value, key, "an integer", &field, err));
    return read_int(key, field, min, max, out, err);
}

enum status json_get_number(const json *value, const char *key, double min, double max, double *out,
                            struct err *err)
{
    const json *field = NULL;
    TRY(field_find(value, key, "a number", &field, err));
    return read_number(key, field, min, max, out, err);
}

enum status json_get_bool(const json *value, const char *key, bool *out, struct err *err)
{
    const json *field = NULL;
    TRY(field_find(value, key, "true or false", &field, err));
    return read_bool(key, field, out, err);
}

enum status json_get_time(const json *value, const char *key, int64_t *wall_ms, struct err *err)
{
    const char *text = "";
    TRY(json_get_string(value, key, 31, &text, err));
    if (clock_parse(text, wall_ms))
        return STATUS_OK;
    return err_set(err, STATUS_MALFORMED,
                   "field \"%.64s\" is \"%s\"; it must be a time such as 2026-01-31T12:34:56.789Z",
                   key, text);
}

enum status json_get_object(const json *value, const char *key, const json **out, struct err *err)
{
    const json *field = NULL;
    TRY(field_find(value, key, "an object", &field, err));
    return read_object(key, field, out, err);
}

enum status json_get_array(const json *value, const char *key, size_t max, const json **out,
                           struct err *err)
{
    const json *field = NULL;
    TRY(field_find(value, key, "an array", &field, err));
    if (!json_is_array(field))
        return value_refuse(key, field, "an array", err);
    if (json_array_size(field) > max)
        return err_set(err, STATUS_TOO_LARGE, "field \"%.64s\" has %zu items; the limit is %zu",
                       key, json_array_size(field), max);
    *out = field;
    return STATUS_OK;
}

enum status json_opt_string(const json *value, const char *key, size_t max, const char **out,
                            struct err *err)
{
    const json *field = field_optional(value, key);
    return field ? read_string(key, field, max, out, err) : STATUS_OK;
}

enum status json_opt_int(const json *value, const char *key, int64_t min, int64_t max, int64_t *out,
                         struct err *err)
{
    const json *field = field_optional(value, key);
    return field ? read_int(key, field, min, max, out, err) : STATUS_OK;
}

enum status json_opt_number(const json *value, const char *key, double min, double max, double *out,
                            struct err *err)
{
    const json *field = field_optional(value, key);
    return field ? read_number(key, field, min, max, out, err) : STATUS_OK;
}

enum status json_opt_bool(const json *value, const char *key, bool *out, struct err *err)
{
    const json *field = field_optional(value, key);
    return field ? read_bool(key, field, out, err) : STATUS_OK;
}

enum status json_opt_object(const json *value, const char *key, const json **out, struct err *err)
{
    const json *field = field_optional(value, key);
    return field ? read_object(key, field, out, err) : STATUS_OK;
}

bool json_has(const json *value, const char *key)
{
    return json_object_get(value, key) != NULL;
}

size_t json_length(const json *array)
{
    return json_array_size(array);
}

const json *json_at(const json *array, size_t i)
{
    return json_array_get(array, i);
}

bool json_is_object(const json *value)
{
    return value && json_typeof(value) == JSON_OBJECT;
}

enum status json_string_at(const json *array, size_t i, size_t max, const char **out,
                           struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "[%zu]", i);
    return read_string(name, json_array_get(array, i), max, out, err);
}

enum status json_number_at(const json *array, size_t i, double *out, struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "[%zu]", i);
    return read_number(name, json_array_get(array, i), -HUGE_VAL, HUGE_VAL, out, err);
}

enum status json_int_at(const json *array, size_t i, int64_t min, int64_t max, int64_t *out,
                        struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "[%zu]", i);
    return read_int(name, json_array_get(array, i), min, max, out, err);
}

enum status json_only(const json *value, const char *const *known, struct err *err)
{
    if (!json_is_object(value))
        return err_set(err, STATUS_MALFORMED, "an object is expected");
    const json *field;
    void *cursor = NULL;
    const char *key;
    while ((key = json_next(value, &cursor, &field)) != NULL) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (known[i])
            continue;
        err_set(err, STATUS_UNSUPPORTED, "unknown field \"%.64s\"; known are", key);
        for (i = 0; err && known[i]; i++) {
            size_t used = strlen(err->text);
            snprintf(err->text + used, sizeof err->text - used, "%s %s", i ? "," : "", known[i]);
        }
        return STATUS_UNSUPPORTED;
    }
    return STATUS_OK;
}

const char *json_next(const json *object, void **cursor, const json **value)
{
    json_t *o = unconst(object);
    *cursor = *cursor ? json_object_iter_next(o, *cursor) : json_object_iter(o);
    if (!*cursor)
        return NULL;
    if (value)
        *value = json_object_iter_value(*cursor);
    return json_object_iter_key(*cursor);
}

json *json_object_new(void)
{
    return json_object();
}

json *json_array_new(void)
{
    return json_array();
}

bool json_set_take(json *object, const char *key, json *value)
{
    return json_object_set_new(object, key, value) == 0;
}

bool json_set_string(json *object, const char *key, const char *text)
{
    return json_set_take(object, key, json_string(text));
}

bool json_set_int(json *object, const char *key, int64_t value)
{
    return json_set_take(object, key, json_integer(value));
}

bool json_set_number(json *object, const char *key, double value)
{
    return json_set_take(object, key, isfinite(value) ? json_real(value) : json_null());
}

bool json_set_bool(json *object, const char *key, bool value)
{
    return json_set_take(object, key, json_boolean(value));
}

bool json_set_null(json *object, const char *key)
{
    return json_set_take(object, key, json_null());
}

bool json_append_take(json *array, json *value)
{
    return json_array_append_new(array, value) == 0;
}

bool json_append_string(json *array, const char *text)
{
    return json_append_take(array, json_string(text));
}

bool json_append_int(json *array, int64_t value)
{
    return json_append_take(array, json_integer(value));
}

bool json_append_number(json *array, double value)
{
    return json_append_take(array, isfinite(value) ? json_real(value) : json_null());
}
