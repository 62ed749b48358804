/* The signer: gives each release its signed manifest, and signs all of them anew, in one
 * transaction and with new sequences, when half of their life is over or another key document is in
 * force. Where the release key is kept apart it prepares the manifests, and they wait
 * (envelopes.h). */
#ifndef CDCCA_SIGNER_H
#define CDCCA_SIGNER_H

#include "api/wire/manifest.h"
#include "server/keys.h"
#include "server/store.h"

struct signer;

struct signer_config {
    struct store *store;
    struct keys *keys;
    int64_t life_ms;              /* of a manifest */
    void (*on_signed)(void *ctx); /* something new is listed to devices; from any thread */
    void *ctx;
};

enum status signer_create(const struct signer_config *config, struct signer **out, struct err *err);
/* Starts the thread that signs anew. */
enum status signer_run(struct signer *signer, struct err *err);
void signer_destroy(struct signer *signer); /* stops it; NULL is fine */

/* For jobs: the release with its manifest, signed or waiting. Sets the manifest's sequence and
 * times, and the release's manifest while it is stored. */
enum status signer_add(struct signer *signer, struct store *store, struct release *release,
                       struct manifest *manifest, const void *patch, size_t len, struct err *err);

/* Another way to the version of the manifest, as a patch that squashes several: signed with the
 * sequence and times of that version's own manifest, which the manifest is given. Only looks at the
 * store; for any thread. REFUSED: the release key is kept apart; NOT_FOUND: the version is
 * unsigned.
 */
enum status signer_seal(struct signer *signer, struct manifest *manifest, struct buf *out,
                        struct err *err);

/* An envelope from elsewhere for the manifest of `version` that waits, in three steps: looked at,
 * committed by a job, told. */
struct signer_taking {
    int64_t version;
    struct buf waiting, text; /* the envelope that waits; the one with its signature */
};
/* REFUSED: not every signature is good and by a release key in force; CONFLICT: that manifest does
 * not wait. signer_taking_free in every case. */
enum status signer_take(struct signer *signer, int64_t version, const void *envelope, size_t len,
                        struct signer_taking *out, struct err *err);
/* A job's run; ctx: the taking. */
enum status signer_taking_run(struct store *store, void *ctx, struct err *err);
/* After the commit: devices may be told. */
void signer_taken(struct signer *signer);
void signer_taking_free(struct signer_taking *taking);

/* One look at what is due, as the thread does every second. */
enum status signer_check(struct signer *signer, struct err *err);

#endif
