/* Makes allocations fail: of everything linked here (--wrap), of jansson through api/wire, and of
 * SQLite. zstd's, libmicrohttpd's and the C library's own are left alone. Counts from alloc_arm on,
 * over all threads. */
#ifndef CDCCA_TEST_ALLOC_FAULT_H
#define CDCCA_TEST_ALLOC_FAULT_H

#include <stdbool.h>

void alloc_hooks(void); /* once, before anything else */
/* The n-th allocation from now on fails, and with `on` every one after it; n = 0: none does. */
void alloc_arm(long n, bool on);
/* None fails any more; how many were asked for since alloc_arm. */
long alloc_disarm(void);

/* Runs `run` with each allocation failing in turn, alone and with all that follow; at most `most`
 * of them, spread evenly (0: all). Prints a line. run says whether what must hold did. */
typedef bool alloc_scenario(void *ctx, bool faulty);
bool alloc_torture(const char *name, alloc_scenario *run, void *ctx, long most);

#endif
