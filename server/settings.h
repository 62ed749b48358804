/* What one round is told: how to distil and how to compress. As JSON in POST /distill and in the
 * store: every field optional, every field bounded, unknown ones refused.
 *   {"steps", "batch", "lr", "clip", "labels": "hard" | "soft", "query", "repr", "ce", "kl",
 *    "temperature", "holdout", "seed", "budget_bytes", "codec", "selected_share"} */
#ifndef CDCCA_SETTINGS_H
#define CDCCA_SETTINGS_H

#include "api/wire/json.h"
#include "api/wire/limits.h"
#include "model/learn/compress.h"
#include "model/learn/distill.h"

struct settings {
    struct distill_options distill;
    struct compress_options compress;
};

struct settings settings_defaults(void);
/* Empty text: the defaults. */
enum status settings_parse(const void *text, size_t len, struct settings *out, struct err *err);
/* Every field, so that a stored round means the same under later defaults. NULL without memory. */
json *settings_json(const struct settings *settings);
/* The same as NUL-terminated text (the NUL is not counted). */
enum status settings_write(const struct settings *settings, struct buf *out, struct err *err);

#endif
