/* The events of one streamed answer, from the thread that generates to the one that polls the
 * socket. Both own it; the second to let go frees it. Bounded: a reader who falls too far behind
 * counts as gone. */
#ifndef CDCCA_SERVE_STREAM_H
#define CDCCA_SERVE_STREAM_H

#include "api/http/http.h"

enum { SERVE_STREAM_BYTES = 4 << 20 };

struct serve_stream;

/* Answers the deferred request with a stream, and completes it: it is no longer the caller's. */
enum status serve_stream_start(struct http *http, struct http_request *request,
                               struct serve_stream **out, struct err *err);
/* "data: VALUE\n\n"; takes the value, NULL means no memory. False: nobody reads any more. */
bool serve_stream_send(struct serve_stream *stream, json *value);
/* "data: [DONE]", unless `broken`; then the end. The caller lets go. NULL is fine. */
void serve_stream_end(struct serve_stream *stream, bool broken);

#endif
