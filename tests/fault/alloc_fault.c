/* See alloc_fault.h. */
#include "tests/fault/alloc_fault.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *data, size_t size);
int __real_posix_memalign(void **out, size_t align, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *data, size_t size);
int __wrap_posix_memalign(void **out, size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *text);

static _Atomic long count, target;
static _Atomic bool armed, lasting;
static sqlite3_mem_methods sqlite_methods; /* SQLite's own */

static bool fails(void)
{
    if (!atomic_load(&armed))
        return false;
    long n = atomic_fetch_add(&count, 1) + 1, at = atomic_load(&target);
    bool hit = at && (n == at || (n > at && atomic_load(&lasting)));
    if (hit)
        errno = ENOMEM;
    return hit;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *data, size_t size)
{
    return fails() ? NULL : __real_realloc(data, size);
}

int __wrap_posix_memalign(void **out, size_t align, size_t size)
{
    return fails() ? ENOMEM : __real_posix_memalign(out, align, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(align, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

static void *sqlite_malloc(int size)
{
    return fails() ? NULL : sqlite_methods.xMalloc(size);
}

static void *sqlite_realloc(void *data, int size)
{
    return fails() ? NULL : sqlite_methods.xRealloc(data, size);
}

void alloc_hooks(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_methods);
    sqlite3_mem_methods ours = sqlite_methods;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
}

void alloc_arm(long n, bool on)
{
    atomic_store(&count, 0);
    atomic_store(&target, n);
    atomic_store(&lasting, on);
    atomic_store(&armed, true);
}

long alloc_disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&count);
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* With ALLOC_LEAKS set, and AddressSanitizer, the failure that leaks is named (slow). */
static bool leaks(void)
{
    return getenv("ALLOC_LEAKS") && __lsan_do_recoverable_leak_check &&
           __lsan_do_recoverable_leak_check() != 0;
}

bool alloc_torture(const char *name, alloc_scenario *run, void *ctx, long most)
{
    long tried = 0;
    alloc_arm(0, false);
    bool fine = run(ctx, false);
    long total = alloc_disarm();
    long stride = most && total > most ? (total + most - 1) / most : 1;
    for (int on = 0; on < 2 && fine; on++)
        for (long n = 1; n <= total && fine; n += stride, tried++) {
            alloc_arm(n, on);
            fine = run(ctx, true);
            alloc_disarm();
            if (leaks()) {
                printf("%s: a leak when allocation %ld fails\n", name, n);
                fine = false;
            }
            if (!fine)
                printf("%s: does not hold when allocation %ld fails%s\n", name, n,
                       on ? " and all after it" : "");
        }
    printf("%s: %ld allocations, %ld times failing\n", name, total, tried);
    return fine;
}
