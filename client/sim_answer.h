/* Answering for a simulated fleet: the devices whose next sample is due, those of one version in
 * one batch. */
#ifndef CDCCA_SIM_ANSWER_H
#define CDCCA_SIM_ANSWER_H

#include "client/sim_device.h"

struct sim_answer {
    struct sim_device *device; /* (count), borrowed */
    int count, next;           /* next: where to look for due ones */
    double period_ms;
    struct pool *pool;
    size_t image_bytes;
    uint8_t *rgb;  /* (INFER_BATCH, side, side, 3) */
    float *visual; /* (INFER_BATCH, tokens, width) */
    struct answer answers[INFER_BATCH];
    char question[INFER_BATCH][LIMIT_QUESTION + 1];
    int who[INFER_BATCH];
};

/* rate: samples a second and device. */
enum status sim_answer_init(struct sim_answer *a, struct sim_device *device, int count, double rate,
                            struct pool *pool, struct err *err);
void sim_answer_deinit(struct sim_answer *a);
/* One batch, if anything is due: *any. A fleet that is too large for the machine answers as fast as
 * it can. */
enum status sim_answer_step(struct sim_answer *a, int64_t now_ms, bool *any, struct err *err);

#endif
