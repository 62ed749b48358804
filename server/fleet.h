/* The fleet's keeper: a thread that moves rollouts along (rollout.h decides, the store remembers)
 * and removes uploads whose time is over, once a second and whenever it is woken. It also says what
 * a device may take. */
#ifndef CDCCA_FLEET_H
#define CDCCA_FLEET_H

#include "server/events.h"
#include "server/store.h"

struct fleet;

struct fleet_config {
    struct store *store;
    int64_t silent_ms; /* a device not heard of for so long is silent, after an offer an error */
    int64_t retain_ms; /* uploads of rounds that are over stay that long; 0: for good */
    const char *data_dir;
    struct events *events;        /* or NULL */
    void (*on_change)(void *ctx); /* a rollout has moved; called by the keeper */
    void *ctx;
};

enum status fleet_create(const struct fleet_config *config, struct fleet **out, struct err *err);
enum status fleet_run(struct fleet *fleet, struct err *err);
void fleet_wake(struct fleet *fleet);
void fleet_stop(struct fleet *fleet);    /* ends the thread; the rest goes on answering */
void fleet_destroy(struct fleet *fleet); /* NULL is fine */

/* Devices heard of before this up-time are silent. */
int64_t fleet_silent_before(const struct fleet *fleet);
/* A device that asked since this up-time with the same version need not be written down again. */
int64_t fleet_seen_after(const struct fleet *fleet);
/* The newest version that this device may have: in a stage of a rolling release, or else the newest
 * that is complete; 0: the factory's. id NULL: someone who is not known, and so is in no stage but
 * the last. */
enum status fleet_target(const struct fleet *fleet, const char *id, const char *channel,
                         int64_t *version, struct err *err);
/* Counts of a release, from its offers or, once superseded, from its row. */
enum status fleet_counts(const struct fleet *fleet, const struct release *release,
                         struct rollout_counts *out, struct err *err);

#endif
