/* The dashboard's files (web/), compiled in: the program serves the pages it was built with, and no
 * part of a URL ever reaches the file system. */
#ifndef CDCCA_ASSETS_H
#define CDCCA_ASSETS_H

#include "api/base/hash.h"
#include <stddef.h>

struct asset {
    const char *name; /* "app.js" */
    const char *type;
    const unsigned char *begin, *end;
};

/* NULL: there is none of that name. */
const struct asset *asset_find(const char *name);

enum { ASSET_ETAG = HASH_HEX + 2 };
/* The strong ETag of any bytes: their SHA-256, quoted. */
void asset_etag(const unsigned char *data, size_t len, char etag[ASSET_ETAG]);

#endif
