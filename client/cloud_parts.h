/* What cloud.c, cloud_calls.c and cloud_releases.c share: the client itself, and one exchange with
 * the cloud. For these three alone. */
#ifndef CDCCA_CLOUD_PARTS_H
#define CDCCA_CLOUD_PARTS_H

#include "api/wire/json.h"
#include "client/cloud.h"

enum {
    CLOUD_URL = 1024,
    CLOUD_ANSWER_MAX = 1 << 20,
    CLOUD_CALL_S = 30, /* for calls with small answers */
    CLOUD_REASON = 256,
};

struct cloud {
    void *curl; /* libcurl's easy handle */
    char url[CLOUD_URL], agent[160], device[LIMIT_ID + 1];
    const char *token_file, *ca_file; /* or NULL */
    bool is_private;                  /* nobody in between can read what is sent */
    char token[CLOUD_TOKEN];          /* "": none */
    bool knows_no_devices;            /* it refused to be asked for one */
    char reason[CLOUD_REASON];
    int64_t retry_after_ms;
    const atomic_bool *ending; /* NULL: a stop alone breaks calls off */
};

/* Statuses of all: see cloud.h. Paths begin with "/" and go behind the cloud's URL. */

/* The answer's body is appended to out. */
enum status cloud_get(struct cloud *cloud, const char *path, long timeout_s, struct buf *out,
                      struct err *err);

struct cloud_sending {
    const char *method, *path;
    const void *body;
    size_t len;
    const char *headers[5]; /* "Name: value"; NULL ends them */
};
/* sent: bytes of the body that went out, success or not; may be NULL. */
enum status cloud_send(struct cloud *cloud, const struct cloud_sending *sending, struct buf *answer,
                       int64_t *sent, struct err *err);

struct cloud_download {
    struct io *io;
    const char *path; /* of the file */
    int64_t from;     /* what of it is there already: the rest is asked for */
    int64_t room;     /* bytes that may come */
};
/* GET what into a file. received: bytes of this call, success or not. */
enum status cloud_download(struct cloud *cloud, const char *what,
                           const struct cloud_download *download, int64_t *received,
                           struct err *err);

/* What came of reading an answer: what we cannot read is the peer's fault, and not for good. */
enum status cloud_unreadable(struct cloud *cloud, const char *path, enum status status,
                             struct err *err);
/* An answer's JSON; owned by the caller. */
enum status cloud_json(struct cloud *cloud, const char *path, const struct buf *answer, json **out,
                       struct err *err);

#endif
