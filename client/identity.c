/* See identity.h. */
#include "client/identity.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/secret.h"
#include "client/cloud.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- the name ---- */

static bool name_is_valid(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len >= 1 && len <= LIMIT_ID && name[len] == '\0';
}

static enum status name_check(const char *name, struct err *err)
{
    if (name_is_valid(name))
        return STATUS_OK;
    return err_set(err, STATUS_USAGE, "device id '%.80s': 1 to %d of A-Z a-z 0-9 . _ - are right",
                   name, LIMIT_ID);
}

/* DATA/file as text of at most size - 1 characters; empty when there is none. */
static void text_load(struct io *io, const char *data_dir, const char *file, char *out, size_t size)
{
    char path[PATH_MAX];
    struct buf text = {.max = size - 1};
    out[0] = '\0';
    if (io_join(path, sizeof path, data_dir, file, NULL) == STATUS_OK &&
        io_read_file(io, path, &text, NULL) == STATUS_OK)
        snprintf(out, size, "%.*s", (int)text.len, (const char *)text.data);
    buf_free(&text);
}

static enum status text_store(struct io *io, const char *data_dir, const char *file,
                              const char *text, struct err *err)
{
    char path[PATH_MAX];
    TRY(io_join(path, sizeof path, data_dir, file, err));
    return io_write_secret(io, path, text, strlen(text), err);
}

static enum status name_store(struct io *io, const char *data_dir, const char *name,
                              struct err *err)
{
    char path[PATH_MAX];
    TRY(io_join(path, sizeof path, data_dir, "device", err));
    return io_write_file(io, path, name, strlen(name), err);
}

enum status identity_name(struct io *io, const char *data_dir, const char *wanted,
                          char out[LIMIT_ID + 1], struct err *err)
{
    char seed[320], host[200] = "", hex[HASH_HEX];
    struct hash hash;
    if (wanted) {
        TRY(name_check(wanted, err));
        snprintf(out, LIMIT_ID + 1, "%s", wanted);
        return STATUS_OK;
    }
    text_load(io, data_dir, "device", out, LIMIT_ID + 1);
    if (name_is_valid(out))
        return STATUS_OK;
    gethostname(host, sizeof host - 1);
    snprintf(seed, sizeof seed, "%s %ld %" PRId64, host, (long)getpid(), clock_wall_ms());
    hash_bytes(seed, strlen(seed), &hash);
    hash_hex(&hash, hex);
    snprintf(out, LIMIT_ID + 1, "edge-%.12s", hex);
    return name_store(io, data_dir, out, err);
}

/* ---- enrolment ---- */

/* What an earlier try left, or a new one, on disk before it is used. */
static enum status nonce_get(struct io *io, const char *data_dir, char out[HASH_HEX],
                             struct err *err)
{
    struct hash nonce;
    text_load(io, data_dir, "enroll-nonce", out, HASH_HEX);
    if (hash_parse(out, &nonce))
        return STATUS_OK;
    secret_make(&nonce);
    hash_hex(&nonce, out);
    return text_store(io, data_dir, "enroll-nonce", out, err);
}

/* The first root key stays: whoever could name another could vouch for any update. */
static enum status root_key_store(struct io *io, const char *data_dir, const char *root_key,
                                  struct err *err)
{
    char path[PATH_MAX], stored[CLOUD_TOKEN];
    TRY(io_join(path, sizeof path, data_dir, "root.pub", err));
    text_load(io, data_dir, "root.pub", stored, sizeof stored);
    stored[strcspn(stored, "\r\n")] = '\0';
    if (stored[0] && root_key[0] && strcmp(stored, root_key) != 0)
        log_line(LOG_WARN, "enroll",
                 "the cloud names another root key; the one in %s stays, remove it to take the "
                 "cloud's",
                 path);
    if (stored[0] || !root_key[0])
        return STATUS_OK;
    return io_write_file(io, path, root_key, strlen(root_key), err);
}

/* The token last: with it the enrolment is over. */
static enum status answer_store(struct io *io, const char *data_dir,
                                const struct cloud_enrolment *answer, struct err *err)
{
    char path[PATH_MAX];
    TRY(name_store(io, data_dir, answer->device, err));
    TRY(root_key_store(io, data_dir, answer->root_key, err));
    TRY(text_store(io, data_dir, "token", answer->token, err));
    TRY(io_join(path, sizeof path, data_dir, "enroll-nonce", err));
    io->unlink(io, path);
    return STATUS_OK;
}

/* The name to ask for, "" for the cloud's choice. */
static enum status name_wanted(struct io *io, const struct enroll_options *options,
                               char out[LIMIT_ID + 1], struct err *err)
{
    if (options->device)
        return identity_name(io, options->data_dir, options->device, out, err);
    text_load(io, options->data_dir, "device", out, LIMIT_ID + 1);
    if (!name_is_valid(out))
        out[0] = '\0';
    return STATUS_OK;
}

static enum status enroll_ask(const struct enroll_options *options, const char *nonce,
                              const char *device, struct cloud_enrolment *out, struct err *err)
{
    struct cloud *cloud = NULL;
    struct cloud_config config = {
        .url = options->cloud_url, .device = device, .ca_file = options->ca_file};
    TRY(cloud_create(&config, &cloud, err));
    enum status status =
        cloud_enroll(cloud, options->code, device[0] ? device : NULL, nonce, out, err);
    cloud_destroy(cloud);
    if (status == STATUS_UNREACHABLE || status == STATUS_TIMEOUT || status == STATUS_PEER)
        err_set(err, status, "%s; the same command again is right, the code is not lost",
                err->text);
    return status;
}

enum status identity_enroll(struct io *io, const struct enroll_options *options,
                            char name[LIMIT_ID + 1], struct err *err)
{
    char nonce[HASH_HEX];
    struct cloud_enrolment answer;
    TRY(io_make_dirs(io, options->data_dir, err));
    TRY(name_wanted(io, options, name, err));
    TRY(nonce_get(io, options->data_dir, nonce, err));
    TRY(enroll_ask(options, nonce, name, &answer, err));
    TRY(name_check(answer.device, err));
    snprintf(name, LIMIT_ID + 1, "%s", answer.device);
    return answer_store(io, options->data_dir, &answer, err);
}
