/* Metrics: counters of this process as Prometheus reads them (text format 0.0.4). Label sets are
 * bounded: routes are patterns, methods and codes the known ones. One small mutex, held for
 * moments. All functions may be called from any thread, and take NULL for "no metrics". */
#ifndef CDCCA_METRICS_H
#define CDCCA_METRICS_H

#include "api/base/buf.h"
#include "api/http/http.h"

struct metrics;

enum status metrics_create(struct metrics **out, struct err *err);
void metrics_destroy(struct metrics *metrics);

void metrics_request(struct metrics *metrics, const struct http_seen *seen);
/* An upload was committed; repeated: it was there already. */
void metrics_upload(struct metrics *metrics, int64_t bytes, bool repeated);
/* A round is over: released, rejected, cancelled or failed. */
void metrics_round(struct metrics *metrics, const char *state, double seconds);

/* What others count, at the moment of asking. */
struct metrics_gauges {
    struct http_gauges http;
    int64_t writes_waiting, write_groups, writes; /* the two last: so far */
    bool round_running;
    int64_t release_version, release_bytes; /* the newest; 0: none */
    int64_t uploads_new;                    /* instances that no round has used */
    int64_t devices_ok, devices_failing, devices_silent;
};
enum status metrics_write(struct metrics *metrics, const struct metrics_gauges *now,
                          struct buf *out, struct err *err);

#endif
