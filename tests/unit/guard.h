/* Places bytes so that they end flush against an unreadable page: one byte read past the end of an
 * input faults, with or without sanitizers (the idea is picohttpparser's). */
#ifndef CDCCA_TEST_GUARD_H
#define CDCCA_TEST_GUARD_H

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

struct guard {
    unsigned char *map, *end;
    size_t size;
};

enum { GUARD_PAGE = 4096 };

static inline int guard_init(struct guard *guard, size_t cap)
{
    size_t data = (cap + GUARD_PAGE - 1) / GUARD_PAGE * GUARD_PAGE;
    *guard = (struct guard){.size = data + GUARD_PAGE};
    void *map = mmap(NULL, guard->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return -1;
    guard->map = map;
    guard->end = guard->map + data;
    return mprotect(guard->end, GUARD_PAGE, PROT_NONE);
}

/* A copy of data whose last byte is the page's last. */
static inline unsigned char *guard_put(struct guard *guard, const void *data, size_t len)
{
    return len ? memcpy(guard->end - len, data, len) : guard->end;
}

static inline void guard_deinit(struct guard *guard)
{
    munmap(guard->map, guard->size);
}

#endif
