/* /deltas: releases. The list can wait for news (long poll); a patch never changes, so it has a
 * strong tag and may be cached for ever. */
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <string.h>

static json *release_json(const struct release *release)
{
    char url[48];
    json *out = json_object_new();
    snprintf(url, sizeof url, "/deltas/%lld", (long long)release->version);
    double bits = release->parameters > 0
                      ? 8.0 * (double)release->size_bytes / (double)release->parameters
                      : 0;
    bool ok = out && json_set_int(out, "version", release->version) &&
              json_set_int(out, "base_version", release->base_version) &&
              json_set_int(out, "round", release->round) &&
              json_set_int(out, "size", release->size_bytes) &&
              json_set_string(out, "sha256", release->sha256) &&
              json_set_string(out, "base_set_sha256", release->base_set_sha256) &&
              json_set_string(out, "set_sha256", release->set_sha256) &&
              json_set_time(out, "created", release->created_ms) &&
              json_set_string(out, "url", url) &&
              json_set_int(out, "parameters", release->parameters) &&
              json_set_number(out, "bits_per_parameter", bits);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static bool visit_list(void *ctx, const struct release *release)
{
    return listing_add(ctx, release_json(release), release->version);
}

enum status deltas_list(struct http_request *request, struct err *err)
{
    static const char *const known[] = {"after", "wait", "limit", NULL};
    struct cloud *cloud = request->app;
    int64_t after = 0, wait = 0, limit = LIMIT_PAGE;
    TRY(http_query_only(request, known, err));
    TRY(http_query_int(request, "after", 0, INT64_MAX, &after, err));
    TRY(http_query_int(request, "wait", 0, LIMIT_WAIT_S, &wait, err));
    TRY(http_query_int(request, "limit", 1, LIMIT_PAGE, &limit, err));
    struct listing listing = {.items = json_array_new()};
    if (!listing.items)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = store_releases(cloud->store, after, (int)limit, visit_list, &listing, err);
    bool parked = status == STATUS_OK && json_length(listing.items) == 0 && !listing.failed &&
                  wait > 0 && http_park(request, wait * 1000);
    if (status == STATUS_OK && !parked)
        return listing_reply(request, &listing, "deltas", limit, err);
    json_free(listing.items);
    return status;
}

static bool copy_hash(void *ctx, const struct release *release)
{
    snprintf(ctx, HASH_HEX, "%s", release->sha256);
    return true;
}

enum status deltas_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    char sha256[HASH_HEX], path[4096], etag[HASH_HEX + 2];
    int64_t version;
    TRY(http_param_int(request, 0, &version, err));
    TRY(store_release(cloud->store, version, copy_hash, sha256, err));
    http_note(request, "version", version);
    TRY(store_patch_path(cloud->store, sha256, path, sizeof path, err));
    snprintf(etag, sizeof etag, "\"%s\"", sha256);
    enum status status = http_reply_file(request, path, "application/zstd", etag, err);
    if (status == STATUS_NOT_FOUND)
        return err_set(err, STATUS_IO, "the patch of version %lld is missing on disk",
                       (long long)version);
    return status;
}
