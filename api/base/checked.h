/* Arithmetic on sizes that come from outside: every function returns false on overflow and then
 * leaves *out alone. */
#ifndef CDCCA_CHECKED_H
#define CDCCA_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool checked_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* a rounded up to a multiple of the power of two `align` */
static inline bool checked_align(size_t a, size_t align, size_t *out)
{
    size_t r;
    if (!checked_add(a, align - 1, &r))
        return false;
    *out = r & ~(align - 1);
    return true;
}

#endif
