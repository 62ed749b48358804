/* Beam search, as HF transformers 4.36 does it (generation/beam_search.py, early_stopping False).
 */
#ifndef CDCCA_BEAM_H
#define CDCCA_BEAM_H

#include "model/mllm/generation.h"

/* generation_run for how->beams > 1; out is cleared. Per prompt, how->beams sequences go on at a
 * time, and as many finished ones are kept. A prompt is over when its worst finished sequence is no
 * worse than the best one that goes on, at the present length (a heuristic: a longer one could
 * still win). */
enum status beam_search(struct decoder *d, const struct generation *how, struct generated *out,
                        struct err *err);

#endif
