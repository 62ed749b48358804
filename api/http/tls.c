/* See tls.h. A reload puts a new pair in place of the old one, which lives on until tls_close: a
 * handshake may be using it, and it is a few kilobytes. */
#include "api/http/tls.h"
#include "api/base/io.h"
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { TLS_FILE = 1 << 20, TLS_CHAIN = 8 };

struct pair {
    gnutls_pcert_st chain[TLS_CHAIN];
    unsigned count;
    gnutls_privkey_t key;
    struct pair *older;
};

struct tls {
    char cert_file[PATH_MAX], key_file[PATH_MAX];
    _Atomic(struct pair *) pair;
};

static gnutls_datum_t datum(const struct buf *buf)
{
    return (gnutls_datum_t){.data = buf->data, .size = (unsigned)buf->len};
}

static enum status tls_error(struct err *err, const char *file, int code)
{
    return err_set(err, code == GNUTLS_E_MEMORY_ERROR ? STATUS_NO_MEMORY : STATUS_MALFORMED,
                   "%s: %s; PEM is right, the key without a passphrase", file,
                   gnutls_strerror(code));
}

static enum status chain_parse(struct pair *pair, const char *file, const struct buf *text,
                               struct err *err)
{
    gnutls_datum_t data = datum(text);
    pair->count = TLS_CHAIN;
    int code =
        gnutls_pcert_list_import_x509_raw(pair->chain, &pair->count, &data, GNUTLS_X509_FMT_PEM, 0);
    if (code == GNUTLS_E_SUCCESS)
        return STATUS_OK;
    pair->count = 0;
    return tls_error(err, file, code);
}

static enum status key_parse(struct pair *pair, const char *file, const struct buf *text,
                             struct err *err)
{
    gnutls_datum_t data = datum(text);
    int code = gnutls_privkey_init(&pair->key);
    if (code == GNUTLS_E_SUCCESS)
        code = gnutls_privkey_import_x509_raw(pair->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    return code == GNUTLS_E_SUCCESS ? STATUS_OK : tls_error(err, file, code);
}

/* Does the key belong to the certificate? The library's own check, on credentials of no use. */
static enum status pair_check(const struct tls *tls, const struct buf *cert, const struct buf *key,
                              struct err *err)
{
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t cert_data = datum(cert), key_data = datum(key);
    if (gnutls_certificate_allocate_credentials(&credentials) != GNUTLS_E_SUCCESS)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    int code = gnutls_certificate_set_x509_key_mem(credentials, &cert_data, &key_data,
                                                   GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(credentials);
    if (code == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return err_set(err, STATUS_MALFORMED, "%s is not the key of the certificate %s",
                       tls->key_file, tls->cert_file);
    return code >= 0 ? STATUS_OK : tls_error(err, tls->cert_file, code);
}

static void pair_free(struct pair *pair)
{
    for (unsigned i = 0; i < pair->count; i++)
        gnutls_pcert_deinit(&pair->chain[i]);
    if (pair->key)
        gnutls_privkey_deinit(pair->key);
    free(pair);
}

static enum status pair_parse(const struct tls *tls, const struct buf *cert, const struct buf *key,
                              struct pair **out, struct err *err)
{
    struct pair *pair = calloc(1, sizeof *pair);
    if (!pair)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = chain_parse(pair, tls->cert_file, cert, err);
    if (status == STATUS_OK)
        status = key_parse(pair, tls->key_file, key, err);
    if (status == STATUS_OK)
        status = pair_check(tls, cert, key, err);
    if (status == STATUS_OK)
        *out = pair;
    else
        pair_free(pair);
    return status;
}

static enum status pair_read(const struct tls *tls, struct pair **out, struct err *err)
{
    struct buf cert = {.max = TLS_FILE}, key = {.max = TLS_FILE};
    enum status status = io_read_file(io_posix(), tls->cert_file, &cert, err);
    if (status == STATUS_OK)
        status = io_read_file(io_posix(), tls->key_file, &key, err);
    if (status == STATUS_OK)
        status = pair_parse(tls, &cert, &key, out, err);
    if (key.data)
        explicit_bzero(key.data, key.cap);
    buf_free(&key);
    buf_free(&cert);
    return status;
}

enum status tls_reload(struct tls *tls, struct err *err)
{
    struct pair *pair = NULL;
    TRY(pair_read(tls, &pair, err));
    pair->older = atomic_load(&tls->pair);
    atomic_store(&tls->pair, pair);
    return STATUS_OK;
}

enum status tls_open(const char *cert_file, const char *key_file, struct tls **out, struct err *err)
{
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = io_join(tls->cert_file, sizeof tls->cert_file, "", cert_file, err);
    if (status == STATUS_OK)
        status = io_join(tls->key_file, sizeof tls->key_file, "", key_file, err);
    if (status == STATUS_OK)
        status = tls_reload(tls, err);
    if (status == STATUS_OK)
        *out = tls;
    else
        tls_close(tls);
    return status;
}

void tls_close(struct tls *tls)
{
    if (!tls)
        return;
    for (struct pair *pair = atomic_load(&tls->pair), *older; pair; pair = older) {
        older = pair->older;
        pair_free(pair);
    }
    free(tls);
}

const char *tls_priorities(void)
{
    return "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";
}

static int on_certificate(gnutls_session_t session, const gnutls_datum_t *issuers, int issuer_count,
                          const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                          gnutls_pcert_st **chain, unsigned *count, gnutls_privkey_t *key)
{
    struct tls *tls = tls_of_connection(gnutls_session_get_ptr(session));
    (void)issuers, (void)issuer_count, (void)algorithms, (void)algorithm_count;
    if (!tls)
        return -1;
    struct pair *pair = atomic_load(&tls->pair);
    *chain = pair->chain;
    *count = pair->count;
    *key = pair->key;
    return 0;
}

void (*tls_certificate_function(void))(void)
{
    return (void (*)(void))on_certificate;
}
