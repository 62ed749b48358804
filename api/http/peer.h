/* The address that a request comes from, as text in one form: numeric, IPv4 within IPv6 as IPv4.
 * Behind a proxy it is the last entry of X-Forwarded-For, the one that the proxy itself wrote; what
 * stands before it is the client's own word. */
#ifndef CDCCA_PEER_H
#define CDCCA_PEER_H

#include <stdbool.h>

enum { PEER_TEXT = 46 };

struct sockaddr;

/* "" for an address that is neither IPv4 nor IPv6. */
void peer_address(const struct sockaddr *address, char out[PEER_TEXT]);
/* A numeric address in this form; false when text is none. */
bool peer_parse(const char *text, char out[PEER_TEXT]);
/* header: the last X-Forwarded-For field, or NULL. Without an address at its end, out stays. */
void peer_forwarded(const char *header, char out[PEER_TEXT]);
bool peer_is_loopback(const char *address);

#endif
