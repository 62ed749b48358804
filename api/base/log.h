/* Log lines to stderr: "2026-01-31T12:34:56.789Z info server: text". One call, one write(2). */
#ifndef CDCCA_LOG_H
#define CDCCA_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
