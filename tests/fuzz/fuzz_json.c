/* Strict JSON: whatever parses must print, parse again and print the same. */
#include "api/wire/json.h"
#include "fuzz.h"

/* Touches every value once, through the readers an endpoint would use. */
static void readers_call(const json *value)
{
    static const char *const known[] = {"a", "b", NULL};
    const char *key, *text = NULL;
    const json *field, *child = NULL;
    int64_t integer = 0;
    double number = 0;
    bool flag = false;
    struct err err;
    json_only(value, known, &err);
    for (void *cursor = NULL; (key = json_next(value, &cursor, &field)) != NULL;) {
        json_get_string(value, key, 16, &text, &err);
        json_get_int(value, key, -10, 10, &integer, &err);
        json_opt_number(value, key, 0, 1, &number, &err);
        json_get_bool(value, key, &flag, &err);
        json_get_object(value, key, &child, &err);
        json_get_array(value, key, 4, &child, &err);
    }
    for (size_t i = 0; i < json_length(value); i++) {
        json_string_at(value, i, 16, &text, &err);
        json_number_at(value, i, &number, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json *value = NULL, *again = NULL;
    struct err err;
    struct buf first = {.max = 64 << 20}, second = {.max = 64 << 20};
    if (json_parse(data, len, &value, &err) != STATUS_OK) {
        FUZZ_HOLDS(value == NULL);
        return 0;
    }
    readers_call(value);
    FUZZ_HOLDS(json_print(value, false, &first) == STATUS_OK);
    FUZZ_HOLDS(json_parse(first.data, first.len, &again, &err) == STATUS_OK);
    FUZZ_HOLDS(json_print(again, false, &second) == STATUS_OK);
    FUZZ_HOLDS(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    json_free(value);
    json_free(again);
    buf_free(&first);
    buf_free(&second);
    return 0;
}
