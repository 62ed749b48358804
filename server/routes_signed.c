/* What is signed: manifests (/deltas/{version}/manifest), those that wait for a signature from
 * elsewhere (/unsigned), and the key documents (/keys). All are DSSE envelopes; devices check them,
 * this service only keeps them whole. */
#include "server/envelopes.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdlib.h>
#include <string.h>

/* With the end of a line, which no envelope has of itself. */
static enum status envelope_reply(struct http_request *request, const char *text, struct err *err)
{
    TRY(http_reply_text(request, 200, "application/json", text, err));
    if (buf_append(&request->response.body, "\n", 1) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

/* ---- key documents ---- */

static enum status document_reply(struct http_request *request, int64_t version, const char *cache,
                                  struct err *err)
{
    struct cloud *cloud = request->app;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    enum status status = keys_document(cloud->keys, version, &text, err);
    if (status == STATUS_OK)
        status = envelope_reply(request, (const char *)text.data, err);
    if (status == STATUS_OK)
        http_reply_header(request, "Cache-Control", cache);
    buf_free(&text);
    return status;
}

enum status keys_get(struct http_request *request, struct err *err)
{
    return document_reply(request, 0, "no-cache", err);
}

enum status keys_get_version(struct http_request *request, struct err *err)
{
    int64_t version;
    TRY(http_param_int(request, 0, &version, err));
    if (version == 0)
        return err_set(err, STATUS_NOT_FOUND, "key documents are numbered from 1");
    return document_reply(request, version, "public, max-age=31536000, immutable", err);
}

/* ---- manifests ---- */

struct manifest_answer {
    struct http_request *request;
    enum status status;
    struct err *err;
};

static bool manifest_reply(void *ctx, const struct stored_envelope *stored)
{
    struct manifest_answer *answer = ctx;
    if (!stored->envelope) {
        answer->status = err_set(answer->err, STATUS_NOT_FOUND,
                                 "version %lld waits for a signature; GET /unsigned has its "
                                 "manifest",
                                 (long long)stored->version);
        return true;
    }
    answer->status = envelope_reply(answer->request, stored->envelope, answer->err);
    http_reply_header(answer->request, "Cache-Control", "no-cache");
    return true;
}

static bool squash_copy(void *ctx, const struct squash *squash)
{
    return buf_append(ctx, squash->manifest, strlen(squash->manifest)) == STATUS_OK;
}

static enum status squash_manifest(struct cloud *cloud, int64_t from, int64_t version,
                                   struct manifest *out, struct err *err)
{
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    enum status status = store_squash(cloud->store, from, version, squash_copy, &text, err);
    if (status == STATUS_NOT_FOUND)
        err_set(err, status,
                "there is no patch from version %lld to %lld yet; GET /deltas/%lld?from=%lld makes "
                "it",
                (long long)from, (long long)version, (long long)version, (long long)from);
    if (status == STATUS_OK)
        status = manifest_parse(text.data, text.len, out, err);
    buf_free(&text);
    return status;
}

/* Sealed at each request: sequence and times are those of the version's own manifest now. */
static enum status squash_reply(struct http_request *request, int64_t from, int64_t version,
                                struct err *err)
{
    struct cloud *cloud = request->app;
    struct manifest manifest;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    TRY(squash_manifest(cloud, from, version, &manifest, err));
    enum status status = signer_seal(cloud->signer, &manifest, &text, err);
    if (status == STATUS_OK)
        status = envelope_reply(request, (const char *)text.data, err);
    if (status == STATUS_OK)
        http_reply_header(request, "Cache-Control", "no-cache");
    buf_free(&text);
    return status;
}

enum status manifest_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct manifest_answer answer = {request, STATUS_OK, err};
    int64_t version, from;
    TRY(http_param_int(request, 0, &version, err));
    if (version < 1)
        return err_set(err, STATUS_NOT_FOUND, "there is no release %lld", (long long)version);
    TRY(patch_from_read(request, version, &from, err));
    if (from < version - 1)
        return squash_reply(request, from, version, err);
    TRY(envelopes_get(cloud->store, version, manifest_reply, &answer, err));
    return answer.status;
}

/* The text of an envelope as JSON inside JSON. */
static json *waiting_json(const struct stored_envelope *stored)
{
    json *out = json_object_new(), *envelope = NULL;
    bool ok = out &&
              json_parse(stored->waiting, strlen(stored->waiting), &envelope, NULL) == STATUS_OK &&
              json_set_int(out, "version", stored->version) &&
              json_set_int(out, "sequence", stored->sequence);
    if (ok)
        ok = json_set_take(out, "envelope", envelope);
    else
        json_free(envelope);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static bool visit_waiting(void *ctx, const struct stored_envelope *stored)
{
    return listing_add(ctx, waiting_json(stored), stored->version);
}

enum status unsigned_list(struct http_request *request, struct err *err)
{
    static const char *const known[] = {NULL};
    struct cloud *cloud = request->app;
    TRY(http_query_only(request, known, err));
    struct listing listing = {.items = json_array_new()};
    if (!listing.items)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = envelopes_waiting(cloud->store, LIMIT_PAGE, visit_waiting, &listing, err);
    if (status == STATUS_OK)
        return listing_reply(request, &listing, "unsigned", LIMIT_PAGE + 1, err);
    json_free(listing.items);
    return status;
}

/* ---- PUT: looked at here, committed by the writer ---- */

struct putting {
    struct write write; /* first: cast back in putting_done */
    struct http_request *request;
    struct signer_taking taking;
};

static void putting_free(struct putting *putting)
{
    signer_taking_free(&putting->taking);
    free(putting);
}

static void putting_done(struct write *write)
{
    struct putting *putting = (struct putting *)write;
    struct http_request *request = putting->request;
    struct cloud *cloud = request->app;
    struct err err = write->job.err;
    enum status status = write->job.status;
    if (status == STATUS_OK) {
        signer_taken(cloud->signer);
        status = envelope_reply(request, (const char *)putting->taking.text.data, &err);
    }
    http_complete(request, status, &err);
    putting_free(putting);
}

static void putting_submit(struct putting *putting, struct err *err)
{
    struct http_request *request = putting->request;
    struct cloud *cloud = request->app;
    putting->write = (struct write){.job = {.run = signer_taking_run, .ctx = &putting->taking},
                                    .done = putting_done};
    http_defer(request);
    if (writer_submit(cloud->writer, &putting->write, err) == STATUS_OK)
        return;
    putting_free(putting);
    http_reply_problem(request, 503, err);
    http_complete(request, STATUS_OK, NULL);
}

enum status manifest_put(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    int64_t version;
    TRY(http_param_int(request, 0, &version, err));
    struct putting *putting = calloc(1, sizeof *putting);
    if (!putting)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    putting->request = request;
    enum status status = signer_take(cloud->signer, version, request->body, request->body_len,
                                     &putting->taking, err);
    if (status == STATUS_OK)
        putting_submit(putting, err);
    else
        putting_free(putting);
    return status;
}
