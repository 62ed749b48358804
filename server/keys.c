/* See keys.h: first the folder, then what a running service holds of it. */
#include "server/keys.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { KEYS_PATH = 4096 };
#define KEYS_LIFE_MS (INT64_C(180) * 24 * 60 * 60 * 1000)

static const char *const role_names[] = {[KEYS_ROOT] = "root", [KEYS_RELEASE] = "release"};

/* ---- files ---- */

static enum status document_path(const char *dir, int64_t version, char out[KEYS_PATH],
                                 struct err *err)
{
    char name[40];
    snprintf(name, sizeof name, "keys-%" PRId64 ".json", version);
    return io_join(out, KEYS_PATH, dir, name, err);
}

/* NAME.key, or NAME.next.key */
static enum status key_path(const char *dir, enum keys_role role, bool next, char out[KEYS_PATH],
                            struct err *err)
{
    char name[40];
    snprintf(name, sizeof name, "%s%s.key", role_names[role], next ? ".next" : "");
    return io_join(out, KEYS_PATH, dir, name, err);
}

/* The highest N of keys-N.json; 0: none. */
static int64_t document_newest(const char *dir)
{
    int64_t newest = 0;
    DIR *list = opendir(dir);
    if (!list)
        return 0;
    for (struct dirent *entry; (entry = readdir(list));) {
        char again[40];
        int64_t version =
            strncmp(entry->d_name, "keys-", 5) == 0 ? strtoll(entry->d_name + 5, NULL, 10) : 0;
        snprintf(again, sizeof again, "keys-%" PRId64 ".json", version);
        if (version > newest && strcmp(again, entry->d_name) == 0)
            newest = version;
    }
    closedir(list);
    return newest;
}

static enum status document_load(struct io *io, const char *dir, int64_t version,
                                 struct keyring *out, struct err *err)
{
    char path[KEYS_PATH];
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    TRY(document_path(dir, version, path, err));
    enum status status = io_read_file(io, path, &text, err);
    if (status == STATUS_OK)
        status = keyring_open_own(text.data, text.len, out, err);
    buf_free(&text);
    if (status == STATUS_OK && out->version == version)
        return STATUS_OK;
    if (status == STATUS_OK)
        err_set(err, STATUS_CORRUPT, "it holds document %" PRId64, out->version);
    err_prefix(err, "%s", path);
    bool ours = status == STATUS_NOT_FOUND || status == STATUS_NO_MEMORY || status == STATUS_IO;
    return ours ? status : STATUS_CORRUPT;
}

static enum status current_load(struct io *io, const char *dir, struct keyring *out,
                                struct err *err)
{
    int64_t newest = document_newest(dir);
    if (newest)
        return document_load(io, dir, newest, out, err);
    return err_set(err, STATUS_NOT_FOUND,
                   "%s holds no key document; cdcca-cloud keys init makes one", dir);
}

static enum status document_seal(const struct keyring *keyring, const struct sign_key *signer,
                                 const struct sign_key *second, struct buf *out, struct err *err)
{
    struct buf payload = {.max = LIMIT_ENVELOPE_BYTES};
    struct envelope envelope = {.signatures = 0};
    enum status status = keyring_encode(keyring, &payload, err);
    if (status == STATUS_OK)
        status = envelope_init(&envelope, ENVELOPE_KEYS, payload.data, payload.len, err);
    if (status == STATUS_OK)
        status = envelope_sign(&envelope, signer, err);
    if (status == STATUS_OK && second)
        status = envelope_sign(&envelope, second, err);
    if (status == STATUS_OK)
        status = envelope_encode(&envelope, out, err);
    envelope_free(&envelope);
    buf_free(&payload);
    return status;
}

/* Puts the keyring into force. */
static enum status document_write(struct io *io, const char *dir, struct keyring *keyring,
                                  const struct sign_key *signer, const struct sign_key *second,
                                  struct err *err)
{
    char path[KEYS_PATH];
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    keyring->created_ms = clock_wall_ms();
    keyring->expires_ms = keyring->created_ms + KEYS_LIFE_MS;
    TRY(document_path(dir, keyring->version, path, err));
    enum status status = document_seal(keyring, signer, second, &text, err);
    if (status == STATUS_OK)
        status = io_write_file(io, path, text.data, text.len, err);
    buf_free(&text);
    return status;
}

static enum status root_public_write(struct io *io, const char *dir, const struct keyring *keyring,
                                     struct err *err)
{
    char path[KEYS_PATH];
    TRY(io_join(path, sizeof path, dir, "root.pub", err));
    return sign_public_save(io, path, &keyring->root.key[0], err);
}

/* ---- changing the folder ---- */

/* Held through a change; ends with the descriptor. */
static enum status folder_lock(const char *dir, int *fd, struct err *err)
{
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return io_error(err, "open", dir, errno);
    if (flock(*fd, LOCK_EX) == 0)
        return STATUS_OK;
    int reason = errno;
    close(*fd);
    return io_error(err, "lock", dir, reason);
}

