/* See schema.h. PRAGMA user_version counts the steps that a database has had. Times ending in _ms
 * are wall-clock; those ending in _at count the store's up-time (store.h), which neither jumps nor
 * runs while the service is down. */
#include "server/schema.h"
#include <stdio.h>

static const char *const steps[] = {
    "CREATE TABLE rounds("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, cause TEXT NOT NULL,"
    "  settings TEXT NOT NULL, report TEXT, detail TEXT, created_ms INTEGER NOT NULL,"
    "  started_ms INTEGER NOT NULL DEFAULT 0, finished_ms INTEGER NOT NULL DEFAULT 0,"
    "  uploads INTEGER NOT NULL DEFAULT 0, instances INTEGER NOT NULL DEFAULT 0,"
    "  version INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE uploads("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, sha256 TEXT NOT NULL UNIQUE, key TEXT,"
    "  device TEXT NOT NULL, received_ms INTEGER NOT NULL, base_version INTEGER NOT NULL,"
    "  instances INTEGER NOT NULL, tokens INTEGER NOT NULL, size_bytes INTEGER NOT NULL,"
    "  round INTEGER REFERENCES rounds(id));"
    "CREATE UNIQUE INDEX uploads_key ON uploads(device, key) WHERE key IS NOT NULL;"
    "CREATE INDEX uploads_round ON uploads(round);"
    "CREATE TABLE releases("
    "  version INTEGER PRIMARY KEY, base_version INTEGER NOT NULL,"
    "  round INTEGER NOT NULL REFERENCES rounds(id), size_bytes INTEGER NOT NULL,"
    "  parameters INTEGER NOT NULL, created_ms INTEGER NOT NULL, sha256 TEXT NOT NULL,"
    "  base_set_sha256 TEXT NOT NULL, set_sha256 TEXT NOT NULL, manifest TEXT NOT NULL);",

    /* The fleet: devices, rollouts, what was offered to whom, rollbacks, squashed patches, and the
     * files that were to go. Releases from before are everyone's. */
    "ALTER TABLE rounds ADD COLUMN target INTEGER NOT NULL DEFAULT -1;"
    "ALTER TABLE releases ADD COLUMN state TEXT NOT NULL DEFAULT 'complete';"
    "ALTER TABLE releases ADD COLUMN plan TEXT NOT NULL DEFAULT '100%';"
    "ALTER TABLE releases ADD COLUMN stage INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE releases ADD COLUMN stage_at INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE releases ADD COLUMN detail TEXT;"
    "ALTER TABLE releases ADD COLUMN tensors TEXT;"
    "ALTER TABLE releases ADD COLUMN offered INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE releases ADD COLUMN applied INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE releases ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX releases_state ON releases(state, version);"
    "CREATE INDEX uploads_new ON uploads(id, instances) WHERE round IS NULL;"
    "CREATE INDEX uploads_instances ON uploads(instances);"
    "CREATE TABLE devices("
    "  id TEXT PRIMARY KEY, class TEXT, channel TEXT NOT NULL DEFAULT 'stable',"
    "  version INTEGER NOT NULL DEFAULT 0, set_sha256 TEXT, program TEXT,"
    "  first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, seen_at INTEGER NOT NULL,"
    "  outcome TEXT, outcome_version INTEGER NOT NULL DEFAULT 0,"
    "  outcome_ms INTEGER NOT NULL DEFAULT 0, reason TEXT, self_test TEXT,"
    "  took_ms INTEGER NOT NULL DEFAULT -1) WITHOUT ROWID;"
    "CREATE INDEX devices_version ON devices(version, id);"
    "CREATE TABLE offers("
    "  version INTEGER NOT NULL, device TEXT NOT NULL, offered_at INTEGER NOT NULL,"
    "  state TEXT NOT NULL, PRIMARY KEY(version, device)) WITHOUT ROWID;"
    "CREATE INDEX offers_device ON offers(device);"
    "CREATE TABLE squashes("
    "  base_version INTEGER NOT NULL, version INTEGER NOT NULL, size_bytes INTEGER NOT NULL,"
    "  sha256 TEXT NOT NULL, manifest TEXT NOT NULL, used_at INTEGER NOT NULL,"
    "  stored INTEGER NOT NULL, PRIMARY KEY(base_version, version)) WITHOUT ROWID;"
    "CREATE TABLE doomed(sha256 TEXT PRIMARY KEY) WITHOUT ROWID;"
    "CREATE TABLE uptime(id INTEGER PRIMARY KEY CHECK(id=1), ms INTEGER NOT NULL);"
    "INSERT INTO uptime VALUES(1,0);",

    /* Signed manifests (envelopes.h). What has none is offered to no one. */
    "CREATE TABLE IF NOT EXISTS envelopes("
    "  version INTEGER PRIMARY KEY REFERENCES releases(version), sequence INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL, keys INTEGER NOT NULL, envelope TEXT, waiting TEXT);"
    "UPDATE releases SET state='unsigned' WHERE NOT EXISTS(SELECT 1 FROM envelopes e WHERE "
    "e.version=releases.version AND e.envelope IS NOT NULL);",

    /* Maps of rounds (store_maps.h); one that shows an upload goes with it. */
    "CREATE TABLE maps(round INTEGER PRIMARY KEY REFERENCES rounds(id), map TEXT NOT NULL);"
    "CREATE TRIGGER uploads_unmap AFTER DELETE ON uploads WHEN OLD.round IS NOT NULL"
    "  BEGIN DELETE FROM maps WHERE round=OLD.round; END;"
    "CREATE TRIGGER uploads_return AFTER UPDATE OF round ON uploads WHEN OLD.round IS NOT NULL"
    "  BEGIN DELETE FROM maps WHERE round=OLD.round; END;",

    /* Uploads' bytes, which were files before (store_import.c). */
    "CREATE TABLE blobs("
    "  id INTEGER PRIMARY KEY REFERENCES uploads(id) ON DELETE CASCADE, data BLOB NOT NULL);"
    "DROP TABLE doomed;",
};
enum { STEPS = sizeof steps / sizeof *steps };

static enum status step_take(struct db *db, int64_t step, struct err *err)
{
    TRY(db_exec(db, steps[step], err));
    char count[48];
    snprintf(count, sizeof count, "PRAGMA user_version=%lld", (long long)step + 1);
    return db_exec(db, count, err);
}

static enum status version_read(struct db *db, int64_t *version, struct err *err)
{
    TRY(db_int(db, err, version, "PRAGMA user_version", ""));
    if (*version <= STEPS)
        return STATUS_OK;
    return err_set(err, STATUS_UNSUPPORTED,
                   "the database has schema %lld; this program knows up to %d", (long long)*version,
                   STEPS);
}

enum status schema_check(struct db *db, struct err *err)
{
    int64_t version;
    return version_read(db, &version, err);
}

enum status schema_ensure(struct db *db, struct err *err)
{
    int64_t version;
    TRY(version_read(db, &version, err));
    if (version == STEPS)
        return STATUS_OK;
    TRY(db_exec(db, "BEGIN IMMEDIATE", err));
    enum status status = STATUS_OK;
    for (; version < STEPS && status == STATUS_OK; version++)
        status = step_take(db, version, err);
    if (status == STATUS_OK)
        status = db_exec(db, "COMMIT", err);
    if (status != STATUS_OK)
        db_exec(db, "ROLLBACK", NULL);
    return status;
}
