/* The arena is one anonymous mapping: MAP_NORESERVE makes a generous cap free, the kernel hands out
 * zeroed pages on first touch. Under AddressSanitizer everything past an allocation's end, and
 * everything that was reset, is poisoned, so stale pointers and overruns are caught here too. */
#include "api/base/arena.h"
#include "api/base/checked.h"
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#else
#define POISON(address, size) ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

enum { ALIGN = 64, PAGE = 4096 };

_Bool arena_init(struct arena *arena, size_t cap)
{
    memset(arena, 0, sizeof *arena);
    size_t size;
    if (!checked_align(cap ? cap : 1, PAGE, &size))
        return false;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    arena->base = base;
    arena->cap = size;
    return true;
}

void arena_use_large_pages(struct arena *arena)
{
    (void)madvise(arena->base, arena->cap, MADV_HUGEPAGE);
}

void arena_deinit(struct arena *arena)
{
    if (arena->base) {
        UNPOISON(arena->base, arena->peak);
        munmap(arena->base, arena->cap);
    }
    memset(arena, 0, sizeof *arena);
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded, end;
    if (!checked_align(size ? size : 1, ALIGN, &rounded) ||
        !checked_add(arena->used, rounded, &end) || end > arena->cap)
        return NULL;
    unsigned char *p = arena->base + arena->used;
    UNPOISON(p, size);
    POISON(p + size, rounded - size);
    arena->used = end;
    if (arena->peak < end)
        arena->peak = end;
    return p;
}

void *arena_zalloc(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    if (!checked_mul(count, size, &total))
        return NULL;
    void *p = arena_alloc(arena, total);
    return p ? memset(p, 0, total) : NULL;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = arena_alloc(arena, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

void arena_reset(struct arena *arena, size_t mark)
{
    if (mark >= arena->used)
        return;
    POISON(arena->base + mark, arena->used - mark);
    arena->used = mark;
}

void *arena_keep(struct arena *arena, size_t mark, const void *data, size_t size)
{
    UNPOISON(arena->base + mark, arena->used - mark);
    memmove(arena->base + mark, data, size);
    arena_reset(arena, mark);
    return arena_alloc(arena, size);
}
