/* slow_sync: LD_PRELOADed, each sync takes SLOW_SYNC_US microseconds more. What durability costs
 * depends on the disk: a server's with a battery syncs in a tenth of a millisecond, a consumer SSD
 * in a few; with this one machine shows both. */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int slowly(const char *name, int fd)
{
    union {
        void *symbol;
        int (*call)(int);
    } real = {.symbol = dlsym(RTLD_NEXT, name)};
    const char *us = getenv("SLOW_SYNC_US");
    usleep(us ? (useconds_t)atoi(us) : 0);
    return real.call(fd);
}

__attribute__((visibility("default"))) int fsync(int fd)
{
    return slowly("fsync", fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    return slowly("fdatasync", fd);
}
