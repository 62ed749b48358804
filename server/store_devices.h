/* Devices in the store: who they are, what they run, when they were last heard of, and what became
 * of the release that they were offered. Reads may be called from any thread; jobs belong into
 * store_apply. */
#ifndef CDCCA_STORE_DEVICES_H
#define CDCCA_STORE_DEVICES_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

struct store;

struct device {
    const char *id;
    const char *class_id;      /* or NULL */
    const char *channel;       /* NULL when put: as it was, "stable" for a new one */
    const char *set_sha256;    /* of its parameters, or NULL */
    const char *program;       /* or NULL */
    int64_t version;           /* that it runs; below 0 when put: as it was */
    int64_t first_ms, last_ms; /* heard of: first and last */
    const char *outcome;       /* of its last update: applied, failed, rolled_back; or NULL */
    int64_t outcome_version, outcome_ms, took_ms; /* took_ms: below 0: not said */
    const char *reason, *self_test;               /* text; JSON; or NULL */
    const char *health;                           /* ok, failing (its last update), silent */
};
typedef bool device_visit(void *ctx, const struct device *device);

struct device_filter {
    const char *after;            /* ids behind this; "" for all */
    const char *health, *channel; /* or NULL */
    int64_t version;              /* below 0: any */
    int limit;
    int64_t silent_before; /* heard of last before this up-time: silent */
};
/* By id. */
enum status store_devices(struct store *store, const struct device_filter *filter,
                          device_visit *visit, void *ctx, struct err *err);
enum status store_device(struct store *store, const char *id, int64_t silent_before,
                         device_visit *visit, void *ctx, struct err *err);
/* Their ids and channels alone, of those heard of since silent_before. */
enum status store_devices_live(struct store *store, int64_t silent_before, device_visit *visit,
                               void *ctx, struct err *err);

struct device_group {
    const char *channel, *health;
    int64_t version, devices;
};
typedef bool device_group_visit(void *ctx, const struct device_group *group);
/* How many devices by channel, version and health. */
enum status store_device_groups(struct store *store, int64_t silent_before,
                                device_group_visit *visit, void *ctx, struct err *err);
/* What matters when a device asks for news: its channel, and whether it was heard of since
 * seen_after with that version. An unknown one is "stable" and not fresh. */
struct device_standing {
    char channel[65];
    bool fresh;
};
enum status store_device_standing(struct store *store, const char *id, int64_t version,
                                  int64_t seen_after, struct device_standing *out, struct err *err);
/* Is it on the record that this release was offered to the device? */
enum status store_device_offered(struct store *store, const char *id, int64_t release, bool *out,
                                 struct err *err);

/* ---- jobs ---- */

/* Says what it is; also that it was heard of. */
enum status store_device_put(struct store *store, const struct device *device, struct err *err);
/* It asked for what comes after a version, and (release not 0) is offered that release. */
enum status store_device_ask(struct store *store, const char *id, int64_t version, int64_t release,
                             struct err *err);
/* outcome, outcome_version, reason, self_test, took_ms. STATUS_NOT_FOUND: no such release. */
enum status store_device_feedback(struct store *store, const struct device *device,
                                  struct err *err);

#endif
