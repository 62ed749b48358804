/* Lessons: stored uploads, decoded and dequantized into what the distiller takes. Bounded: what
 * does not fit max_bytes of memory, or is damaged on disk, is left out with a line in the log; one
 * bad file must not keep a fleet from learning. */
#ifndef CDCCA_LESSONS_H
#define CDCCA_LESSONS_H

#include "api/wire/payload.h"
#include "model/learn/distill.h"
#include "server/store.h"

struct lessons {
    struct distill_instance *items;
    int count, cap;
    int tokens; /* that the encoder makes of an image: an upload's last may stand for the rest */
    size_t bytes, max_bytes;
    void **owned; /* decoded payloads and token arrays behind items */
    int owned_count, owned_cap;
};

/* Those of one round, in the order they came. */
enum status lessons_load_round(struct store *store, int64_t round, int tokens, size_t max_bytes,
                               struct lessons *out, struct err *err);
/* The latest `limit` uploads of finished rounds, oldest first. */
enum status lessons_load_learned(struct store *store, int limit, int tokens, size_t max_bytes,
                                 struct lessons *out, struct err *err);
/* One upload as it came, checked against its name. payload_free afterwards. */
enum status lessons_read_upload(struct store *store, const char *sha256, struct payload *out,
                                struct err *err);
void lessons_free(struct lessons *lessons);

#endif
