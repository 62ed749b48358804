/* A store in a directory of its own over an io that can fail, and jobs for it in one line. */
#ifndef CDCCA_TEST_STORE_PLACE_H
#define CDCCA_TEST_STORE_PLACE_H

#include "server/envelopes.h"
#include "tests/unit/fault_io.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[64];
    struct fault_io io;
    struct store *store;
};

static inline int place_open(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    struct err err = {0};
    strcpy(place->dir, "/tmp/cdcca-store-XXXXXX");
    place->io = fault_io_make(-1, ENOSPC);
    *state = place;
    return !mkdtemp(place->dir) || store_open(&place->io.io, place->dir, &place->store, &err);
}

static inline int place_close(void **state)
{
    struct place *place = *state;
    char command[128];
    store_close(place->store);
    snprintf(command, sizeof command, "rm -rf %s", place->dir);
    int failed = system(command);
    free(place);
    return failed;
}

static inline void place_again(struct place *place)
{
    struct err err;
    store_close(place->store);
    assert_int_equal(store_open(&place->io.io, place->dir, &place->store, &err), STATUS_OK);
}

static inline enum status place_apply(struct place *place,
                                      enum status (*run)(struct store *, void *, struct err *),
                                      void *ctx)
{
    struct store_job job = {.run = run, .ctx = ctx};
    store_apply(place->store, &job, 1, NULL);
    return job.status;
}

/* ---- an upload ---- */

struct adding {
    const char *content, *key;
    struct upload upload;
    char sha256[HASH_HEX];
    bool repeated;
};

static inline enum status add_run(struct store *store, void *ctx, struct err *err)
{
    struct adding *a = ctx;
    struct hash hash;
    hash_bytes(a->content, strlen(a->content), &hash);
    hash_hex(&hash, a->sha256);
    a->upload = (struct upload){.sha256 = a->sha256,
                                .device = "edge-1",
                                .key = a->key,
                                .received_ms = 1,
                                .instances = 3,
                                .tokens = 12,
                                .size_bytes = (int64_t)strlen(a->content)};
    return store_upload_add(store, &a->upload, a->content, strlen(a->content), &a->repeated, err);
}

static inline int64_t place_upload(struct place *place, const char *content)
{
    struct adding a = {.content = content};
    assert_int_equal(place_apply(place, add_run, &a), STATUS_OK);
    return a.upload.id;
}

/* ---- a release, of a round without uploads ---- */

struct releasing {
    struct release release;
    char sha256[HASH_HEX];
    const char *content;
};

static inline enum status release_run(struct store *store, void *ctx, struct err *err)
{
    struct releasing *r = ctx;
    struct hash hash;
    int64_t round;
    TRY(store_round_create_rollback(store, 0, &round, err));
    TRY(store_round_finish(store, round, "released", "{}", NULL, r->release.version, err));
    hash_bytes(r->content, strlen(r->content), &hash);
    hash_hex(&hash, r->sha256);
    r->release.round = round;
    r->release.sha256 = r->sha256;
    r->release.base_set_sha256 = r->release.set_sha256 = r->sha256;
    r->release.manifest = "{}";
    r->release.size_bytes = (int64_t)strlen(r->content);
    r->release.created_ms = 1;
    return store_release_add(store, &r->release, r->content, strlen(r->content), err);
}

static inline void place_release(struct place *place, int64_t version, const char *plan)
{
    char content[32];
    snprintf(content, sizeof content, "patch %lld", (long long)version);
    struct releasing r = {.release = {.version = version,
                                      .base_version = version - 1,
                                      .parameters = 10,
                                      .plan = plan},
                          .content = content};
    assert_int_equal(place_apply(place, release_run, &r), STATUS_OK);
}

static inline enum status sign_run(struct store *store, void *ctx, struct err *err)
{
    int64_t version = *(int64_t *)ctx;
    struct stored_envelope row = {
        .version = version, .sequence = version, .expires_ms = INT64_MAX, .envelope = "{}"};
    TRY(envelopes_put(store, &row, err));
    return store_release_signed(store, version, err);
}

static inline void place_sign(struct place *place, int64_t version)
{
    assert_int_equal(place_apply(place, sign_run, &version), STATUS_OK);
}

#endif
