/* Base64 (RFC 4648, the ordinary alphabet, with padding), strict. */
#ifndef CDCCA_BASE64_H
#define CDCCA_BASE64_H

#include "api/base/buf.h"
#include "api/base/status.h"

enum status base64_encode(const void *data, size_t len, struct buf *out);
/* STATUS_MALFORMED for any other character, wrong padding or stray bits. */
enum status base64_decode(const char *text, size_t len, struct buf *out);

#endif
