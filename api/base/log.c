/* A line is formatted on the stack and leaves with one write(2), so lines of several threads never
 * mix. Control characters are replaced: text from a peer cannot forge a line of its own. */
#include "api/base/log.h"
#include "api/base/clock.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Atomic int threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return names[level >= LOG_DEBUG && level <= LOG_ERROR ? level : LOG_ERROR];
}

static void text_clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

void log_line(enum log_level level, const char *part, const char *format, ...)
{
    if ((int)level < atomic_load(&threshold))
        return;
    char line[2048], when[32];
    clock_format(clock_wall_ms(), when);
    int head = snprintf(line, sizeof line, "%s %s %.64s: ", when, level_name(level), part);
    if (head < 0)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(line + head, sizeof line - (size_t)head - 1, format, args);
    va_end(args);
    text_clean(line);
    size_t len = strlen(line);
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nowhere left to say so */
}
