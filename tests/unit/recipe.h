/* Bytes described in a text that a reader can read, so that a binary test input is a small text
 * file. One item a line; '#' begins a comment; blank lines count nothing:
 *
 *   text REST            the rest of the line, as it is
 *   hex 00 ff 10         bytes
 *   repeat N HH HH ..    these bytes, N times
 *   le64 N  be32 N  be16 N
 *   header .. end        safetensors: what is inside, behind its length as le64
 *   png                  PNG's signature
 *   chunk NAME .. end    PNG: length, name, what is inside, checksum
 *   deflate .. end       what is inside, compressed
 *   segment HH .. end    JPEG: the marker FF HH, and what is inside behind its length
 *   flip AT HH           the byte AT so far, exclusive-or HH (AT < 0: from the end)
 *   drop N               the last N bytes go
 *
 * "header TEXT" on one line is a header of just that text. */
#ifndef CDCCA_TEST_RECIPE_H
#define CDCCA_TEST_RECIPE_H

#include "api/base/buf.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { RECIPE_NESTING = 8, RECIPE_MAX = 64 << 20 };

struct recipe {
    struct buf *out;
    int depth;
    struct {
        char verb; /* the first letter of what was opened */
        size_t at; /* where its content begins */
    } open[RECIPE_NESTING];
};

static inline bool recipe_put(struct buf *out, uint64_t value, int bytes, bool big)
{
    unsigned char at[8];
    for (int i = 0; i < bytes; i++)
        at[big ? bytes - 1 - i : i] = (unsigned char)(value >> (8 * i));
    return buf_append(out, at, (size_t)bytes) == STATUS_OK;
}

/* Moves the content up by n bytes, for what stands before it once its length is known. */
static inline unsigned char *recipe_room(struct buf *out, size_t at, size_t n)
{
    static const unsigned char nothing[16];
    if (buf_append(out, nothing, n) != STATUS_OK)
        return NULL;
    memmove(out->data + at + n, out->data + at, out->len - n - at);
    return out->data + at;
}

static inline bool recipe_close_header(struct buf *out, size_t at)
{
    uint64_t len = out->len - at;
    unsigned char *room = recipe_room(out, at, 8);
    for (int i = 0; room && i < 8; i++)
        room[i] = (unsigned char)(len >> (8 * i));
    return room != NULL;
}

/* The chunk's name, or the segment's marker, is already the content's beginning. */
static inline bool recipe_close_chunk(struct buf *out, size_t at)
{
    uint32_t crc = (uint32_t)crc32(0, out->data + at, (uInt)(out->len - at));
    size_t len = out->len - at - 4;
    unsigned char *room = recipe_room(out, at, 4);
    for (int i = 0; room && i < 4; i++)
        room[i] = (unsigned char)(len >> (24 - 8 * i));
    return room && recipe_put(out, crc, 4, true);
}

static inline bool recipe_close_segment(struct buf *out, size_t at)
{
    size_t len = out->len - at;
    unsigned char *room = recipe_room(out, at + 2, 2);
    if (room) {
        room[0] = (unsigned char)(len >> 8);
        room[1] = (unsigned char)len;
    }
    return room != NULL;
}

static inline bool recipe_close_deflate(struct buf *out, size_t at)
{
    uLong len = (uLong)(out->len - at);
    uLongf size = compressBound(len);
    unsigned char *packed = malloc(size);
    bool fine = packed && compress2(packed, &size, out->data + at, len, 9) == Z_OK;
    out->len = at;
    fine = fine && buf_append(out, packed, size) == STATUS_OK;
    free(packed);
    return fine;
}

static inline bool recipe_close(struct recipe *r)
{
    if (r->depth == 0)
        return false;
    size_t at = r->open[--r->depth].at;
    switch (r->open[r->depth].verb) {
    case 'h':
        return recipe_close_header(r->out, at);
    case 'c':
        return recipe_close_chunk(r->out, at);
    case 's':
        return recipe_close_segment(r->out, at);
    default:
        return recipe_close_deflate(r->out, at);
    }
}

