/* The store's signed manifests: per release the envelope that devices get and, where the release
 * key is kept apart, the manifest that waits for a signature. A release without an envelope is
 * unsigned, and not listed to devices. sequence and expires_ms are those of the newest manifest
 * made for the release, signed or waiting. */
#ifndef CDCCA_ENVELOPES_H
#define CDCCA_ENVELOPES_H

#include "server/store.h"

struct stored_envelope {
    int64_t version, sequence, expires_ms;
    int64_t keys;         /* version of the key document when it was made */
    const char *envelope; /* signed; NULL: none yet */
    const char *waiting;  /* without signatures; NULL: nothing waits */
};

/* For jobs (store.h). The next sequence: above every one ever given out. */
enum status envelopes_sequence(struct store *store, int64_t *out, struct err *err);
/* With `waiting`, the envelope that devices get stays; with `envelope`, nothing waits any more. */
enum status envelopes_put(struct store *store, const struct stored_envelope *envelope,
                          struct err *err);
/* Puts the signature's envelope where `waiting` still waits. CONFLICT: it does not. */
enum status envelopes_settle(struct store *store, int64_t version, const char *waiting,
                             const char *envelope, struct err *err);

/* Reading; visitors as in store.h. */
typedef bool envelope_visit(void *ctx, const struct stored_envelope *envelope);
/* NOT_FOUND: no such release, or nothing was ever made for it. */
enum status envelopes_get(struct store *store, int64_t version, envelope_visit *visit, void *ctx,
                          struct err *err);
/* What waits, the newest release first: in that order a device never meets a manifest older than
 * the one before it. */
enum status envelopes_waiting(struct store *store, int limit, envelope_visit *visit, void *ctx,
                              struct err *err);
/* Is there a release whose newest manifest expires before that time, was made under another key
 * document, was never made, or, where can_sign, waits for a signature? */
enum status envelopes_due(struct store *store, int64_t before_ms, int64_t keys, bool can_sign,
                          bool *due, struct err *err);

/* Made when the store is opened. */
extern const char envelopes_schema[];

#endif
