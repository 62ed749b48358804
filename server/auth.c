/* See auth.h. A token is found by the first 16 digits of its SHA-256 and accepted when all of it is
 * equal, compared in constant time. */
#include "api/base/clock.h"
#include "api/base/io.h"
#include "api/base/secret.h"
#include "server/auth_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AUTH_SCHEMA = 1 };

static const char token_prefix[] = "cdcca_";

static const char schema[] =
    "CREATE TABLE tokens("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,"
    "  role TEXT NOT NULL, name TEXT NOT NULL, created_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE INDEX tokens_tag ON tokens(tag);"
    "CREATE INDEX tokens_name ON tokens(name);"
    "CREATE TABLE codes("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,"
    "  device TEXT, expires_ms INTEGER NOT NULL, uses INTEGER NOT NULL);"
    "CREATE INDEX codes_tag ON codes(tag);"
    "CREATE TABLE enrolments("
    "  code INTEGER NOT NULL REFERENCES codes(id) ON DELETE CASCADE, nonce TEXT NOT NULL,"
    "  device TEXT NOT NULL, token INTEGER NOT NULL, PRIMARY KEY(code, nonce));"
    "PRAGMA user_version=1;";

/* ---- open and close ---- */

static enum status schema_make(struct auth *auth, void *ctx, struct err *err)
{
    int64_t version = 0;
    (void)ctx;
    TRY(db_int(auth->writer, err, &version, "PRAGMA user_version", ""));
    if (version > AUTH_SCHEMA)
        return err_set(err, STATUS_UNSUPPORTED,
                       "the database of tokens has schema %lld; this program knows up to %d",
                       (long long)version, AUTH_SCHEMA);
    return version == AUTH_SCHEMA ? STATUS_OK : db_exec(auth->writer, schema, err);
}

/* The file, before SQLite makes one that others can read. What root makes belongs to the folder's
 * owner, who is to run the service. */
static enum status file_make(const char *dir, const char *path, struct err *err)
{
    struct stat folder;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return io_error(err, "open", path, errno);
    enum status status = STATUS_OK;
    if (geteuid() == 0 && stat(dir, &folder) == 0 && fchown(fd, folder.st_uid, folder.st_gid) != 0)
        status = io_error(err, "chown", path, errno);
    close(fd);
    return status;
}

static enum status auth_connect(struct auth *auth, const char *dir, struct err *err)
{
    char path[PATH_MAX];
    TRY(io_make_dirs(io_posix(), dir, err));
    TRY(io_join(path, sizeof path, dir, "auth.db", err));
    TRY(file_make(dir, path, err));
    TRY(db_open(path, true, &auth->writer, err));
    TRY(auth_apply(auth, schema_make, NULL, err));
    return db_open(path, false, &auth->reader, err);
}

enum status auth_open(const char *dir, struct auth **out, struct err *err)
{
    struct auth *auth = calloc(1, sizeof *auth);
    if (!auth)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    pthread_mutex_init(&auth->write_lock, NULL);
    pthread_mutex_init(&auth->read_lock, NULL);
    enum status status = auth_connect(auth, dir, err);
    if (status != STATUS_OK) {
        err_prefix(err, "data directory %s", dir);
        auth_close(auth);
        return status;
    }
    *out = auth;
    return STATUS_OK;
}

void auth_close(struct auth *auth)
{
    if (!auth)
        return;
    db_close(auth->reader);
    db_close(auth->writer);
    pthread_mutex_destroy(&auth->read_lock);
    pthread_mutex_destroy(&auth->write_lock);
    free(auth);
}

enum status auth_apply(struct auth *auth, auth_change *change, void *ctx, struct err *err)
{
    pthread_mutex_lock(&auth->write_lock);
    enum status status = db_exec(auth->writer, "BEGIN IMMEDIATE", err);
    if (status == STATUS_OK) {
        status = change(auth, ctx, err);
        if (status == STATUS_OK)
            status = db_exec(auth->writer, "COMMIT", err);
        if (status != STATUS_OK)
            db_exec(auth->writer, "ROLLBACK", NULL);
    }
    pthread_mutex_unlock(&auth->write_lock);
    return status;
}

/* ---- names, roles, prints ---- */

static const struct {
    unsigned role;
    const char *name;
} roles[] = {{ROLE_DEVICE, "device"}, {ROLE_OPERATOR, "operator"}, {ROLE_VIEWER, "viewer"}};

