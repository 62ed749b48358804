/* Table 5, bytes and time: what goes up and what comes down in a round, in the forms that the
 * method has and in those one would use without it, each with the accuracy that it leads to.
 *
 * Times are computed: bytes behind headers, over the rate, without latency and without what either
 * side computes. A packet of 1,500 bytes carries 1,448 of ours (IPv4, TCP with timestamps) and is
 * 1,514 on Ethernet; a request and its answer have TRANSFER_HEADERS bytes of HTTP. A round's
 * instances are counted as one upload. tests/bench/transfer.sh measures the same over a shaped
 * link. */
#ifndef CDCCA_TABLE_BYTES_H
#define CDCCA_TABLE_BYTES_H

#include "model/tool/tables.h"

enum {
    TRANSFER_HEADERS = 400,
    TRANSFER_SEGMENT = 1448, /* bytes of ours in a packet */
    TRANSFER_FRAME = 1514,   /* bytes of that packet on the wire */
};

/* parameters: of the trainable set, for budgets in bits a parameter. */
void table_bytes_make(struct table *t, const struct table_plan *plan, int tokens,
                      size_t parameters);
/* Fills SENT and what follows from it, of a row that says which measure it sends. */
void table_bytes_fill(const struct table_row *row, struct result *result);
/* Seconds that `bytes` of ours take. */
double transfer_seconds(double bytes, double bits_per_second);

#endif
