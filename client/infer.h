/* Local inference: images and questions in, answers and the encoder's tokens out; the built-in
 * model's place. */
#ifndef CDCCA_INFER_H
#define CDCCA_INFER_H

#include "model/learn/uncertainty.h"
#include "model/mllm/answer.h"
#include "model/task/image.h"

enum { INFER_BATCH = 16, INFER_MAX_NEW = 12 };

/* Visual tokens per image, class token included, and floats per token. */
int infer_tokens(const struct mllm *m);
int infer_width(const struct mllm *m);

/* The student's directory when none is named: ../share/cdcca/models/student or ../models/student
 * beside the executable, models/student here, or where it is installed (CDCCA_DATADIR). NOT_FOUND
 * names them. */
enum status infer_default_model(char *out, size_t size, struct err *err);
/* mllm_load, and refuses a model that cannot answer about images. */
enum status infer_load(const char *dir, struct mllm **out, struct err *err);

/* n <= INFER_BATCH images rgb (n,S,S,3) and questions. visual (n,tokens,width) gets the encoder's
 * tokens. An answer whose entropy is not finite is STATUS_CORRUPT: the weights are bad. */
enum status infer_answer(const struct mllm *m, struct pool *pool, const uint8_t *rgb,
                         const char *const *questions, int n, float *visual, struct answer *answers,
                         struct err *err);

/* The same from encoder tokens (n,tokens,width), and from asks as they are. */
enum status infer_ask(const struct mllm *m, struct pool *pool, const float *visual,
                      const char *const *questions, int n, struct answer *answers, struct err *err);
enum status infer_ask_all(const struct mllm *m, struct pool *pool, const struct ask *asks, int n,
                          struct answer *answers, struct err *err);

#endif