unsigned auth_role_parse(const char *name)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(roles[i].name, name) == 0)
            return roles[i].role;
    return 0;
}

const char *auth_role_name(unsigned role)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return "none";
}

bool auth_name_is_valid(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len >= 1 && len <= LIMIT_ID && name[len] == '\0';
}

void auth_print_make(const void *secret, size_t len, struct auth_print *out)
{
    struct hash hash;
    hash_bytes(secret, len, &hash);
    hash_hex(&hash, out->hex);
    snprintf(out->tag, sizeof out->tag, "%.*s", AUTH_TAG - 1, out->hex);
}

bool auth_print_equal(const struct auth_print *print, const char *hex)
{
    struct hash a, b;
    return hash_parse(print->hex, &a) && hash_parse(hex, &b) && hash_equal(&a, &b);
}

/* ---- who is it ---- */

enum status auth_header_parse(const char *header, struct hash *token, struct err *err)
{
    static const char scheme[] = "Bearer";
    size_t len = sizeof scheme - 1, prefix = sizeof token_prefix - 1;
    if (strncasecmp(header, scheme, len) != 0 || (header[len] != ' ' && header[len] != '\0'))
        return err_set(err, STATUS_UNAUTHENTICATED,
                       "Authorization is of another kind; right is \"Authorization: Bearer "
                       "TOKEN\"");
    const char *text = header + len + strspn(header + len, " ");
    if (strncmp(text, token_prefix, prefix) != 0 || !hash_parse(text + prefix, token))
        return err_set(err, STATUS_UNAUTHENTICATED,
                       "this is no token of this service: one is %s and 64 hexadecimal digits",
                       token_prefix);
    return STATUS_OK;
}

struct lookup {
    const struct auth_print *print;
    struct http_caller *caller;
    bool found;
};

static bool lookup_take(void *ctx, struct db_row *row)
{
    struct lookup *lookup = ctx;
    lookup->found = auth_print_equal(lookup->print, db_row_text(row, 0));
    if (!lookup->found)
        return true;
    lookup->caller->role = auth_role_parse(db_row_text(row, 1));
    snprintf(lookup->caller->name, sizeof lookup->caller->name, "%s", db_row_text(row, 2));
    return false;
}

enum status auth_identify(struct auth *auth, const char *header, struct http_caller *out,
                          struct err *err)
{
    struct hash token;
    struct auth_print print;
    struct lookup lookup = {.print = &print, .caller = out};
    TRY(auth_header_parse(header, &token, err));
    auth_print_make(token.bytes, sizeof token.bytes, &print);
    pthread_mutex_lock(&auth->read_lock);
    enum status status = db_select(auth->reader, err, lookup_take, &lookup,
                                   "SELECT hash,role,name FROM tokens WHERE tag=? AND "
                                   "(expires_ms=0 OR expires_ms>?)",
                                   "si", print.tag, clock_wall_ms());
    pthread_mutex_unlock(&auth->read_lock);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    if (!lookup.found)
        return err_set(err, STATUS_UNAUTHENTICATED,
                       "the token is unknown, expired or revoked; an operator makes another by "
                       "cdcca-cloud token, or a code for cdcca-edge enroll by cdcca-cloud "
                       "enroll-code");
    return STATUS_OK;
}

enum status auth_own_device(const struct http_request *request, const char *device, struct err *err)
{
    const struct http_caller *caller = &request->caller;
    if (caller->role != ROLE_DEVICE || strcmp(caller->name, device) == 0)
        return STATUS_OK;
    return err_set(err, STATUS_REFUSED,
                   "the token is that of device %s, which may act for itself alone, not for %.64s",
                   caller->name, device);
}

/* ---- tokens ---- */

enum status auth_insert(struct auth *auth, unsigned role, const char *name, int64_t expires_ms,
                        char token[AUTH_TOKEN], int64_t *id, struct err *err)
{
    struct hash secret;
    struct auth_print print;
    char hex[HASH_HEX];
    secret_make(&secret);
    hash_hex(&secret, hex);
    snprintf(token, AUTH_TOKEN, "%s%s", token_prefix, hex);
    auth_print_make(secret.bytes, sizeof secret.bytes, &print);
    TRY(db_change(
        auth->writer, err,
        "INSERT INTO tokens(tag,hash,role,name,created_ms,expires_ms) VALUES(?,?,?,?,?,?)",
        "ssssii", print.tag, print.hex, auth_role_name(role), name, clock_wall_ms(), expires_ms));
    if (id)
        *id = db_last_id(auth->writer);
    return STATUS_OK;
}

