/* Uploads become exemplars: screened (screen.h), copied into the buffer of what rounds learn from,
 * asked other uploads' questions too, and answered by the teacher. */
#ifndef CDCCA_INTAKE_H
#define CDCCA_INTAKE_H

#include "model/learn/distill.h"
#include "model/learn/exemplar.h"

struct intake {
    struct mllm *teacher, *student; /* borrowed, as is the pool */
    struct pool *pool;
    struct exemplar_match match;
    struct exemplars buffer;
    int cross;        /* questions of others asked about each upload */
    uint64_t uploads; /* numbers them */
};
void intake_init(struct intake *in, struct mllm *teacher, struct mllm *student, struct pool *pool);
void intake_deinit(struct intake *in);
/* Clamped to what is sensible. */
void intake_cross(struct intake *in, int questions);

/* One round's uploads; what was left out, and why, is counted in the report. */
enum status intake_add(struct intake *in, const struct distill_instance *instances, int n,
                       struct distill_report *report, struct err *err);
/* Earlier rounds' uploads again, each round's by themselves, as they were screened when they came.
 */
enum status intake_recall(struct intake *in, const struct distill_instance *instances, int n,
                          struct err *err);

/* To forget what came in since. */
struct intake_mark {
    int count;
    uint64_t uploads;
};
struct intake_mark intake_mark(const struct intake *in);
void intake_back(struct intake *in, struct intake_mark mark);
/* Drops the oldest beyond what the buffer may hold. */
void intake_trim(struct intake *in);

#endif
