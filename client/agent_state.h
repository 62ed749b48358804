/* The agent's state, shared by its own files alone: agent.c (the loop), agent_open.c (start and
 * end) and round.c (lockstep). */
#ifndef CDCCA_AGENT_STATE_H
#define CDCCA_AGENT_STATE_H

#include "api/base/notify.h"
#include "client/agent.h"
#include "client/board.h"
#include "client/cloud.h"
#include "client/downlink.h"
#include "client/infer.h"
#include "client/probation.h"
#include "client/reports.h"
#include "client/slots.h"
#include "client/spool.h"
#include "client/uplink.h"
#include "client/window.h"
#include "model/task/stream.h"
#include <limits.h>

struct agent_sample { /* of the batch being answered; pixels lie in agent->rgb */
    char id[WINDOW_ID], question[LIMIT_QUESTION + 1];
    size_t jpeg_bytes;
};

struct agent_open_window { /* counters of the open window, added to the notebook when it closes */
    int64_t raw_bytes, jpeg_bytes;
    int64_t skipped; /* samples without an answer */
};

struct agent {
    struct agent_options options;
    char device[LIMIT_ID + 1], token_file[PATH_MAX];
    struct cloud_config reach;
    struct io *io;
    int lock_fd; /* DATA/lock: one agent per folder */
    struct board board;
    struct slots *slots;
    struct replay *replay;
    struct probation *probation;
    struct reports *reports;
    struct meter *meter;
    struct spool *spool;
    struct window *window;
    struct stream *stream;
    struct pool *pool;
    struct cloud *cloud; /* for POST /distill in lockstep; NULL otherwise */
    struct uplink *uplink;
    struct downlink *downlink;
    int side;           /* of the model's input */
    size_t image_bytes; /* side * side * 3 */
    uint8_t *rgb;       /* (INFER_BATCH, side, side, 3) */
    struct agent_sample batch[INFER_BATCH];
    struct answer answers[INFER_BATCH];
    int batched;
    struct buf jpeg;
    struct agent_open_window open;
    int64_t position; /* in the source, behind the last sample taken */
    uint64_t dropped_before;
    struct notify notify; /* told as long as the loop gets on */
    double due_ms;        /* when the next sample is due (rate) */
    int64_t dry_since_ms, round_started_ms;
};

/* agent_open.c: everything but the stream; threads run when it returns. Close takes NULL fields. */
enum status agent_open(const struct agent_options *options, struct agent **out, struct err *err);
void agent_close(struct agent *a);
/* (Re)opens the source where the next sample is: the segment's world, or the directory. */
enum status agent_open_segment(struct agent *a, struct err *err);
bool agent_has_segments(const struct agent *a);
/* Samples answered or passed over since the first start, the open window included. */
int64_t agent_seen(struct agent *a);
/* The notebook's version and hash from the slots. */
void agent_note_version(struct agent *a);

/* agent.c; serve.c gathers its samples elsewhere and uses these, too. */
/* What the picture at the model's size weighs as JPEG of quality 85; 0 when it cannot be told. */
size_t agent_jpeg_bytes(struct agent *a, const uint8_t *pixels);
/* Into the window (its visual tokens are in their place) and the open window's counters. */
void agent_keep_record(struct agent *a, const struct window_record *record);
/* window_close's emit: into the spool; ctx is the agent. */
enum status agent_emit(void *ctx, const struct window_upload *upload, struct err *err);
/* So many answers by this version, `bad` of them empty or not finite: a version that fails its
 * probation is left at once, and the cloud told. */
void agent_watch(struct agent *a, int64_t version, int64_t answers, int64_t bad);
void agent_close_window(struct agent *a);

/* round.c: lockstep. A round is open when its segment is answered but its version not yet there. */
int64_t agent_rounds_done(struct agent *a);
bool agent_round_is_open(struct agent *a);
/* Uploads everything, asks the cloud for a round, waits for its version, prints the round's line
 * and marks the counters for the next. Gives up waiting after the timeout, and says so. */
void agent_finish_round(struct agent *a);

#endif
