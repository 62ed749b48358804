/* A certificate and its key for HTTPS: read from files, checked to belong together, and read again
 * while connections go on. tls.c is the one file that knows GnuTLS; the handshake itself is the
 * HTTP library's, which asks back for the certificate through tls_certificate_function. */
#ifndef CDCCA_TLS_H
#define CDCCA_TLS_H

#include "api/base/status.h"

struct tls;

/* PEM files: the certificate, then those that lead from it to a known one; its key, not encrypted.
 * The paths are kept. */
enum status tls_open(const char *cert_file, const char *key_file, struct tls **out,
                     struct err *err);
/* Reads the files again; after an error what was there stays. For one thread at a time. */
enum status tls_reload(struct tls *tls, struct err *err);
void tls_close(struct tls *tls); /* NULL is fine; no connection may be left */

/* What http.c hands to its library: TLS 1.2 and 1.3 alone; a gnutls_certificate_retrieve_function2
 * as a pointer to some function. */
const char *tls_priorities(void);
void (*tls_certificate_function(void))(void);
/* http.c's: the tls of one of the library's connections, NULL if it has none. */
struct tls *tls_of_connection(void *connection);

#endif
