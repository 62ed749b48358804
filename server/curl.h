/* A request to another service from the command line, by the curl program: TLS, proxies and
 * certificates are then those that a person has set up for curl. */
#ifndef CDCCA_CURL_H
#define CDCCA_CURL_H

#include "api/base/buf.h"

/* method: GET, or PUT with `body` (one line of text). The answer's body into out (bounded by its
 * maximum). CDCCA_TOKEN, where it is set, goes along as a bearer token. PEER: any answer that is no
 * 2xx, its text in err; UNREACHABLE: curl could not, or is not installed. */
enum status curl_request(const char *method, const char *url, const char *body, struct buf *out,
                         struct err *err);

#endif
