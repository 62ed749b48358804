/* cdcca-cloud sign: signs the manifests that wait, with a release key that is kept apart from the
 * service. It fetches them, shows what each says, signs it, and puts it back; the service checks
 * the signature against the key document before devices see it.
 *
 *   --cloud URL   a running service, by the curl program
 *   --data DIR    the folder of one that is stopped
 *   neither       one envelope from standard input, signed to standard output */
#include "api/wire/json.h"
#include "api/wire/options.h"
#include "server/commands.h"
#include "server/curl.h"
#include "server/envelopes.h"
#include "server/signer.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIGN_URL = 1200, SIGN_LIST_MAX = 16 << 20 };

struct sign_options {
    const char *key, *cloud, *data, *keys;
};

/* What is about to be signed, for the one who signs. Only manifests get a signature here. */
static enum status manifest_tell(const struct envelope *envelope, struct manifest *m,
                                 struct err *err)
{
    char hex[HASH_HEX];
    TRY(manifest_parse(envelope->payload.data, envelope->payload.len, m, err));
    hash_hex(&m->patch, hex);
    fprintf(stderr,
            "version %" PRId64 " (sequence %" PRId64 "): patch %.16s..., %" PRId64 " bytes\n",
            m->version, m->sequence, hex, m->size);
    return STATUS_OK;
}

/* Appends the envelope with one signature more. */
static enum status text_sign(const void *text, size_t len, const struct sign_key *key,
                             struct manifest *m, struct buf *out, struct err *err)
{
    struct envelope envelope;
    TRY(envelope_parse(text, len, ENVELOPE_MANIFEST, &envelope, err));
    enum status status = manifest_tell(&envelope, m, err);
    if (status == STATUS_OK)
        status = envelope_sign(&envelope, key, err);
    if (status == STATUS_OK)
        status = envelope_encode(&envelope, out, err);
    envelope_free(&envelope);
    return status;
}

/* ---- a running service ---- */

static enum status one_put(const char *cloud, const json *item, const struct sign_key *key,
                           struct err *err)
{
    char url[SIGN_URL];
    const json *waiting;
    struct manifest m;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES}, made = {.max = LIMIT_ENVELOPE_BYTES},
               answer = {.max = 2 * LIMIT_ENVELOPE_BYTES};
    TRY(json_get_object(item, "envelope", &waiting, err));
    enum status status = json_print(waiting, false, &text);
    if (status == STATUS_OK)
        status = text_sign(text.data, text.len, key, &m, &made, err);
    if (status == STATUS_OK) {
        snprintf(url, sizeof url, "%.1024s/deltas/%" PRId64 "/manifest", cloud, m.version);
        status = curl_request("PUT", url, (const char *)made.data, &answer, err);
    }
    buf_free(&text);
    buf_free(&made);
    buf_free(&answer);
    return status;
}

static enum status list_put(const char *cloud, const json *root, const struct sign_key *key,
                            size_t *count, struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "unsigned", LIMIT_PAGE, &list, err));
    *count = json_length(list);
    for (size_t i = 0; i < *count; i++)
        TRY(one_put(cloud, json_at(list, i), key, err));
    return STATUS_OK;
}

/* A page at a time, until a page is empty. */
static enum status cloud_sign(const char *cloud, const struct sign_key *key, struct err *err)
{
    char url[SIGN_URL];
    size_t count = 0;
    snprintf(url, sizeof url, "%.1024s/unsigned", cloud);
    do {
        struct buf answer = {.max = SIGN_LIST_MAX};
        json *root = NULL;
        enum status status = curl_request("GET", url, NULL, &answer, err);
        if (status == STATUS_OK)
            status = json_parse(answer.data, answer.len, &root, err);
        if (status == STATUS_OK)
            status = list_put(cloud, root, key, &count, err);
        json_free(root);
        buf_free(&answer);
        TRY(status);
    } while (count > 0);
    return STATUS_OK;
}

/* ---- the folder of one that is stopped ---- */

struct page {
    struct {
        int64_t version;
        struct buf text;
    } item[LIMIT_PAGE];
    size_t count;
};

static bool page_add(void *ctx, const struct stored_envelope *stored)
{
    struct page *page = ctx;
    page->item[page->count].version = stored->version;
    page->item[page->count].text = (struct buf){.max = LIMIT_ENVELOPE_BYTES};
    return buf_append(&page->item[page->count++].text, stored->waiting, strlen(stored->waiting)) ==
           STATUS_OK;
}

