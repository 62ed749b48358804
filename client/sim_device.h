/* One device of a simulated fleet: its stream, its window, its link, its place in the cloud. The
 * model it answers with is the fleet's (sim_models.h); whoever answers for many devices at once
 * takes their samples and gives them their answers.
 *
 * Two threads work on a device: one answers (sim_device_take, _keep), one is its network
 * (sim_device_step). What both touch is behind the device's lock. */
#ifndef CDCCA_SIM_DEVICE_H
#define CDCCA_SIM_DEVICE_H

#include "client/backoff.h"
#include "client/cloud.h"
#include "client/sim_link.h"
#include "client/sim_models.h"
#include "client/window.h"
#include "model/task/stream.h"
#include <pthread.h>

enum { SIM_DOMAINS = 8, SIM_OUTBOX = 8, SIM_ID = 24, SIM_ERROR = 200 };

struct sim_fleet {               /* what devices have in common; borrowed by all of them */
    const char *cloud_url, *dir; /* dir: for patches on their way */
    const char *domain[SIM_DOMAINS];
    int domains;
    int64_t segment; /* samples before the next domain */
    struct sim_link_options link;
    struct window_options window; /* but for device and seed */
    int64_t poll_s;
    uint64_t seed;
    int side; /* of the model's input */
    struct sim_models *models;
};

struct sim_counts {
    int64_t answered, sampled, uploaded, uplink_bytes, downlink_bytes;
    int64_t attempts, lost, errors, dropped, updates;
    double update_s, update_s_max; /* from a release's first sight to its first answer's model */
    char last_error[SIM_ERROR];    /* "" when there was none */
};

struct sim_upload {
    struct buf body;
    uint32_t instances;
    struct hash hash;
};

struct sim_device {
    const struct sim_fleet *fleet;
    int number;
    char id[SIM_ID];
    const char *device_class, *channel;

    /* the answering thread's */
    struct stream *stream;
    int64_t stream_segment; /* that the stream is open for; -1: none */
    struct window *window;
    uint64_t windows;
    int64_t due_ms;

    /* the network thread's */
    struct cloud *cloud;
    struct sim_link link;
    struct backoff backoff;
    struct cloud_release release; /* on its way; version 0: none */
    struct hash failed;           /* a patch that could not be applied: left alone */
    int64_t offered_ms;           /* when it was first seen */
    int64_t poll_ms;              /* when to ask again */
    int64_t told;                 /* the version the cloud knows; -1: none */
    const char *outcome;          /* to be told of told_outcome; NULL: nothing */
    int64_t outcome_version;
    double outcome_s;
    struct err why; /* it failed */

    pthread_mutex_t lock; /* guards what follows */
    struct sim_running runs;
    struct sim_upload outbox[SIM_OUTBOX]; /* oldest first */
    int waiting;
    struct sim_counts counts;
};

enum status sim_device_init(struct sim_device *d, const struct sim_fleet *fleet, int number,
                            const char *device_class, const char *channel, struct err *err);
void sim_device_deinit(struct sim_device *d);

/* The next sample; borrowed from the device's stream until the next call. */
enum status sim_device_take(struct sim_device *d, struct sample *out, struct err *err);
/* The model it answers with now, retained, and the version. */
struct mllm *sim_device_model(struct sim_device *d, int64_t *version);
/* An answer to a sample of the stream: into the window, and when that is full into the outbox.
 * visual: its tokens. */
enum status sim_device_keep(struct sim_device *d, const struct mllm *m, int64_t version,
                            const char *question, const struct answer *answer, const float *visual,
                            struct err *err);

/* The next thing there is to do on the network, if any: false when there was none. */
bool sim_device_step(struct sim_device *d, int64_t now_ms);
void sim_device_counts(struct sim_device *d, struct sim_counts *counts, int64_t *version);

#endif
