/* Problem documents: whatever text an error holds, quoted bytes of a peer's above all, the document
 * is strict JSON, with the text as its detail where that is UTF-8. The first byte is the status. */
#include "api/base/utf8.h"
#include "api/wire/json.h"
#include "api/wire/problem.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct err err = {.code = len ? (enum status)(data[0] % 64) : STATUS_IO}, problem;
    struct buf out = {.max = 1 << 16};
    json *value = NULL;
    const char *detail = NULL;
    int64_t status = 0;
    if (len > 1)
        snprintf(err.text, sizeof err.text, "%.*s", (int)(len - 1), (const char *)data + 1);
    FUZZ_HOLDS(problem_write(&err, 422, "fuzz-1", &out) == STATUS_OK);
    FUZZ_HOLDS(json_parse(out.data, out.len, &value, &problem) == STATUS_OK);
    FUZZ_HOLDS(json_get_int(value, "status", 422, 422, &status, &problem) == STATUS_OK);
    FUZZ_HOLDS(json_opt_string(value, "detail", sizeof err.text, &detail, &problem) == STATUS_OK);
    if (utf8_valid(err.text, strlen(err.text)))
        FUZZ_HOLDS(detail && strcmp(detail, err.text) == 0);
    json_free(value);
    buf_free(&out);
    return 0;
}
