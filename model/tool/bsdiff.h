/* The size of a bsdiff patch, by the program of that name (Debian: bsdiff): what a general tool
 * makes of two states. The one file that runs a program. */
#ifndef CDCCA_BSDIFF_H
#define CDCCA_BSDIFF_H

#include "api/base/status.h"
#include <stddef.h>

/* STATUS_UNSUPPORTED: the program is not in PATH. Files lie in a folder under /tmp meanwhile. */
enum status bsdiff_size(const void *old, size_t old_bytes, const void *new, size_t new_bytes,
                        size_t *patch_bytes, struct err *err);

#endif