/* A key that waits for its document goes to its place when the document is there, and away when it
 * never came. */
static enum status waiting_settle(struct io *io, const char *dir, enum keys_role role,
                                  const struct keyring *now, struct err *err)
{
    char next[KEYS_PATH], path[KEYS_PATH];
    struct sign_key key;
    const struct keyring_role *in_force = role == KEYS_ROOT ? &now->root : &now->release;
    TRY(key_path(dir, role, true, next, err));
    TRY(key_path(dir, role, false, path, err));
    if (!io_exists(next))
        return STATUS_OK;
    TRY(sign_key_load(io, next, &key, err)); /* what cannot be read may be the one in force */
    bool wanted = keyring_role_has(in_force, &key.public);
    sign_forget(&key);
    if (wanted ? io->rename(io, next, path) != 0 : io->unlink(io, next) != 0)
        return io_error(err, wanted ? "rename" : "remove", next, errno);
    return STATUS_OK;
}

static enum status folder_settle(struct io *io, const char *dir, const struct keyring *now,
                                 struct err *err)
{
    TRY(waiting_settle(io, dir, KEYS_ROOT, now, err));
    TRY(waiting_settle(io, dir, KEYS_RELEASE, now, err));
    return root_public_write(io, dir, now, err);
}

static enum status key_make(struct io *io, const char *dir, enum keys_role role, bool next,
                            struct sign_key *out, struct err *err)
{
    char path[KEYS_PATH];
    TRY(key_path(dir, role, next, path, err));
    TRY(sign_generate(out, err));
    return sign_key_save(io, path, out, err);
}

/* Keys without a document are of no use to anyone: an earlier try was cut off. */
static enum status make_locked(struct io *io, const char *dir, struct err *err)
{
    struct sign_key root = {.secret = {0}}, release = {.secret = {0}};
    struct keyring first = {.version = 1, .root.count = 1, .release.count = 1};
    if (document_newest(dir))
        return err_set(err, STATUS_CONFLICT, "%s holds keys already", dir);
    enum status status = key_make(io, dir, KEYS_ROOT, false, &root, err);
    if (status == STATUS_OK)
        status = key_make(io, dir, KEYS_RELEASE, false, &release, err);
    first.root.key[0] = root.public;
    first.release.key[0] = release.public;
    if (status == STATUS_OK)
        status = root_public_write(io, dir, &first, err);
    if (status == STATUS_OK)
        status = document_write(io, dir, &first, &root, NULL, err);
    sign_forget(&root);
    sign_forget(&release);
    return status;
}

enum status keys_make(struct io *io, const char *dir, struct err *err)
{
    int lock;
    TRY(io_make_dirs(io, dir, err));
    TRY(folder_lock(dir, &lock, err));
    enum status status = make_locked(io, dir, err);
    close(lock);
    return status;
}

/* root.key, when it is in force. */
static enum status root_load(struct io *io, const char *dir, const struct keyring *now,
                             struct sign_key *out, struct err *err)
{
    char path[KEYS_PATH];
    TRY(key_path(dir, KEYS_ROOT, false, path, err));
    TRY(sign_key_load(io, path, out, err));
    if (keyring_role_has(&now->root, &out->public))
        return STATUS_OK;
    sign_forget(out);
    return err_set(err, STATUS_REFUSED, "%s is not the root key in force", path);
}

static enum status rotate_locked(struct io *io, const char *dir, enum keys_role role,
                                 struct err *err)
{
    struct sign_key root = {.secret = {0}}, fresh = {.secret = {0}};
    struct keyring next;
    TRY(current_load(io, dir, &next, err));
    TRY(folder_settle(io, dir, &next, err));
    TRY(root_load(io, dir, &next, &root, err));
    enum status status = key_make(io, dir, role, true, &fresh, err);
    struct keyring_role *changed = role == KEYS_ROOT ? &next.root : &next.release;
    *changed = (struct keyring_role){.key = {fresh.public}, .count = 1};
    next.version++;
    if (status == STATUS_OK)
        status = document_write(io, dir, &next, &root, role == KEYS_ROOT ? &fresh : NULL, err);
    if (status == STATUS_OK)
        status = folder_settle(io, dir, &next, err);
    sign_forget(&root);
    sign_forget(&fresh);
    return status;
}

enum status keys_rotate(struct io *io, const char *dir, enum keys_role role, struct err *err)
{
    int lock;
    TRY(folder_lock(dir, &lock, err));
    enum status status = rotate_locked(io, dir, role, err);
    close(lock);
    return status;
}

static enum status renew_locked(struct io *io, const char *dir, struct err *err)
{
    struct sign_key root;
    struct keyring next;
    TRY(current_load(io, dir, &next, err));
    TRY(root_load(io, dir, &next, &root, err));
    next.version++;
    enum status status = document_write(io, dir, &next, &root, NULL, err);
    sign_forget(&root);
    return status;
}

/* ---- what a running service holds ---- */