static enum status one_settle(struct store *store, struct signer *signer, int64_t version,
                              const struct buf *text, const struct sign_key *key, struct err *err)
{
    struct manifest m;
    struct buf made = {.max = LIMIT_ENVELOPE_BYTES};
    struct signer_taking taking = {0};
    struct store_job job = {.run = signer_taking_run, .ctx = &taking};
    enum status status = text_sign(text->data, text->len, key, &m, &made, err);
    if (status == STATUS_OK)
        status = signer_take(signer, version, made.data, made.len, &taking, err);
    if (status == STATUS_OK)
        status = store_apply(store, &job, 1, err);
    if (status == STATUS_OK && job.status != STATUS_OK) {
        status = job.status;
        *err = job.err;
    }
    signer_taking_free(&taking);
    buf_free(&made);
    return status;
}

static enum status page_settle(struct store *store, struct signer *signer,
                               const struct sign_key *key, size_t *count, struct err *err)
{
    struct page *page = calloc(1, sizeof *page);
    if (!page)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = envelopes_waiting(store, LIMIT_PAGE, page_add, page, err);
    *count = page->count;
    for (size_t i = 0; i < page->count; i++) {
        if (status == STATUS_OK)
            status =
                one_settle(store, signer, page->item[i].version, &page->item[i].text, key, err);
        buf_free(&page->item[i].text);
    }
    free(page);
    return status;
}

static void nobody_told(void *ctx)
{
    (void)ctx;
}

static enum status store_sign(struct store *store, struct keys *keys, const struct sign_key *key,
                              struct err *err)
{
    struct signer_config config = {.store = store, .keys = keys, .on_signed = nobody_told};
    struct signer *signer;
    size_t count = 0;
    TRY(signer_create(&config, &signer, err));
    enum status status;
    do
        status = page_settle(store, signer, key, &count, err);
    while (status == STATUS_OK && count > 0);
    signer_destroy(signer);
    return status;
}

static enum status data_sign(const struct sign_options *o, const struct sign_key *key,
                             struct err *err)
{
    char dir[4096];
    struct keys *keys = NULL;
    struct store *store = NULL;
    TRY(io_join(dir, sizeof dir, o->data, "keys", err));
    TRY(keys_open(io_posix(), o->keys ? o->keys : dir, &keys, err));
    enum status status = store_open(io_posix(), o->data, &store, err);
    if (status == STATUS_OK)
        status = store_sign(store, keys, key, err);
    store_close(store);
    keys_close(keys);
    return status;
}

/* ---- a pipe ---- */

static enum status pipe_sign(const struct sign_key *key, struct err *err)
{
    struct manifest m;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES}, made = {.max = LIMIT_ENVELOPE_BYTES};
    char piece[4096];
    enum status status = STATUS_OK;
    for (size_t got; status == STATUS_OK && (got = fread(piece, 1, sizeof piece, stdin)) > 0;)
        status = buf_append(&text, piece, got);
    if (status != STATUS_OK)
        err_set(err, status, "more than %d bytes from standard input", LIMIT_ENVELOPE_BYTES);
    else
        status = text_sign(text.data, text.len, key, &m, &made, err);
    if (status == STATUS_OK)
        printf("%s\n", (const char *)made.data);
    buf_free(&text);
    buf_free(&made);
    return status;
}

/* ---- the command ---- */

static enum status sign_run(const struct sign_options *o, struct err *err)
{
    struct sign_key key;
    if (!o->key)
        return err_set(err, STATUS_USAGE, "--key FILE is missing: the secret release key");
    if (o->cloud && o->data)
        return err_set(err, STATUS_USAGE, "--cloud or --data, not both");
    TRY(sign_key_load(io_posix(), o->key, &key, err));
    enum status status = o->cloud  ? cloud_sign(o->cloud, &key, err)
                         : o->data ? data_sign(o, &key, err)
                                   : pipe_sign(&key, err);
    sign_forget(&key);
    return status;
}

int sign_command(int argc, char **argv)
{
    struct sign_options o = {0};
    const struct option table[] = {
        {"key", OPTION_STRING, &o.key, 0, 0, "FILE", "the secret release key (release.key)"},
        {"cloud", OPTION_STRING, &o.cloud, 0, 0, "URL",
         "sign what waits at this service; CDCCA_TOKEN is sent along"},
        {"data", OPTION_STRING, &o.data, 0, 0, "DIR", "sign what waits in this folder"},
        {"keys", OPTION_STRING, &o.keys, 0, 0, "DIR", "with --data: its keys folder; DATA/keys"},
        {0}};
    const struct options options = {.program = "cdcca-cloud sign",
                                    .summary =
                                        "signs the releases that wait for a release key kept apart",
                                    .table = table};
    struct err err = {0};
    int count = 0;
    signal(SIGPIPE, SIG_IGN);
    enum status status = options_parse(&options, argc, argv, &count, &err);
    if (status == STATUS_CANCELLED)
        return 0;
    if (status == STATUS_OK)
        status = sign_run(&o, &err);
    if (status == STATUS_OK)
        return 0;
    fprintf(stderr, "cdcca-cloud sign: %s\n", err.text);
    return status_exit(status);
}
