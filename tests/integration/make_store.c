/* make_store DATA_DIR COUNT [BYTES]: a data directory with that many stored uploads of one instance
 * each, a tenth of them not used by a round yet; written through the store, as a service does. */
#include "api/wire/limits.h"
#include "server/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 500, BYTES = 64, BYTES_MAX = 64 << 10 };

struct filling {
    int64_t first, count;
    size_t bytes; /* of each upload */
};

static enum status upload_make(struct store *store, int64_t number, size_t bytes, struct err *err)
{
    char content[BYTES_MAX] = "", hex[HASH_HEX];
    struct hash hash;
    bool repeated;
    snprintf(content, sizeof content, "upload %lld", (long long)number);
    hash_bytes(content, bytes, &hash);
    hash_hex(&hash, hex);
    struct upload upload = {.sha256 = hex,
                            .device = "edge-1",
                            .received_ms = 1 + number,
                            .instances = 1,
                            .tokens = 8,
                            .size_bytes = (int64_t)bytes};
    return store_upload_add(store, &upload, content, bytes, &repeated, err);
}

static enum status filling_run(struct store *store, void *ctx, struct err *err)
{
    const struct filling *filling = ctx;
    for (int64_t i = 0; i < filling->count; i++)
        TRY(upload_make(store, filling->first + i, filling->bytes, err));
    return STATUS_OK;
}

static enum status round_run(struct store *store, void *ctx, struct err *err)
{
    int64_t round;
    (void)ctx;
    TRY(store_round_create(store, "count", "{}", &round, err));
    return store_round_finish(store, round, "rejected", "{}", NULL, 0, err);
}

static enum status apply(struct store *store,
                         enum status (*run)(struct store *, void *, struct err *), void *ctx,
                         struct err *err)
{
    struct store_job job = {.run = run, .ctx = ctx};
    TRY(store_apply(store, &job, 1, err));
    if (job.status != STATUS_OK)
        *err = job.err;
    return job.status;
}

static enum status fill(struct store *store, int64_t count, size_t bytes, struct err *err)
{
    for (int64_t first = 0; first < count; first += GROUP) {
        int64_t left = count - first;
        struct filling filling = {first, left < GROUP ? left : GROUP, bytes};
        if (first <= count / 10 * 9 && first + GROUP > count / 10 * 9 && first > 0)
            TRY(apply(store, round_run, NULL, err));
        TRY(apply(store, filling_run, &filling, err));
    }
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct store *store;
    size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : BYTES;
    if (argc < 3 || bytes < BYTES || bytes > BYTES_MAX)
        return fprintf(stderr, "usage: make_store DATA_DIR COUNT [BYTES]\n"), 2;
    if (store_open(io_posix(), argv[1], &store, &err) != STATUS_OK)
        return fprintf(stderr, "make_store: %s\n", err.text), 1;
    enum status status = fill(store, strtoll(argv[2], NULL, 10), bytes, &err);
    store_close(store);
    if (status != STATUS_OK)
        return fprintf(stderr, "make_store: %s\n", err.text), 1;
    return 0;
}