static inline bool recipe_hex(struct buf *out, const char *text, unsigned long times)
{
    unsigned char bytes[256];
    size_t n = 0;
    char *end;
    for (; n < sizeof bytes && *text; text = end + strspn(end, " ")) {
        unsigned long value = strtoul(text, &end, 16);
        if (end == text || value > 255)
            return false;
        bytes[n++] = (unsigned char)value;
    }
    bool fine = *text == 0;
    for (; fine && times > 0; times--)
        fine = buf_append(out, bytes, n) == STATUS_OK;
    return fine;
}

static inline bool recipe_repeat(struct buf *out, const char *rest)
{
    char *end;
    unsigned long times = strtoul(rest, &end, 10);
    return end != rest && recipe_hex(out, end + strspn(end, " "), times);
}

static inline bool recipe_flip(struct buf *out, const char *rest)
{
    char *end;
    long at = strtol(rest, &end, 10);
    at += at < 0 ? (long)out->len : 0;
    if (at < 0 || (size_t)at >= out->len)
        return false;
    out->data[at] ^= (unsigned char)strtoul(end, NULL, 16);
    return true;
}

static inline bool recipe_drop(struct buf *out, const char *rest)
{
    size_t n = strtoul(rest, NULL, 10);
    bool fine = n <= out->len;
    out->len -= fine ? n : 0;
    return fine;
}

static inline bool recipe_open(struct recipe *r, const char *verb, const char *rest)
{
    struct buf *out = r->out;
    size_t len = strlen(rest), at = out->len;
    if (r->depth == RECIPE_NESTING)
        return false;
    r->open[r->depth].verb = verb[0];
    r->open[r->depth++].at = at;
    if (verb[0] == 'c')
        return len == 4 && buf_append(out, rest, 4) == STATUS_OK;
    if (verb[0] == 's')
        return recipe_hex(out, "ff", 1) && recipe_hex(out, rest, 1) && out->len == at + 2;
    if (verb[0] == 'h' && len)
        return buf_append(out, rest, len) == STATUS_OK && recipe_close(r);
    return true;
}

static inline bool recipe_number(struct buf *out, const char *verb, const char *rest)
{
    char *end;
    int bits = atoi(verb + 2);
    uint64_t value = strtoull(rest, &end, 10);
    return end != rest && bits % 8 == 0 && bits > 0 && bits <= 64 &&
           recipe_put(out, value, bits / 8, verb[0] == 'b');
}

static inline bool recipe_line(struct recipe *r, const char *verb, const char *rest)
{
    static const char png[] = "\x89PNG\r\n\x1a\n";
    if (strcmp(verb, "text") == 0)
        return buf_append(r->out, rest, strlen(rest)) == STATUS_OK;
    if (strcmp(verb, "hex") == 0)
        return recipe_hex(r->out, rest, 1);
    if (strcmp(verb, "repeat") == 0)
        return recipe_repeat(r->out, rest);
    if (strncmp(verb, "le", 2) == 0 || strncmp(verb, "be", 2) == 0)
        return recipe_number(r->out, verb, rest);
    if (strcmp(verb, "header") == 0 || strcmp(verb, "chunk") == 0 || strcmp(verb, "deflate") == 0 ||
        strcmp(verb, "segment") == 0)
        return recipe_open(r, verb, rest);
    if (strcmp(verb, "png") == 0)
        return buf_append(r->out, png, 8) == STATUS_OK;
    if (strcmp(verb, "flip") == 0)
        return recipe_flip(r->out, rest);
    if (strcmp(verb, "drop") == 0)
        return recipe_drop(r->out, rest);
    return strcmp(verb, "end") == 0 && recipe_close(r);
}

/* Appends what the text describes to *out; false, with the line on stderr, if it is no recipe. The
 * text ends with NUL and is changed on the way. */
static inline bool recipe_make(char *text, struct buf *out)
{
    struct recipe r = {.out = out};
    char *next = text;
    for (char *line = next; line; line = next) {
        char verb[16] = "", *rest;
        if ((next = strchr(line, '\n')) != NULL)
            *next++ = 0;
        line += strspn(line, " ");
        size_t n = strcspn(line, " ");
        if (n == 0 || line[0] == '#')
            continue;
        snprintf(verb, sizeof verb, "%.*s", (int)n, line);
        rest = line + n + (line[n] == ' ');
        if (!recipe_line(&r, verb, rest)) {
            fprintf(stderr, "no recipe: %s %s\n", verb, rest);
            return false;
        }
    }
    return r.depth == 0;
}

#endif
