/* Releases in the store: a version's patch, its rollout (rollout.h), and patches that squash
 * several versions into one. Reads may be called from any thread; the functions marked so are for
 * jobs of store_apply. */
#ifndef CDCCA_STORE_RELEASES_H
#define CDCCA_STORE_RELEASES_H

#include "api/base/status.h"
#include "server/rollout.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

struct release {
    int64_t version, base_version, round, size_bytes, parameters, created_ms;
    const char *sha256, *base_set_sha256, *set_sha256;
    const char *manifest; /* cdcca.manifest/1 as it was first made */
    const char *plan;     /* of its rollout */
    const char *tensors;  /* JSON: bytes by tensor; NULL: not known */
    const char *state;    /* as rollout.h names them; NULL when added: it rolls at once */
    const char *detail;   /* why it is halted, or NULL */
    int64_t stage, stage_at;
    int64_t offered, applied, failed; /* once it is offered no more; before, store_release_counts */
};

typedef bool release_visit(void *ctx, const struct release *release);

/* Those that are signed (envelopes.h), ascending from after the version. */
enum status store_releases(struct store *store, int64_t after, int limit, release_visit *visit,
                           void *ctx, struct err *err);
/* Every one, ascending, signed or not. */
enum status store_releases_all(struct store *store, release_visit *visit, void *ctx,
                               struct err *err);
/* Newest first, versions below `before` (0: all). */
enum status store_releases_newest(struct store *store, int64_t before, int limit,
                                  release_visit *visit, void *ctx, struct err *err);
enum status store_release(struct store *store, int64_t version, release_visit *visit, void *ctx,
                          struct err *err);
/* The newest that is offered to everyone, and the newest that is rolling. STATUS_NOT_FOUND, without
 * text, when there is none. */
enum status store_release_in_state(struct store *store, enum rollout_state state,
                                   release_visit *visit, void *ctx, struct err *err);
/* Offered before silent_before (up-time) and not heard of: silent. `reached` stays 0. */
enum status store_release_counts(struct store *store, int64_t version, int64_t silent_before,
                                 struct rollout_counts *out, struct err *err);

/* ---- jobs ---- */

/* Patch and row; begins its rollout unless release->state says otherwise. */
enum status store_release_add(struct store *store, const struct release *release, const void *data,
                              size_t len, struct err *err);
/* Begins the rollout at the first stage; what was under way before it is superseded. */
enum status store_release_roll(struct store *store, int64_t version, struct err *err);
/* Its manifest is signed: it rolls, if that is what it waited for. */
enum status store_release_signed(struct store *store, int64_t version, struct err *err);
/* A stage or a state further, unless it is no longer rolling. */
enum status store_release_step(struct store *store, int64_t version,
                               const struct rollout_step *step, struct err *err);
/* STATUS_CONFLICT: neither rolling nor complete. */
enum status store_release_halt(struct store *store, int64_t version, const char *why,
                               struct err *err);
/* The stage begins anew and those that failed or were silent are offered it again.
 * STATUS_CONFLICT: not halted. */
enum status store_release_resume(struct store *store, int64_t version, struct err *err);
/* All after `target` are superseded: none is offered any more. */
enum status store_release_withdraw(struct store *store, int64_t target, struct err *err);

/* ---- squashed patches ---- */

struct squash {
    int64_t base_version, version, size_bytes;
    const char *sha256, *manifest;
    bool stored; /* its file is kept */
};
typedef bool squash_visit(void *ctx, const struct squash *squash);

/* STATUS_NOT_FOUND, without text: not made yet. */
enum status store_squash(struct store *store, int64_t base_version, int64_t version,
                         squash_visit *visit, void *ctx, struct err *err);
/* DIR/squashes/HEX */
enum status store_squash_path(const struct store *store, const char *sha256, char *out, size_t size,
                              struct err *err);
/* Jobs: file and row; the files used longest ago go until all take at most max_bytes. */
enum status store_squash_add(struct store *store, const struct squash *squash, const void *data,
                             size_t len, int64_t max_bytes, struct err *err);
enum status store_squash_use(struct store *store, int64_t base_version, int64_t version,
                             struct err *err);

#endif
