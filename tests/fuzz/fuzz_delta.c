/* Deltas. The input is taken as a zstd frame if it looks like one, and else put into one, so that
 * the fuzzer need not learn to compress before it reaches the metadata. */
#include "api/wire/delta.h"
#include "api/wire/limits.h"
#include "api/wire/zst.h"
#include "fuzz.h"

static void decode(const void *data, size_t len)
{
    struct delta d, again;
    struct err err;
    struct buf first = {.max = LIMIT_DELTA_BYTES}, second = {.max = LIMIT_DELTA_BYTES};
    if (delta_decode(data, len, &d, &err) != STATUS_OK) {
        FUZZ_HOLDS(d.memory == NULL);
        return;
    }
    FUZZ_HOLDS(delta_encode(&d, &first, &err) == STATUS_OK);
    FUZZ_HOLDS(delta_decode(first.data, first.len, &again, &err) == STATUS_OK);
    FUZZ_HOLDS(delta_encode(&again, &second, &err) == STATUS_OK);
    FUZZ_HOLDS(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    delta_free(&d);
    delta_free(&again);
    buf_free(&first);
    buf_free(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf frame = {.max = LIMIT_DELTA_BYTES};
    struct err err;
    if (len >= 4 && memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0) {
        decode(data, len);
        return 0;
    }
    FUZZ_HOLDS(zst_compress(data, len, 1, &frame, &err) == STATUS_OK);
    decode(frame.data, frame.len);
    buf_free(&frame);
    return 0;
}
