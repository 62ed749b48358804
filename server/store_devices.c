/* See store_devices.h. Health is not stored: it follows from when a device was last heard of and
 * how its last update went. */
#include "server/store_devices.h"
#include "api/base/clock.h"
#include "server/store_parts.h"
#include <stdio.h>
#include <string.h>

/* ?1: silent before this up-time */
#define HEALTH                                                                                     \
    "CASE WHEN seen_at<?1 THEN 'silent' WHEN outcome IN('failed','rolled_back') THEN 'failing' "   \
    "ELSE 'ok' END"
#define DEVICES                                                                                    \
    "SELECT id,class,channel,version,set_sha256,program,first_ms,last_ms,outcome,outcome_version," \
    "outcome_ms,reason,self_test,took_ms," HEALTH " FROM devices "

struct device_query {
    device_visit *visit;
    void *ctx;
};

static bool device_emit(void *ctx, struct db_row *r)
{
    const struct device_query *query = ctx;
    struct device device = {
        .id = db_row_text(r, 0),
        .class_id = db_row_text(r, 1),
        .channel = db_row_text(r, 2),
        .version = db_row_int(r, 3),
        .set_sha256 = db_row_text(r, 4),
        .program = db_row_text(r, 5),
        .first_ms = db_row_int(r, 6),
        .last_ms = db_row_int(r, 7),
        .outcome = db_row_text(r, 8),
        .outcome_version = db_row_int(r, 9),
        .outcome_ms = db_row_int(r, 10),
        .reason = db_row_text(r, 11),
        .self_test = db_row_text(r, 12),
        .took_ms = db_row_int(r, 13),
        .health = db_row_text(r, 14),
    };
    return query->visit(query->ctx, &device);
}

enum status store_devices(struct store *store, const struct device_filter *filter,
                          device_visit *visit, void *ctx, struct err *err)
{
    struct device_query query = {visit, ctx};
    enum status status;
    if (filter->version < 0)
        status = store_select(store, err, device_emit, &query,
                              DEVICES "WHERE id>?2 AND (?3 IS NULL OR " HEALTH "=?3) "
                                      "AND (?5 IS NULL OR channel=?5) ORDER BY id LIMIT ?4",
                              "issis", filter->silent_before, filter->after, filter->health,
                              (int64_t)filter->limit, filter->channel);
    else
        status = store_select(store, err, device_emit, &query,
                              DEVICES "WHERE version=?5 AND id>?2 AND (?3 IS NULL OR " HEALTH
                                      "=?3) AND (?6 IS NULL OR channel=?6) ORDER BY id LIMIT ?4",
                              "issiis", filter->silent_before, filter->after, filter->health,
                              (int64_t)filter->limit, filter->version, filter->channel);
    return store_list_status(status);
}

enum status store_device(struct store *store, const char *id, int64_t silent_before,
                         device_visit *visit, void *ctx, struct err *err)
{
    struct device_query query = {visit, ctx};
    enum status status = store_select(store, err, device_emit, &query, DEVICES "WHERE id=?2", "is",
                                      silent_before, id);
    if (status != STATUS_NOT_FOUND)
        return status;
    return err_set(err, status, "there is no device \"%.64s\"", id);
}

static bool live_emit(void *ctx, struct db_row *r)
{
    const struct device_query *query = ctx;
    struct device device = {.id = db_row_text(r, 0), .channel = db_row_text(r, 1)};
    return query->visit(query->ctx, &device);
}

enum status store_devices_live(struct store *store, int64_t silent_before, device_visit *visit,
                               void *ctx, struct err *err)
{
    struct device_query query = {visit, ctx};
    return store_list_status(store_select(store, err, live_emit, &query,
                                          "SELECT id,channel FROM devices WHERE seen_at>=?", "i",
                                          silent_before));
}

struct group_query {
    device_group_visit *visit;
    void *ctx;
};

static bool group_emit(void *ctx, struct db_row *r)
{
    const struct group_query *query = ctx;
    struct device_group group = {.channel = db_row_text(r, 0),
                                 .version = db_row_int(r, 1),
                                 .health = db_row_text(r, 2),
                                 .devices = db_row_int(r, 3)};
    return query->visit(query->ctx, &group);
}

enum status store_device_groups(struct store *store, int64_t silent_before,
                                device_group_visit *visit, void *ctx, struct err *err)
{
    struct group_query query = {visit, ctx};
    return store_list_status(store_select(store, err, group_emit, &query,
                                          "SELECT channel,version," HEALTH
                                          ",count(*) FROM devices GROUP BY 1,2,3 ORDER BY 2,1,3",
                                          "i", silent_before));
}