struct keys {
    struct io *io;
    char dir[KEYS_PATH];
    pthread_mutex_t lock; /* guards everything below */
    struct keyring now;
    bool can_sign;
    struct sign_key release; /* when it can */
};

/* why: what keeps it from signing. */
static bool release_load(const struct keys *keys, const struct keyring *now, struct sign_key *out,
                         struct err *why)
{
    char path[KEYS_PATH];
    enum status status = key_path(keys->dir, KEYS_RELEASE, false, path, why);
    if (status == STATUS_OK)
        status = sign_key_load(keys->io, path, out, why);
    if (status == STATUS_OK && !keyring_role_has(&now->release, &out->public))
        status = err_set(why, STATUS_REFUSED, "%s is not a release key in force", path);
    if (status != STATUS_OK)
        sign_forget(out);
    return status == STATUS_OK;
}

enum status keys_reload(struct keys *keys, struct err *err)
{
    struct keyring now;
    struct err why = {0};
    struct sign_key release = {.secret = {0}};
    TRY(current_load(keys->io, keys->dir, &now, err));
    bool can_sign = release_load(keys, &now, &release, &why);
    pthread_mutex_lock(&keys->lock);
    bool changed = now.version != keys->now.version || can_sign != keys->can_sign;
    keys->now = now;
    keys->can_sign = can_sign;
    keys->release = release;
    pthread_mutex_unlock(&keys->lock);
    sign_forget(&release);
    if (changed)
        log_line(LOG_INFO, "keys", "key document %" PRId64 " is in force; %s%s", now.version,
                 can_sign ? "releases are signed here" : "releases wait for cdcca-cloud sign: ",
                 why.text);
    return STATUS_OK;
}

/* A rotation that was cut off after its document is finished first. */
static enum status folder_open(struct keys *keys, struct err *err)
{
    struct keyring now;
    int lock;
    TRY(current_load(keys->io, keys->dir, &now, err));
    TRY(folder_lock(keys->dir, &lock, err));
    enum status status = current_load(keys->io, keys->dir, &now, err);
    if (status == STATUS_OK)
        status = folder_settle(keys->io, keys->dir, &now, err);
    close(lock);
    TRY(status);
    return keys_reload(keys, err);
}

enum status keys_open(struct io *io, const char *dir, struct keys **out, struct err *err)
{
    struct keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    keys->io = io;
    pthread_mutex_init(&keys->lock, NULL);
    enum status status = STATUS_OK;
    if (snprintf(keys->dir, sizeof keys->dir, "%s", dir) >= (int)sizeof keys->dir)
        status = err_set(err, STATUS_USAGE, "the keys folder's name is too long");
    if (status == STATUS_OK)
        status = folder_open(keys, err);
    if (status != STATUS_OK) {
        keys_close(keys);
        return status;
    }
    *out = keys;
    return STATUS_OK;
}

void keys_close(struct keys *keys)
{
    if (!keys)
        return;
    sign_forget(&keys->release);
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

enum status keys_renew(struct keys *keys, struct err *err)
{
    struct keyring now;
    char root[KEYS_PATH];
    int lock;
    keys_current(keys, &now);
    TRY(key_path(keys->dir, KEYS_ROOT, false, root, err));
    if (clock_wall_ms() < now.created_ms + (now.expires_ms - now.created_ms) / 2 ||
        !io_exists(root))
        return STATUS_OK;
    TRY(folder_lock(keys->dir, &lock, err));
    enum status status = renew_locked(keys->io, keys->dir, err);
    close(lock);
    TRY(status);
    return keys_reload(keys, err);
}

void keys_current(struct keys *keys, struct keyring *out)
{
    pthread_mutex_lock(&keys->lock);
    *out = keys->now;
    pthread_mutex_unlock(&keys->lock);
}

void keys_root(struct keys *keys, struct sign_public *out)
{
    struct keyring now;
    keys_current(keys, &now);
    *out = now.root.key[0];
}

enum status keys_document(struct keys *keys, int64_t version, struct buf *out, struct err *err)
{
    struct keyring now;
    char path[KEYS_PATH];
    keys_current(keys, &now);
    if (version > now.version)
        return err_set(err, STATUS_NOT_FOUND, "there is no key document %" PRId64, version);
    TRY(document_path(keys->dir, version ? version : now.version, path, err));
    return io_read_file(keys->io, path, out, err);
}

bool keys_can_sign(struct keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    bool can = keys->can_sign;
    pthread_mutex_unlock(&keys->lock);
    return can;
}

enum status keys_sign(struct keys *keys, struct envelope *envelope, struct err *err)
{
    pthread_mutex_lock(&keys->lock);
    enum status status = keys->can_sign
                             ? envelope_sign(envelope, &keys->release, err)
                             : err_set(err, STATUS_REFUSED, "there is no release key to sign with");
    pthread_mutex_unlock(&keys->lock);
    return status;
}

enum status keys_verify(struct keys *keys, const struct envelope *envelope, struct err *err)
{
    struct keyring now;
    keys_current(keys, &now);
    return envelope_verify(envelope, now.release.key, now.release.count, err);
}
