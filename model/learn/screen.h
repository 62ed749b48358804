/* The screen: what of a round's uploads is learned from when several devices take part, so that a
 * few hostile ones cannot pull the student. A device's answers are never labels; what is left to it
 * is the number of its uploads, their tokens, and corrections. Each is held against what the
 * round's other devices send, and the median decides: good for as long as most devices are honest.
 * With fewer than SCREEN_DEVICES there is no majority, and nothing is screened. */
#ifndef CDCCA_SCREEN_H
#define CDCCA_SCREEN_H

#include "model/learn/exemplar.h"

enum {
    SCREEN_DEVICES = 3,     /* from so many on */
    SCREEN_UPLOADS = 8,     /* a device may always have so many in a round */
    SCREEN_CORRECTIONS = 4, /* of which so many with a user's correction */
    SCREEN_AGREED = 3       /* devices that say the same outvote the teacher */
};

/* How many devices sent these. */
enum status screen_devices(const struct distill_instance *instances, int n, int *devices,
                           struct err *err);

/* out (n): set for those that are not learned from, counted in *counts.
 * Beyond a device's share: SCREEN_UPLOADS, or twice what the median device sent, if that is more.
 * Which of a device's stay is drawn from its number alone, so that the same uploads always give the
 * same.
 * Strange: visual tokens (count, width) that have less than a third of the median upload's
 * coherence, as noise has. */
enum status screen_uploads(const struct distill_instance *instances, int n, int width, bool *out,
                           struct distill_left_out *counts, struct err *err);

/* The share of the tokens' energy that is their mean's: 1 for copies of one token, about 1 / count
 * for independent ones; in an image, tokens have much in common, whatever the image. */
float screen_coherence(const struct distill_instance *instance, int width);

/* Corrections among the taught exemplars [first, count) that are not to be believed lose their
 * label (exemplar_forget; the teacher has to label them): those beyond SCREEN_CORRECTIONS or twice
 * the median of the devices that correct; and those that the teacher finds less likely by more than
 * e^SCREEN_MARGIN than the words it would say itself, unless SCREEN_AGREED devices, and a fifth of
 * all `devices`, answer the same question with the same words where the teacher says the same
 * other. */
enum status screen_corrections(struct exemplars *list, int first, int devices, int vocab,
                               struct distill_corrections *out, struct err *err);

#endif
