/* A growable byte buffer with a maximum. Zero-initialise with {.max = N}; buf_free when done. */
#ifndef CDCCA_BUF_H
#define CDCCA_BUF_H

#include "api/base/status.h"
#include <stddef.h>

struct buf {
    unsigned char *data;
    size_t len, cap, max;
};

enum status buf_reserve(struct buf *buf, size_t extra);
enum status buf_append(struct buf *buf, const void *data, size_t len);
/* Also NUL-terminates (not counted in len), so that buf->data can be read as a string. */
enum status buf_printf(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *buf); /* len = 0, memory kept */
void buf_free(struct buf *buf);

#endif
