/* Releases as a device takes them: the next one, its manifest, the key documents, its patch. */
#include "client/cloud_parts.h"
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

enum { CLOUD_PATCH = 96 }; /* a patch's path */

/* ---- releases ---- */

static enum status cloud_parse_release(const json *value, struct cloud_release *out,
                                       struct err *err)
{
    const char *hex, *set = NULL;
    struct cloud_release r = {0};
    TRY(json_get_int(value, "version", 1, INT64_MAX, &r.version, err));
    TRY(json_get_int(value, "base_version", 0, INT64_MAX, &r.base_version, err));
    TRY(json_get_int(value, "size", 1, LIMIT_DELTA_BYTES, &r.size, err));
    TRY(json_get_string(value, "sha256", HASH_HEX - 1, &hex, err));
    TRY(json_opt_string(value, "set_sha256", HASH_HEX - 1, &set, err));
    if (!hash_parse(hex, &r.patch) || (set && !hash_parse(set, &r.set_hash)))
        return err_set(err, STATUS_MALFORMED, "sha256 is no SHA-256 in lower-case hexadecimal");
    r.has_set_hash = set != NULL;
    *out = r;
    return STATUS_OK;
}

/* The entry of {"deltas": [...]} whose base is `after`. */
static enum status cloud_find_release(const json *root, int64_t after, struct cloud_release *out,
                                      struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "deltas", LIMIT_PAGE, &list, err));
    for (size_t i = 0; i < json_length(list); i++) {
        struct cloud_release release;
        TRY(cloud_parse_release(json_at(list, i), &release, err));
        if (release.base_version == after) {
            *out = release;
            return STATUS_OK;
        }
    }
    return err_set(err, STATUS_NOT_FOUND, "no release after version %" PRId64, after);
}

/* The list itself, asked for this device where the cloud knows what that is. */
static enum status cloud_list_releases(struct cloud *cloud, int64_t after, bool squash, int wait_s,
                                       struct buf *answer, struct err *err)
{
    char path[96 + LIMIT_ID];
    if (!cloud->knows_no_devices) {
        snprintf(path, sizeof path, "/deltas?after=%" PRId64 "&device=%s%s&wait=%d", after,
                 cloud->device, squash ? "&squash=1" : "", wait_s);
        enum status status = cloud_get(cloud, path, wait_s + CLOUD_CALL_S, answer, err);
        if (status != STATUS_REFUSED)
            return status;
    }
    snprintf(path, sizeof path, "/deltas?after=%" PRId64 "&wait=%d", after, wait_s);
    buf_clear(answer);
    enum status status = cloud_get(cloud, path, wait_s + CLOUD_CALL_S, answer, err);
    cloud->knows_no_devices = cloud->knows_no_devices || status == STATUS_OK;
    return status;
}

enum status cloud_next_release(struct cloud *cloud, int64_t after, bool squash, int wait_s,
                               struct cloud_release *out, struct err *err)
{
    static const char path[] = "/deltas";
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    json *root = NULL;
    enum status status = cloud_list_releases(cloud, after, squash, wait_s, &answer, err);
    if (status == STATUS_OK && answer.len == 0)
        status = err_set(err, STATUS_NOT_FOUND, "no release after version %" PRId64, after);
    else if (status == STATUS_NOT_FOUND)
        status = err_set(err, STATUS_PEER, "%s%s answered 404: is this a cdcca-cloud?", cloud->url,
                         path);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status = cloud_unreadable(cloud, path, cloud_find_release(root, after, out, err), err);
    json_free(root);
    buf_free(&answer);
    return status;
}

/* A patch is from the version before, unless it says otherwise. */
static void cloud_patch_path(int64_t version, int64_t from, const char *end, char out[CLOUD_PATCH])
{
    char query[32] = "";
    if (from != version - 1)
        snprintf(query, sizeof query, "?from=%" PRId64, from);
    snprintf(out, CLOUD_PATCH, "/deltas/%" PRId64 "%s%s", version, end, query);
}

static enum status cloud_envelope(struct cloud *cloud, const char *path, struct buf *out,
                                  struct err *err)
{
    out->max = LIMIT_ENVELOPE_BYTES;
    return cloud_get(cloud, path, CLOUD_CALL_S, out, err);
}

enum status cloud_manifest(struct cloud *cloud, int64_t version, int64_t from, struct buf *out,
                           struct err *err)
{
    char path[CLOUD_PATCH];
    cloud_patch_path(version, from, "/manifest", path);
    return cloud_envelope(cloud, path, out, err);
}

enum status cloud_keys(struct cloud *cloud, int64_t version, struct buf *out, struct err *err)
{
    char path[64] = "/keys";
    if (version)
        snprintf(path, sizeof path, "/keys/%" PRId64, version);
    return cloud_envelope(cloud, path, out, err);
}

/* ---- the patch ---- */

/* How much of the file is there already; 0 when it is of no use. */
static int64_t cloud_resume_at(struct io *io, const char *path, int64_t size)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return 0;
    if (S_ISREG(info.st_mode) && info.st_size <= size)
        return (int64_t)info.st_size;
    io->unlink(io, path);
    return 0;
}

enum status cloud_fetch(struct cloud *cloud, struct io *io, const struct cloud_release *release,
                        const char *path, int64_t *received, struct err *err)
{
    char what[CLOUD_PATCH];
    struct cloud_download download = {.io = io, .path = path, .room = release->size};
    download.from = cloud_resume_at(io, path, release->size);
    *received = 0;
    if (download.from == release->size)
        return STATUS_OK;
    cloud_patch_path(release->version, release->base_version, "", what);
    enum status status = cloud_download(cloud, what, &download, received, err);
    if (status == STATUS_PEER || status == STATUS_REFUSED)
        io->unlink(io, path); /* too long, or a range the peer does not know: start clean */
    return status;
}
