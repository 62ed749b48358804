/* Log lines to stderr, for people or for programs:
 *
 *   text  2026-01-31T12:34:56.789Z info http: request id=5f1c-1 method=POST status=201
 *   json  {"time":"2026-01-31T12:34:56.789Z","level":"info","part":"http","message":"request",
 *          "id":"5f1c-1","method":"POST","status":201}
 *
 * Whole lines alone are written, by one write(2), so lines of several threads never mix.
 * Control characters leave escaped or as blanks: text from a peer cannot forge a line or a field.
 * What is secret is never given to these functions. */
#ifndef CDCCA_LOG_H
#define CDCCA_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };
enum { LOG_LINE = 2048 };

void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
/* A sentence. */
void log_line(enum log_level level, const char *part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line with fields: begin, any number of fields, end. A field that has no room is cut or left
 * out; the line stays well formed. */
struct log_record {
    char line[LOG_LINE];
    size_t len;
    bool json, off;
};

void log_begin(struct log_record *record, enum log_level level, const char *part,
               const char *message);
/* A NULL value is left out. */
void log_string(struct log_record *record, const char *name, const char *value);
void log_int(struct log_record *record, const char *name, int64_t value);
void log_number(struct log_record *record, const char *name, double value); /* three decimals */
void log_end(struct log_record *record);
/* The end of a line that is not written yet: record->line, len bytes; 0 when its level is off. */
void log_close(struct log_record *record);
/* Whole lines. */
void log_write(const char *lines, size_t len);

#endif
