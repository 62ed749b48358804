/* The dashboard: / (a page for browsers, text for everyone else), /web/{file}, /vendor/{file}. */
#include "api/base/io.h"
#include "server/assets.h"
#include "server/routes.h"
#include <string.h>

/* Everything a page uses comes from here, and nothing of it is inline. */
static const char policy[] = "default-src 'self'; object-src 'none'; base-uri 'none'; "
                             "frame-ancestors 'none'; form-action 'self'";

static enum status bytes_reply(struct http_request *request, const char *type,
                               const unsigned char *data, size_t len, struct err *err)
{
    char etag[ASSET_ETAG];
    asset_etag(data, len, etag);
    return http_reply_bytes(request, type, data, len, etag, err);
}

static enum status asset_reply(struct http_request *request, const struct asset *asset,
                               struct err *err)
{
    return bytes_reply(request, asset->type, asset->begin, (size_t)(asset->end - asset->begin),
                       err);
}

static const char index_text[] =
    "cdcca-cloud " CDCCA_VERSION
    ": distils a large multimodal teacher into the small models of a fleet.\n"
    "In a browser this is a dashboard.\n"
    "\n"
    "  POST   /tokens                     upload what a device was unsure about\n"
    "  GET    /tokens?after=ID            list uploads       GET, DELETE /tokens/{id}\n"
    "  POST   /distill                    start a round      GET /distill lists them\n"
    "  GET    /distill/{id}               progress, losses   DELETE cancels; /map: its tokens\n"
    "  GET    /deltas?after=V&wait=S      releases after a version, waiting for news\n"
    "  GET    /deltas/{version}           the weight delta   GET /deltas/{version}/manifest\n"
    "  GET    /keys                       who signs          GET /keys/{version}, /unsigned\n"
    "  GET    /releases/{version}         its rollout        POST .../halt, resume, rollback\n"
    "  PUT    /devices/{id}               who is there       GET /devices, /fleet\n"
    "  GET    /events?types=round,step    what happens, as it happens\n"
    "  GET    /model                      what is served     GET /healthz, /readyz, /metrics\n"
    "  POST   /enroll                     a one-time code becomes a device's token\n"
    "  GET    /me                         whose token this is, and its role\n"
    "  GET    /openapi.yaml               all of it in detail\n"
    "\n"
    "Try:\n"
    "  curl -s :8080/tokens\n"
    "  curl -sX POST :8080/distill\n"
    "  curl -s :8080/distill/1\n"
    "  curl -s ':8080/deltas?after=0&wait=30'\n"
    "  curl -sO :8080/deltas/1\n";

enum status index_get(struct http_request *request, struct err *err)
{
    const char *accept = http_header(request, "Accept");
    if (accept && strstr(accept, "text/html")) {
        TRY(asset_reply(request, asset_find("index.html"), err));
        http_reply_header(request, "Content-Security-Policy", policy);
        http_reply_header(request, "Referrer-Policy", "no-referrer");
    } else {
        TRY(http_reply_text(request, 200, "text/plain; charset=utf-8", index_text, err));
    }
    http_reply_header(request, "Vary", "Accept");
    return STATUS_OK;
}

enum status web_get(struct http_request *request, struct err *err)
{
    const struct asset *asset = asset_find(request->param[0]);
    if (!asset)
        return err_set(err, STATUS_NOT_FOUND, "the dashboard has no file %.64s", request->param[0]);
    return asset_reply(request, asset, err);
}

/* The one library of the dashboard's, from where Debian puts it. */
enum status vendor_get(struct http_request *request, struct err *err)
{
    static const char file[] = CDCCA_CHART_FILE;
    struct buf text = {.max = 4 << 20};
    if (strcmp(request->param[0], "chart.js") != 0)
        return err_set(err, STATUS_NOT_FOUND, "there is no library %.64s", request->param[0]);
    enum status status = io_read_file(io_posix(), file, &text, err);
    if (status == STATUS_OK)
        status = bytes_reply(request, "text/javascript; charset=utf-8", text.data, text.len, err);
    else
        status = err_set(err, STATUS_NOT_FOUND,
                         "no %s here; Debian's package libjs-chart.js has it", file);
    buf_free(&text);
    return status;
}
