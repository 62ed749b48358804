/* A bump allocator with a cap: memory for the life of a model, a training step, a request.
 * Address space is reserved once (mmap, no overcommit charge) and touched on use, so nothing is
 * allocated from the heap afterwards. Not thread-safe: one arena, one thread. */
#ifndef CDCCA_ARENA_H
#define CDCCA_ARENA_H

#include <stddef.h>

struct arena {
    unsigned char *base;
    size_t used, cap, peak;
};

/* Reserves cap bytes. False when the address space cannot be had. */
_Bool arena_init(struct arena *arena, size_t cap);
/* Asks the kernel for large pages, for an arena that is filled by megabytes time and again: fewer
 * faults and translations. A wish: nothing changes where it is not granted. */
void arena_use_large_pages(struct arena *arena);
void arena_deinit(struct arena *arena);

/* 64-byte aligned, uninitialised; NULL when the cap would be passed. arena_zalloc: zeroed. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);

/* mark = arena->used before; arena_reset(arena, mark) frees everything allocated since. */
void arena_reset(struct arena *arena, size_t mark);
/* Frees everything allocated since but `size` bytes at data (allocated since, too), which move down
 * to the mark; returns their new place. */
void *arena_keep(struct arena *arena, size_t mark, const void *data, size_t size);

#endif
