/* What the parts of cdcca-model verify share. Internal to model/tool/verify*.c. */
#ifndef CDCCA_VERIFY_PARTS_H
#define CDCCA_VERIFY_PARTS_H

#include "model/mllm/mllm.h"
#include "model/tool/numbers.h"
#include "model/tool/verify.h"

struct verify {
    struct io *io;
    const char *dir;
    json *inputs, *expected; /* inputs may be NULL */
    struct verify_report *report;
    const char *prefix; /* of the checks' names: "" or "sharded " */
    bool gradients;     /* compare gradients too */
    bool trains;        /* some are asked for: 16-bit weights become F32, whatever their size */
    struct arena arena;
    struct tape tape;
    struct mllm *m;        /* the model under test, all of it trainable unless verify_train says */
    struct param **params; /* what is trained */
    int count;
    float *grads; /* (values) */
    size_t values;
};

/* ---- verify_model.c ---- */

/* DIR/folder's model, with other files in the place of config.json and model.safetensors; any of
 * the three may be NULL. Replaces v->m. */
enum status verify_open(struct verify *v, const char *folder, const char *config,
                        const char *weights, struct err *err);
void verify_close(struct verify *v);
/* What is trained from here on: parameters whose name holds `part`; NULL: all that are F32. */
enum status verify_train(struct verify *v, const char *part, struct err *err);
/* Empties the tape and the gradients. */
void verify_begin(struct verify *v, bool recording);
enum status verify_read(struct io *io, const char *dir, const char *name, json **out,
                        struct err *err);
/* False for a file that is not there. */
bool verify_has(const struct verify *v, const char *name);

/* A check called "<prefix><name> <what>". */
struct verify_check *verify_add(struct verify *v, const char *name, const char *what,
                                double difference);
/* The same for have (n) against want (n): the largest difference and where it is. */
struct verify_check *verify_add_numbers(struct verify *v, const char *name, const char *what,
                                        const float *have, const double *want, size_t n);
/* One number under `key`, if it is there. */
enum status verify_add_number(struct verify *v, const char *name, const char *what,
                              const json *object, const char *key, double have, struct err *err);
/* Norm, sum, first and last values of x (n) against {norm, sum, first8 or first4, last4}: the
 * largest difference; what is not there is not compared. */
enum status verify_stat(struct verify *v, const json *stat, const float *x, size_t n,
                        double *largest, struct err *err);

/* ---- verify_case.c: one forward and backward pass ---- */

/* inputs.json's or the case's own input of a case as a batch, its visual tokens encoded. */
enum status verify_input(struct verify *v, const char *name, const json *expected,
                         struct mllm_batch *batch, const json **input, struct err *err);
enum status verify_case(struct verify *v, const char *name, const json *expected, struct err *err);

/* ---- verify_generation.c ---- */

/* An object with new_token_ids: greedy, or with num_beams. */
enum status verify_generation(struct verify *v, const char *name, const json *expected,
                              struct err *err);
/* The stories' form: a list of prompts with all ids, and one teacher-forced text. */
enum status verify_stories(struct verify *v, struct err *err);

/* ---- verify_training.c ---- */

enum status verify_training(struct verify *v, struct err *err); /* training.json */

#endif
