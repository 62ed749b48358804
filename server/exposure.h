/* Where the service may listen, and what it must ask for there. On the machine itself a service
 * without tokens is what a first try needs; from anywhere else it takes tokens, and TLS here or in
 * a proxy in front. Whoever wants less must say so. */
#ifndef CDCCA_EXPOSURE_H
#define CDCCA_EXPOSURE_H

#include "api/base/status.h"
#include <stdbool.h>

struct exposure {
    bool loopback; /* the address to listen on */
    bool tls, proxied;
    bool insecure; /* asked for */
    bool auth;     /* asked for; exposure_settle: tokens are needed */
};

/* Settles auth. STATUS_REFUSED: not like this; the text says what would be right. */
enum status exposure_settle(struct exposure *exposure, const char *address, struct err *err);

#endif