static bool standing_take(void *ctx, struct db_row *r)
{
    struct device_standing *out = ctx;
    snprintf(out->channel, sizeof out->channel, "%s", db_row_text(r, 0));
    out->fresh = db_row_int(r, 1) != 0;
    return false;
}

enum status store_device_standing(struct store *store, const char *id, int64_t version,
                                  int64_t seen_after, struct device_standing *out, struct err *err)
{
    *out = (struct device_standing){.channel = "stable"};
    return store_list_status(
        store_select(store, err, standing_take, out,
                     "SELECT channel, version=? AND seen_at>=? FROM devices WHERE id=?", "iis",
                     version, seen_after, id));
}

static bool offered_take(void *ctx, struct db_row *r)
{
    (void)r;
    *(bool *)ctx = true;
    return false;
}

enum status store_device_offered(struct store *store, const char *id, int64_t release, bool *out,
                                 struct err *err)
{
    *out = false;
    return store_list_status(store_select(store, err, offered_take, out,
                                          "SELECT 1 FROM offers WHERE version=? AND device=?", "is",
                                          release, id));
}

/* ---- jobs ---- */

/* Whatever was offered up to the version that it has is applied. */
static enum status offers_apply(struct store *store, const char *id, int64_t version,
                                struct err *err)
{
    return db_change(
        store->writer, err,
        "UPDATE offers SET state='applied' WHERE device=? AND version<=? AND state<>'applied'",
        "si", id, version);
}

enum status store_device_put(struct store *store, const struct device *device, struct err *err)
{
    TRY(db_change(
        store->writer, err,
        "INSERT INTO devices(id,class,channel,version,set_sha256,program,first_ms,last_ms,"
        "seen_at) VALUES(?1,?2,coalesce(?3,'stable'),max(?4,0),?5,?6,?7,?7,?8) "
        "ON CONFLICT(id) DO UPDATE SET class=coalesce(?2,class),"
        "channel=coalesce(?3,channel), version=CASE WHEN ?4<0 THEN version ELSE ?4 END,"
        "set_sha256=coalesce(?5,set_sha256), program=coalesce(?6,program), last_ms=?7,"
        "seen_at=?8",
        "sssissii", device->id, device->class_id, device->channel, device->version,
        device->set_sha256, device->program, clock_wall_ms(), store_uptime_ms(store)));
    if (device->version >= 0)
        TRY(offers_apply(store, device->id, device->version, err));
    return store_uptime_keep(store, err);
}

enum status store_device_ask(struct store *store, const char *id, int64_t version, int64_t release,
                             struct err *err)
{
    TRY(store_device_put(store, &(struct device){.id = id, .version = version}, err));
    if (release == 0)
        return STATUS_OK;
    return db_change(store->writer, err, "INSERT OR IGNORE INTO offers VALUES(?,?,?,'offered')",
                     "isi", release, id, store_uptime_ms(store));
}

/* A report on a release counts for its rollout, also from a device that it was not offered to. */
static enum status offer_report(struct store *store, const struct device *d, struct err *err)
{
    const char *state = strcmp(d->outcome, "applied") == 0 ? "applied" : "failed";
    return db_change(store->writer, err,
                     "INSERT INTO offers SELECT version,?2,?3,?4 FROM releases WHERE version=?1 "
                     "AND state<>'superseded' "
                     "ON CONFLICT(version,device) DO UPDATE SET state=excluded.state",
                     "isis", d->outcome_version, d->id, store_uptime_ms(store), state);
}

enum status store_device_feedback(struct store *store, const struct device *device, struct err *err)
{
    int64_t known = 0;
    bool applied = strcmp(device->outcome, "applied") == 0;
    enum status status =
        db_int(store->writer, err, &known, "SELECT version FROM releases WHERE version=?", "i",
               device->outcome_version);
    TRY(store_one_status(status, "release", device->outcome_version, err));
    struct device seen = {.id = device->id,
                          .version = applied ? device->outcome_version : INT64_C(-1)};
    TRY(store_device_put(store, &seen, err));
    TRY(offer_report(store, device, err));
    return db_change(store->writer, err,
                     "UPDATE devices SET outcome=?, outcome_version=?, outcome_ms=?, reason=?,"
                     "self_test=?, took_ms=? WHERE id=?",
                     "siissis", device->outcome, device->outcome_version, clock_wall_ms(),
                     device->reason, device->self_test, device->took_ms, device->id);
}
