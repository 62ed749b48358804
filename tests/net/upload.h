/* Uploads without end: one payload of make_payload's, seed 10000, whose instances' ids ("q10000-3")
 * are numbered anew for each, so that all differ. And how many the service has. */
#ifndef CDCCA_UPLOAD_H
#define CDCCA_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>

enum { UPLOAD_PLACES = 512 };

struct upload {
    char *data;
    size_t len, head_len; /* head: the request's headers, which come first in data */
    size_t place[UPLOAD_PLACES];
    int places;
};

/* The whole request, "POST /tokens" and headers included; a failure ends the program. */
void upload_open(struct upload *upload, const char *payload_path);
void upload_close(struct upload *upload);
/* Makes it upload number n (0 .. 36^5 - 1) and copies it to out, len bytes. */
void upload_copy(const struct upload *upload, unsigned n, char *out);
/* All pages of GET /tokens; -1: it does not answer as it should. */
long uploads_count(int port);

#endif
