/* A sampling window: the answers of the last `capacity` samples with their visual tokens, kept in
 * memory until the window closes. Closing is UTS: the instances whose answers were most uncertain
 * are drawn (ent2), of each the most telling visual tokens are kept, quantized and packed into
 * uploads of at most WINDOW_UPLOAD instances (more share one zstd frame, and it pays). */
#ifndef CDCCA_WINDOW_H
#define CDCCA_WINDOW_H

#include "api/base/buf.h"
#include "api/wire/limits.h"
#include "model/learn/uncertainty.h"

enum { WINDOW_UPLOAD = 128, WINDOW_ID = LIMIT_ID + 1 };

struct window_options {
    int capacity;      /* instances per window */
    double budget;     /* share of instances to upload, 0..1 */
    float pool_factor; /* ent2: draw from the top pool_factor * n; 3 */
    int bits;          /* 4 or 8 */
    uint64_t seed;
    const char *device;
    size_t upload_bytes; /* the most an upload may weigh; 0: LIMIT_UPLOAD_BYTES */
    struct uts_options uts;
};

struct window_record {
    char id[WINDOW_ID];
    char question[LIMIT_QUESTION + 1], answer[LIMIT_ANSWER + 1];
    const char *correction; /* what a user said is right, borrowed; NULL: nothing */
    float entropy;
    size_t jpeg_bytes;
    int64_t version; /* that answered */
    int at;          /* where its tokens are kept */
};

struct window;
/* tokens, width: of one image, as infer.h says. */
enum status window_create(const struct window_options *options, int tokens, int width,
                          struct window **out, struct err *err);
void window_destroy(struct window *window);
int window_count(const struct window *window);
bool window_full(const struct window *window);
/* Where the tokens of the next `n` records go: record i's at + i * tokens * width floats. NULL when
 * fewer than n places are left. */
float *window_room(struct window *window, int n);
/* Adds a record whose tokens are already in its place. */
void window_add(struct window *window, const struct window_record *record);

/* Record i, and the tokens of a record's place. */
const struct window_record *window_record(const struct window *window, int i);
const float *window_visual(const struct window *window, int at);
/* Gives up what is in the window. */
void window_clear(struct window *window);
/* Takes the record with this id out, so that it is not drawn; false when it is not there. */
bool window_drop(struct window *window, const char *id);

struct window_upload { /* one closed upload, ready for the spool */
    const void *body;  /* zstd over cdcca.tokens/1; valid during the callback */
    size_t size;
    uint32_t instances;
    uint64_t jpeg_bytes;  /* of those images */
    double entropy;       /* nats, summed over the instances */
    uint32_t corrections; /* instances that carry a user's correction */
};

struct window_result {
    int sampled, uploads;
    uint64_t jpeg_bytes;
    double entropy_cut; /* lowest entropy among the candidates drawn from; -1 when none */
};

/* Chooses round(budget * seen_total) - sampled_total instances (so that shares of windows add up
 * over time), packs them, calls emit for each upload and, when all went well, empties the window.
 * index: the window's number, which with the seed fixes every draw: the same window closes the same
 * way after a restart. m: the model that answers now. */
enum status window_close(struct window *window, const struct mllm *m, uint64_t index,
                         int64_t seen_total, int64_t sampled_total,
                         enum status (*emit)(void *ctx, const struct window_upload *upload,
                                             struct err *err),
                         void *ctx, struct window_result *result, struct err *err);

/* One record as an upload of its own, whatever the budget says (a correction). visual: its tokens.
 * emit as in window_close. */
enum status window_pack_one(const struct window *window, const struct mllm *m, const float *visual,
                            const struct window_record *record,
                            enum status (*emit)(void *ctx, const struct window_upload *upload,
                                                struct err *err),
                            void *ctx, struct err *err);

/* The upload of one instance, for `ask`: which tokens would go and how many bytes they take. */
enum status window_preview(const struct window_options *options, const struct mllm *m,
                           const float *visual, const struct window_record *record,
                           uint16_t *positions, int *kept, size_t *bytes, struct err *err);

#endif
