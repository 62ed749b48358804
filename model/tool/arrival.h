/* What a simulated edge's upload is when it has arrived in the cloud: instances for the distiller,
 * and the bytes that it took. Tokens are sent as the agent sends them (simulated_upload); the other
 * forms are what one would send in their place, about the same instances, and carry the same
 * metadata: questions, the device's answers, entropies, ids, word for word. */
#ifndef CDCCA_ARRIVAL_H
#define CDCCA_ARRIVAL_H

#include "model/tool/simulated.h"

struct arrival {
    struct distill_instance *instances; /* visual: F16 rounded, dequantized, or the cloud's own */
    int count;
    size_t bytes, plain;         /* of the round's upload: zstd, as it travels; and before it */
    size_t png_bytes, png_plain; /* FORM_PIXELS: the same pictures as PNG; else 0 */
    struct payload payload;      /* the metadata's owner */
    float *visual;
};

/* Picks n instances of the window and sends them in options->form. FORM_PIXELS: the cloud encodes
 * what the device has encoded, so the window's own tokens are taken. FORM_JPEG: pictures are
 * encoded, decoded, and their tokens made by edge's vision encoder, which the teacher shares. The
 * window must outlive *out; release with arrival_free. */
enum status arrival_make(const struct simulated *window, const struct mllm *edge, struct pool *pool,
                         int n, const struct simulated_options *options, struct arrival *out,
                         struct err *err);
void arrival_free(struct arrival *arrival);

#endif
