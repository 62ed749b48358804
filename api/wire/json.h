/* Strict JSON over jansson, for everything that comes from outside: duplicate keys refused, depth
 * <= 32, strings <= 64 KiB unless a field says otherwise, integers only where integers are wanted,
 * unknown fields named in the error. Only api/wire includes jansson.h; others use these. */
#ifndef CDCCA_JSON_H
#define CDCCA_JSON_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t; /* jansson's value; reference counted */
typedef struct json_t json;

/* Parses exactly one JSON value (objects and arrays only). *out is owned: json_free. */
enum status json_parse(const void *data, size_t len, json **out, struct err *err);
void json_free(json *value); /* NULL is fine */
/* Appends the compact, or indented, text; real numbers with ten significant digits. */
enum status json_print(const json *value, bool indent, struct buf *out);

/* Readers: `value` must be an object; the field must exist unless a `_or` default is given.
 * The error names the field, what it was and what it should be. Strings are borrowed. */
enum status json_get_string(const json *value, const char *key, size_t max, const char **out,
                            struct err *err);
enum status json_get_int(const json *value, const char *key, int64_t min, int64_t max, int64_t *out,
                         struct err *err);
enum status json_get_number(const json *value, const char *key, double min, double max, double *out,
                            struct err *err);
enum status json_get_bool(const json *value, const char *key, bool *out, struct err *err);
/* A time as clock_format writes it, in milliseconds. */
enum status json_get_time(const json *value, const char *key, int64_t *wall_ms, struct err *err);
enum status json_get_object(const json *value, const char *key, const json **out, struct err *err);
enum status json_get_array(const json *value, const char *key, size_t max, const json **out,
                           struct err *err);
/* The same for optional fields: absent or null leaves *out as it was. */
enum status json_opt_string(const json *value, const char *key, size_t max, const char **out,
                            struct err *err);
enum status json_opt_int(const json *value, const char *key, int64_t min, int64_t max, int64_t *out,
                         struct err *err);
enum status json_opt_number(const json *value, const char *key, double min, double max, double *out,
                            struct err *err);
enum status json_opt_bool(const json *value, const char *key, bool *out, struct err *err);
enum status json_opt_object(const json *value, const char *key, const json **out, struct err *err);

bool json_has(const json *value, const char *key);
size_t json_length(const json *array);
const json *json_at(const json *array, size_t i); /* NULL past the end */
bool json_is_object(const json *value);
/* One array element as a string / number; error says which index. */
enum status json_string_at(const json *array, size_t i, size_t max, const char **out,
                           struct err *err);
enum status json_number_at(const json *array, size_t i, double *out, struct err *err);
enum status json_int_at(const json *array, size_t i, int64_t min, int64_t max, int64_t *out,
                        struct err *err);
/* Refuses fields that are not in the NULL-terminated list. */
enum status json_only(const json *value, const char *const *known, struct err *err);
/* Walks an object: *cursor starts NULL; returns the key or NULL at the end. value may be NULL. */
const char *json_next(const json *object, void **cursor, const json **value);

/* Writers: build values; setters take ownership of nothing and return false only without memory. */
json *json_object_new(void);
json *json_array_new(void);
bool json_set_string(json *object, const char *key, const char *text);
bool json_set_int(json *object, const char *key, int64_t value);
bool json_set_number(json *object, const char *key, double value); /* NaN and Inf become null */
bool json_set_bool(json *object, const char *key, bool value);
bool json_set_null(json *object, const char *key);
/* These two take the reference, also when they fail; a NULL value is a failure. */
bool json_set_take(json *object, const char *key, json *value);
bool json_append_take(json *array, json *value);
bool json_append_string(json *array, const char *text);
bool json_append_int(json *array, int64_t value);
bool json_append_number(json *array, double value);

#endif
