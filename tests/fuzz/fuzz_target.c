/* Request targets: what is accepted has a path of the letters that are allowed, without empty or
 * dot segments, and query strings without control characters; whatever matches a pattern fills its
 * names with segments of the path. */
#include "api/http/target.h"
#include "fuzz.h"
#include <ctype.h>

static void path_holds(const char *path)
{
    FUZZ_HOLDS(path[0] == '/');
    for (const char *p = path; *p; p++)
        FUZZ_HOLDS(isalnum((unsigned char)*p) || strchr("._-/@", *p));
    FUZZ_HOLDS(!strstr(path, "//") && !strstr(path, "/../") && !strstr(path, "/./"));
    size_t len = strlen(path);
    FUZZ_HOLDS(len < 3 || strcmp(path + len - 3, "/..") != 0);
}

static void text_holds(const char *text)
{
    for (; *text; text++)
        FUZZ_HOLDS((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void patterns_match(const char *path)
{
    static const char *const patterns[] = {"/", "/deltas/{version}", "/deltas/{version}/manifest",
                                           "/{a}/{b}", "/a{b}c"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char store[TARGET_BYTES];
        const char *param[TARGET_PARAMS] = {NULL, NULL};
        if (!target_match(patterns[i], path, store, sizeof store, param))
            continue;
        for (int p = 0; p < TARGET_PARAMS && param[p]; p++)
            FUZZ_HOLDS(param[p][0] && !strchr(param[p], '/') && strstr(path, param[p]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct target target;
    struct err err = {0};
    char *raw = malloc(len + 1);
    FUZZ_HOLDS(raw != NULL);
    memcpy(raw, data, len);
    raw[len] = '\0';
    enum status status = target_parse(raw, &target, &err);
    FUZZ_HOLDS(status == STATUS_OK || (err.code == status && err.text[0]));
    if (status == STATUS_OK) {
        path_holds(target.path);
        for (int i = 0; i < target.query_count; i++) {
            text_holds(target.query_name[i]);
            text_holds(target.query_value[i]);
            FUZZ_HOLDS(target_query(&target, target.query_name[i]) == target.query_value[i]);
        }
        patterns_match(target.path);
    }
    free(raw);
    return 0;
}
