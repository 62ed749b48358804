/* The stop flag: set once by SIGTERM or SIGINT, read by every loop. The one mutable global besides
 * the log level; lock-free, so that a signal handler may set it. */
#ifndef CDCCA_STOP_H
#define CDCCA_STOP_H

#include <stdbool.h>
#include <stdint.h>

void stop_install(void); /* the signal handlers; SIGPIPE is ignored */
void stop_request(void);
void stop_clear(void); /* for tests */
bool stop_requested(void);
/* Sleeps in small steps until ms have passed or a stop is requested; true when it was. */
bool stop_sleep_ms(int64_t ms);

#endif
