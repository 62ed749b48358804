/* The agent's notebook: DATA/status.json, written atomically, read by `cdcca-edge status`, by the
 * demo's report, and by the agent itself when it starts again (position and counters go on).
 *
 * Fields (all counts since the first start with this DATA):
 *   seen           samples that are finished: answered, their window closed, its uploads durable
 *   position       where in the source they end (unreadable samples count too): a restart goes on
 *                  here
 *   segment        rounds finished in lockstep; round_*: the counters as this round began
 *   sampled        instances chosen for upload; uploaded: of these, acknowledged by the cloud
 *   uplink_bytes   HTTP bodies of every upload that was acknowledged; sent_bytes: of every attempt
 *   raw_bytes      what sending every *seen* image as raw RGB would have cost
 *   jpeg_bytes     the same as JPEG, quality 85;  sampled_raw_bytes, sampled_jpeg_bytes: the same
 *                  for the sampled instances alone
 *   downlink_bytes deltas fetched
 * Thread-safe: the agent, the uploader and the updater all write here. */
#ifndef CDCCA_BOARD_H
#define CDCCA_BOARD_H

#include "api/base/buf.h"
#include "api/base/hash.h"
#include "api/base/io.h"
#include <pthread.h>
#include <stdbool.h>

enum { BOARD_APPLIED_MAX = 64, BOARD_TEXT = 512 };

struct board_applied { /* one line per version that was applied */
    int64_t version, delta_bytes, parameters;
    double seconds; /* fetch, check, apply, self-test, save */
};

struct board_fields {
    char device[80], source[BOARD_TEXT];
    int64_t seen, position, windows; /* windows: how many were closed */
    int64_t answered;                /* by this process, open window included */
    int64_t segment, round_version, round_seen, round_uploaded, round_uplink_bytes;
    int64_t round_raw_bytes, round_jpeg_bytes;
    int64_t sampled, uploaded, uploads, rejected, dropped;
    int64_t uplink_bytes, sent_bytes, downlink_bytes;
    int64_t raw_bytes, jpeg_bytes, sampled_raw_bytes, sampled_jpeg_bytes;
    int64_t spool_files, spool_bytes;
    int64_t version, parameters;
    char sha256[HASH_HEX]; /* of the trainable set in use */
    char state[16];        /* "running", "waiting", "stopped" */
    char cloud[16];        /* "unknown", "reachable", "away" */
    char last_error[BOARD_TEXT];
    char alarm[BOARD_TEXT]; /* why no update can be trusted now; "": nothing wrong */
    double
        entropy_cut; /* the entropy from which the last window's candidates were drawn; -1: none */
    int applied_count; /* the last BOARD_APPLIED_MAX */
    struct board_applied applied[BOARD_APPLIED_MAX];
};

struct board {
    struct io *io;
    char path[4096];
    pthread_mutex_t lock; /* guards fields and the writing of the file */
    struct board_fields fields;
};

/* Starts from DATA/status.json where it is; a damaged one is reported and replaced by zeros. */
enum status board_open(struct io *io, const char *data_dir, struct board *board, struct err *err);
void board_close(struct board *board);
/* Between these two the caller owns board->fields. */
struct board_fields *board_lock(struct board *board);
void board_unlock(struct board *board);
/* As board_unlock, after writing the file; a failure is returned (and the fields stay). */
enum status board_commit(struct board *board, struct err *err);
/* A copy of the fields as they stand. */
void board_read_fields(struct board *board, struct board_fields *out);
void board_add_applied(struct board_fields *fields, const struct board_applied *applied);
/* Keeps the text as last_error and logs it as a warning. */
void board_note_error(struct board *board, const char *part, const char *text);

/* The same with the alarm; text "" ends it. Said again only when it changes. */
void board_set_alarm(struct board *board, const char *part, const char *text);

enum status board_print_json(const struct board_fields *fields, bool indent, struct buf *out);
enum status board_print_text(const struct board_fields *fields, struct buf *out);
/* DATA/status.json for reading. NOT_FOUND says that no agent has run there. */
enum status board_read(struct io *io, const char *data_dir, struct board_fields *out,
                       struct err *err);

#endif
