/* What a round is told: defaults and ranges (distill.h). */
#include "model/learn/distill.h"

enum { BATCH_MAX = 256 };

struct distill_options distill_defaults(void)
{
    return (struct distill_options){.labels = LABELS_SOFT,
                                    .steps = 300,
                                    .batch = 32,
                                    .lr = 3e-3f,
                                    .clip = 1,
                                    .query = 1,
                                    .repr = 1,
                                    .ce = 0.5f,
                                    .kl = 0.5f,
                                    .temperature = 2,
                                    .holdout = 0.2f};
}

enum status distill_options_check(const struct distill_options *o, struct err *err)
{
    const struct {
        const char *name;
        double value, low, high;
    } fields[] = {
        {"steps", o->steps, 1, 100000},
        {"batch", o->batch, 1, BATCH_MAX},
        {"lr", (double)o->lr, 1e-8, 10},
        {"clip", (double)o->clip, 0, 1e6},
        {"query", (double)o->query, 0, 1000},
        {"repr", (double)o->repr, 0, 1000},
        {"ce", (double)o->ce, 0, 1000},
        {"kl", (double)o->kl, 0, 1000},
        {"temperature", (double)o->temperature, 0.1, 100},
        {"wavelet", (double)o->wavelet, 0, 1000},
        {"holdout", (double)o->holdout, 0, 0.9},
        {"token_drop", (double)o->token_drop, 0, 0.9},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!(fields[i].value >= fields[i].low && fields[i].value <= fields[i].high))
            return err_set(err, STATUS_MALFORMED, "%s is %g, expected %g .. %g", fields[i].name,
                           fields[i].value, fields[i].low, fields[i].high);
    if (o->labels != LABELS_HARD && o->labels != LABELS_SOFT)
        return err_set(err, STATUS_MALFORMED, "labels are hard or soft");
    if (o->features < FEATURES_MSE || o->features > FEATURES_CWD)
        return err_set(err, STATUS_MALFORMED, "features are held by mse, pkd or cwd");
    if (!(o->ce + o->kl > 0))
        return err_set(err, STATUS_MALFORMED,
                       "ce and kl are both 0: features alone destroy the model");
    return STATUS_OK;
}
