/* Token payloads in both encodings: whatever is accepted encodes again, and to the same bytes from
 * then on. An input that begins with '{' is JSON. */
#include "api/wire/payload.h"
#include "fuzz.h"

static const char *const types[] = {"application/x-safetensors", "application/json"};

static struct buf encoded(const struct payload *p, int as_json)
{
    struct buf out = {.max = LIMIT_UPLOAD_RAW_BYTES};
    struct err err;
    enum status status =
        as_json ? payload_encode_json(p, &out, &err) : payload_encode(p, &out, &err);
    FUZZ_HOLDS(status == STATUS_OK);
    return out;
}

static void tokens_read(const struct payload *p)
{
    for (size_t i = 0; i < p->instances; i++) {
        size_t values = (size_t)p->instance[i].count * (size_t)p->width;
        float *tokens = malloc(values * sizeof *tokens + 1);
        if (tokens)
            payload_dequantize(p, i, tokens);
        free(tokens);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct payload p, again;
    struct err err;
    int as_json = len > 0 && data[0] == '{';
    if (payload_decode(types[as_json], data, len, &p, &err) != STATUS_OK) {
        FUZZ_HOLDS(p.memory == NULL);
        return 0;
    }
    tokens_read(&p);
    for (as_json = 0; as_json < 2; as_json++) {
        struct buf first = encoded(&p, as_json);
        FUZZ_HOLDS(payload_decode(types[as_json], first.data, first.len, &again, &err) ==
                   STATUS_OK);
        struct buf second = encoded(&again, as_json);
        FUZZ_HOLDS(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
        payload_free(&again);
        buf_free(&first);
        buf_free(&second);
    }
    payload_free(&p);
    return 0;
}
