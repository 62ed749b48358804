/* Numbers of nested JSON arrays, as reference files hold tensors. */
#ifndef CDCCA_NUMBERS_H
#define CDCCA_NUMBERS_H

#include "api/wire/json.h"
#include "model/tensor/tensor.h"

struct numbers {
    double *at; /* in the tape's arena */
    size_t count;
    int ndim, dim[TENSOR_DIMS];
};

/* object[key], or NULL when it is absent or object is NULL. */
const json *numbers_field(const json *object, const char *key);
/* object[key] flattened into the tape's arena; count 0 when absent, null or empty. STATUS_SHAPE
 * when rows differ in length, STATUS_TOO_LARGE above 2^26 numbers. */
enum status numbers_read(struct tape *tape, const json *object, const char *key,
                         struct numbers *out, struct err *err);
/* Copies in the tape's arena (errors are the tape's); ids must be whole and in -100 .. 2^31-1. */
float *numbers_floats(struct tape *tape, const struct numbers *n);
enum status numbers_ids(struct tape *tape, const struct numbers *n, const char *what, int32_t **out,
                        struct err *err);

#endif
