/* Training through the code. Devices do not get the trained values but what DWC leaves of the
 * update (compress.h): at one bit a value that is a much coarser model. So each step is taken at
 * the coded values, and what it moves is added to the full-precision ones behind them (the
 * straight-through estimator: Bengio et al. 2013; for signs, BinaryConnect, Courbariaux et al.
 * 2015): the model learns to be right as devices will have it. The gate asks that model too. */
#ifndef CDCCA_CODED_H
#define CDCCA_CODED_H

#include "model/learn/compress.h"

struct coded {
    const struct trainable *set; /* borrowed; its values are the full-precision ones in between */
    const float *edge; /* borrowed: what devices have; NULL: everything here does nothing */
    struct compress_options options;
    float *master, *seen; /* set->values each: full precision, and as the step found them */
    char *codecs;         /* as compress_preview chose them */
    int shown;            /* times the coded values were shown */
};

enum status coded_open(struct coded *c, const struct trainable *set, const float *edge,
                       const struct compress_options *options, struct err *err);
void coded_close(struct coded *c);
/* The set's values become those of the devices: now, or after an update from the set as it is. */
void coded_show_edge(struct coded *c);
enum status coded_show(struct coded *c, struct err *err);
/* The same, after the last step: to the bit what compress_encode would release, which under a byte
 * budget looks at the whole patch. */
enum status coded_show_release(struct coded *c, struct err *err);
/* After coded_show: the full-precision values are moved by what has changed since. */
void coded_move(struct coded *c);
/* The set's values are the full-precision ones again. */
void coded_hide(struct coded *c);

#endif