static bool role_take(void *ctx, struct db_row *row)
{
    *(unsigned *)ctx = auth_role_parse(db_row_text(row, 0));
    return false;
}

enum status auth_role_of(struct auth *auth, const char *name, unsigned *role, struct err *err)
{
    *role = 0;
    TRY(db_change(auth->writer, err, "DELETE FROM tokens WHERE expires_ms>0 AND expires_ms<=?", "i",
                  clock_wall_ms()));
    enum status status = db_select(auth->writer, err, role_take, role,
                                   "SELECT role FROM tokens WHERE name=? LIMIT 1", "s", name);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

struct change {
    unsigned role;
    const char *name;
    int64_t ms; /* to live, or to overlap */
    char *token;
};

static enum status add_run(struct auth *auth, void *ctx, struct err *err)
{
    struct change *change = ctx;
    unsigned role;
    TRY(auth_role_of(auth, change->name, &role, err));
    if (role)
        return err_set(err, STATUS_CONFLICT,
                       "%s has a token of role %s; \"token rotate %s\" makes a new one, \"token "
                       "revoke %s\" ends it",
                       change->name, auth_role_name(role), change->name, change->name);
    int64_t expires_ms = change->ms ? clock_wall_ms() + change->ms : 0;
    return auth_insert(auth, change->role, change->name, expires_ms, change->token, NULL, err);
}

enum status auth_token_add(struct auth *auth, unsigned role, const char *name, int64_t ttl_ms,
                           char token[AUTH_TOKEN], struct err *err)
{
    struct change change = {.role = role, .name = name, .ms = ttl_ms, .token = token};
    return auth_apply(auth, add_run, &change, err);
}

static enum status none_error(const char *name, struct err *err)
{
    return err_set(err, STATUS_NOT_FOUND, "%.64s has no token; \"token list\" shows who has", name);
}

static enum status rotate_run(struct auth *auth, void *ctx, struct err *err)
{
    struct change *change = ctx;
    unsigned role;
    int64_t until = clock_wall_ms() + change->ms;
    TRY(auth_role_of(auth, change->name, &role, err));
    if (!role)
        return none_error(change->name, err);
    TRY(db_change(auth->writer, err,
                  "UPDATE tokens SET expires_ms=?1 WHERE name=?2 AND (expires_ms=0 OR "
                  "expires_ms>?1)",
                  "is", until, change->name));
    return auth_insert(auth, role, change->name, 0, change->token, NULL, err);
}

enum status auth_token_rotate(struct auth *auth, const char *name, int64_t overlap_ms,
                              char token[AUTH_TOKEN], struct err *err)
{
    struct change change = {.name = name, .ms = overlap_ms, .token = token};
    return auth_apply(auth, rotate_run, &change, err);
}

static enum status revoke_run(struct auth *auth, void *ctx, struct err *err)
{
    const char *name = ((struct change *)ctx)->name;
    TRY(db_change(auth->writer, err, "DELETE FROM tokens WHERE name=?", "s", name));
    return db_changed(auth->writer) ? STATUS_OK : none_error(name, err);
}

enum status auth_token_revoke(struct auth *auth, const char *name, struct err *err)
{
    struct change change = {.name = name};
    return auth_apply(auth, revoke_run, &change, err);
}

struct listing {
    token_visit *visit;
    void *ctx;
};

static bool token_emit(void *ctx, struct db_row *row)
{
    struct listing *listing = ctx;
    struct token token = {.id = db_row_int(row, 0),
                          .name = db_row_text(row, 1),
                          .role = auth_role_parse(db_row_text(row, 2)),
                          .created_ms = db_row_int(row, 3),
                          .expires_ms = db_row_int(row, 4)};
    return listing->visit(listing->ctx, &token);
}

enum status auth_tokens(struct auth *auth, token_visit *visit, void *ctx, struct err *err)
{
    struct listing listing = {visit, ctx};
    pthread_mutex_lock(&auth->read_lock);
    enum status status = db_select(auth->reader, err, token_emit, &listing,
                                   "SELECT id,name,role,created_ms,expires_ms FROM tokens WHERE "
                                   "expires_ms=0 OR expires_ms>? ORDER BY name,id",
                                   "i", clock_wall_ms());
    pthread_mutex_unlock(&auth->read_lock);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
