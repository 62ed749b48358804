/* See log.h. A line grows in its record, on the caller's stack. Every append keeps LOG_TAIL bytes
 * free, so that what closes a string and the line always fits. */
#include "api/base/log.h"
#include "api/base/clock.h"
#include "api/base/utf8.h"
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LOG_TAIL = 8 };

static _Atomic int threshold = LOG_INFO;
static _Atomic int line_format = LOG_TEXT;

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

void log_set_format(enum log_format format)
{
    atomic_store(&line_format, (int)format);
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return names[level >= LOG_DEBUG && level <= LOG_ERROR ? level : LOG_ERROR];
}

/* ---- appending ---- */

static bool put(struct log_record *record, const char *bytes, size_t len)
{
    if (record->len + len + LOG_TAIL > sizeof record->line)
        return false;
    memcpy(record->line + record->len, bytes, len);
    record->len += len;
    return true;
}

static bool put_text(struct log_record *record, const char *text)
{
    return put(record, text, strlen(text));
}

/* One character of a quoted string; bytes of no well-formed sequence become '?'. Returns how many
 * were read, 0 when there is no room. */
static size_t put_quoted(struct log_record *record, const char *text, size_t len)
{
    unsigned char c = (unsigned char)*text;
    char escape[8];
    size_t sequence = utf8_sequence(text, len);
    bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && sequence == 2 && text[1] < '\xa0');
    if (sequence == 0)
        return put(record, "?", 1) ? 1 : 0;
    if (control)
        snprintf(escape, sizeof escape, "\\u%04x", sequence == 2 ? (unsigned char)text[1] : c);
    else if (c == '"' || c == '\\')
        snprintf(escape, sizeof escape, "\\%c", c);
    else
        return put(record, text, sequence) ? sequence : 0;
    return put_text(record, escape) ? sequence : 0;
}

static void put_string(struct log_record *record, const char *text)
{
    if (!put(record, "\"", 1))
        return;
    for (size_t len = strlen(text), n = 1; len > 0 && n > 0; text += n, len -= n)
        n = put_quoted(record, text, len);
    record->line[record->len++] = '"'; /* of the tail */
}

/* Text that needs no quotes in a field. */
static bool bare(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (*text <= ' ' || *text > '~' || *text == '"' || *text == '\\' || *text == '=')
            return false;
    return true;
}

static bool printable(const char *text)
{
    while (*text >= ' ' && *text <= '~')
        text++;
    return !*text;
}

/* "part: message", its control characters as blanks */
static void put_message(struct log_record *record, const char *part, const char *message)
{
    char text[LOG_LINE];
    if (printable(message) && strlen(message) < LOG_LINE / 2) {
        put_text(record, part);
        put_text(record, ": ");
        put_text(record, message);
        return;
    }
    snprintf(text, sizeof text, "%.64s: %.*s", part, LOG_LINE - 128, message);
    utf8_clean(text);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    put_text(record, text);
}

static bool field_open(struct log_record *record, const char *name, size_t needs)
{
    if (record->off || record->len + strlen(name) + needs + 8 + LOG_TAIL > sizeof record->line)
        return false;
    put_text(record, record->json ? ",\"" : " ");
    put_text(record, name);
    put_text(record, record->json ? "\":" : "=");
    return true;
}

/* ---- records ---- */

void log_begin(struct log_record *record, enum log_level level, const char *part,
               const char *message)
{
    char when[32];
    record->len = 0;
    record->json = atomic_load(&line_format) == LOG_JSON;
    record->off = (int)level < atomic_load(&threshold);
    if (record->off)
        return;
    clock_format(clock_wall_ms(), when);
    if (record->json) {
        put_text(record, "{\"time\":\"");
        put_text(record, when);
        put_text(record, "\"");
        log_string(record, "level", level_name(level));
        log_string(record, "part", part);
        log_string(record, "message", message);
        return;
    }
    put_text(record, when);
    put_text(record, " ");
    put_text(record, level_name(level));
    put_text(record, " ");
    put_message(record, part, message);
}

void log_string(struct log_record *record, const char *name, const char *value)
{
    if (!value || !field_open(record, name, 2))
        return;
    if (record->json || !bare(value))
        put_string(record, value);
    else if (!put_text(record, value))
        put(record, value, sizeof record->line - LOG_TAIL - record->len);
}

/* A line a request is written: without printf. Its decimal digits, at least `least` of them, end
 * where `end` points; where they begin. */
static char *digits_put(char *end, uint64_t value, int least)
{
    for (; value > 0 || least > 0; value /= 10, least--)
        *--end = (char)('0' + value % 10);
    return end;
}

static void put_number(struct log_record *record, const char *name, const char *text, size_t len)
{
    if (field_open(record, name, len))
        put(record, text, len);
}

void log_int(struct log_record *record, const char *name, int64_t value)
{
    char text[24], *end = text + sizeof text;
    char *first = digits_put(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
    if (value < 0)
        *--first = '-';
    put_number(record, name, first, (size_t)(end - first));
}

void log_number(struct log_record *record, const char *name, double value)
{
    char text[32], *end = text + sizeof text;
    double size = value > -1e15 && value < 1e15 ? fabs(value) : 0;
    uint64_t thousandths = (uint64_t)(size * 1000 + 0.5);
    char *first = digits_put(end, thousandths % 1000, 3);
    *--first = '.';
    first = digits_put(first, thousandths / 1000, 1);
    if (value < 0 && thousandths > 0)
        *--first = '-';
    put_number(record, name, first, (size_t)(end - first));
}

void log_close(struct log_record *record)
{
    if (record->off)
        return;
    if (record->json)
        record->line[record->len++] = '}';
    record->line[record->len++] = '\n';
}

void log_write(const char *lines, size_t len)
{
    if (len > 0 && write(STDERR_FILENO, lines, len) < 0)
        return; /* nowhere left to say so */
}

void log_end(struct log_record *record)
{
    log_close(record);
    log_write(record->line, record->len);
}

void log_line(enum log_level level, const char *part, const char *format, ...)
{
    if ((int)level < atomic_load(&threshold))
        return;
    char text[LOG_LINE];
    struct log_record record;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_begin(&record, level, part, text);
    log_end(&record);
}
