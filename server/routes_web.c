/* Pages for people. For browsers the dashboard at / and the contract at /docs, for everyone else
 * their text; /problems/{name}, what a kind of problem means; the files of the pages. */
#include "api/base/io.h"
#include "api/wire/problem.h"
#include "server/assets.h"
#include "server/contract.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <string.h>

/* Everything a page uses comes from here, and nothing of it is inline. */
static const char policy[] = "default-src 'self'; object-src 'none'; base-uri 'none'; "
                             "frame-ancestors 'none'; form-action 'self'";

static const char contract_type[] = "application/yaml";

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
    "  GET    /tokens/{id}/payload        what it holds\n"
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
    "  GET    /openapi.yaml               all of it in detail, in a browser /docs\n"
    "\n";

static bool wants_page(struct http_request *request)
{
    const char *accept = http_header(request, "Accept");
    return accept && strstr(accept, "text/html");
}

static void page_headers(struct http_request *request)
{
    http_reply_header(request, "Content-Security-Policy", policy);
    http_reply_header(request, "Referrer-Policy", "no-referrer");
}

/* Where this request reached the service, for lines to copy. */
static void base_write(struct http_request *request, char out[HTTP_VALUE])
{
    const char *host = http_header(request, "Host");
    bool plain = host && *host && strlen(host) < 100 &&
                 host[strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789.:-[]")] == '\0';
    snprintf(out, HTTP_VALUE, "%s://%s", ((struct cloud *)request->app)->scheme,
             plain ? host : "localhost:8080");
}

static enum status index_write(struct http_request *request, struct buf *out)
{
    char base[HTTP_VALUE];
    base_write(request, base);
    return buf_printf(out,
                      "%sTry:\n"
                      "  curl -s %s/tokens\n"
                      "  curl -sX POST %s/distill\n"
                      "  curl -s %s/distill/1\n"
                      "  curl -s '%s/deltas?after=0&wait=30'\n"
                      "  curl -sO %s/deltas/1\n",
                      index_text, base, base, base, base, base);
}

/* The page for browsers, the text for everyone else. */
static enum status page_or_text(struct http_request *request, const char *page, const char *type,
                                const char *text, struct err *err)
{
    if (wants_page(request)) {
        TRY(asset_reply(request, asset_find(page), err));
        page_headers(request);
    } else {
        TRY(bytes_reply(request, type, (const unsigned char *)text, strlen(text), err));
    }
    http_reply_header(request, "Vary", "Accept");
    return STATUS_OK;
}

enum status index_get(struct http_request *request, struct err *err)
{
    struct buf text = {.max = 4096};
    enum status status = index_write(request, &text);
    if (status == STATUS_OK)
        status = page_or_text(request, "index.html", "text/plain; charset=utf-8",
                              (const char *)text.data, err);
    else
        err_set(err, status, "no room for the list of routes");
    buf_free(&text);
    return status;
}

enum status docs_get(struct http_request *request, struct err *err)
{
    return page_or_text(request, "docs.html", contract_type, contract_text(), err);
}

enum status contract_get(struct http_request *request, struct err *err)
{
    const char *text = contract_text();
    return bytes_reply(request, contract_type, (const unsigned char *)text, strlen(text), err);
}

/* ---- what a problem means ---- */

/* As HTML; what stands between two backticks is code. */
static enum status words_put(struct buf *out, const char *text)
{
    bool code = false;
    for (; *text; text++) {
        if (*text == '`')
            TRY(buf_printf(out, code ? "</code>" : "<code>"));
        else
            TRY(buf_append(out, text, 1));
        code ^= *text == '`';
    }
    return STATUS_OK;
}

static enum status problem_page(const struct problem_kind *kind, struct buf *out)
{
    const char *name = status_name(kind->code);
    TRY(buf_printf(out,
                   "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                   "<meta name=\"color-scheme\" content=\"light dark\">\n<title>%s</title>\n"
                   "<link rel=\"icon\" href=\"../web/icon.svg\">\n"
                   "<link rel=\"stylesheet\" href=\"../web/style.css\">\n</head>\n<body>\n<main>\n"
                   "<h1><code>%s%s</code></h1>\n<p>HTTP status %s</p>\n"
                   "<section class=\"panel\">\n<h2>What it means</h2>\n<p>",
                   name, PROBLEM_BASE, name, kind->statuses));
    TRY(words_put(out, kind->means));
    TRY(buf_printf(out, "</p>\n<h2>What would be right</h2>\n<p>"));
    TRY(words_put(out, kind->right));
    return buf_printf(out,
                      "</p>\n</section>\n<p>The <code>detail</code> of the problem document says "
                      "what was wrong with this very request. <a href=\"../docs\">The "
                      "contract</a></p>\n</main>\n</body>\n</html>\n");
}

static enum status problem_text(const struct problem_kind *kind, struct buf *out)
{
    return buf_printf(out, "%s%s (HTTP status %s)\n\n%s\n\nWhat would be right:\n%s\n",
                      PROBLEM_BASE, status_name(kind->code), kind->statuses, kind->means,
                      kind->right);
}

enum status problems_get(struct http_request *request, struct err *err)
{
    const struct problem_kind *kind = problem_kind_find(request->param[0]);
    struct buf text = {.max = 8192};
    bool page = wants_page(request);
    if (!kind)
        return err_set(err, STATUS_NOT_FOUND,
                       "there is no kind of problem named %.64s; GET /docs lists them",
                       request->param[0]);
    enum status status = page ? problem_page(kind, &text) : problem_text(kind, &text);
    if (status == STATUS_OK)
        status = http_reply_text(request, 200,
                                 page ? "text/html; charset=utf-8" : "text/plain; charset=utf-8",
                                 (const char *)text.data, err);
    buf_free(&text);
    if (status != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    if (page)
        page_headers(request);
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
