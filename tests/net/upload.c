/* See upload.h. */
#include "upload.h"
#include "api/base/io.h"
#include "peer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { UPLOAD_MAX = 8 << 20, PAGE_MAX = 256 << 10, PATIENCE_MS = 30000, DIGITS = 5 };

static const char mark[] = "q10000-";

void upload_open(struct upload *upload, const char *payload_path)
{
    struct buf payload = {.max = UPLOAD_MAX}, whole = {.max = UPLOAD_MAX + 1024};
    struct err err = {0};
    *upload = (struct upload){0};
    if (io_read_file(io_posix(), payload_path, &payload, &err) != STATUS_OK ||
        buf_printf(&whole,
                   "POST /tokens HTTP/1.1\r\nHost: x\r\n"
                   "Content-Type: application/x-safetensors\r\nContent-Length: %zu\r\n\r\n",
                   payload.len) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    upload->head_len = whole.len;
    buf_append(&whole, payload.data, payload.len);
    buf_free(&payload);
    upload->data = (char *)whole.data;
    upload->len = whole.len;
    char *at = upload->data, *end = at + upload->len;
    while (upload->places < UPLOAD_PLACES &&
           (at = memmem(at, (size_t)(end - at), mark, strlen(mark))) != NULL)
        upload->place[upload->places++] = (size_t)(++at - upload->data);
    if (upload->places == 0) {
        fprintf(stderr, "%s: no payload of seed 10000\n", payload_path);
        exit(1);
    }
}

void upload_close(struct upload *upload)
{
    free(upload->data);
}

void upload_copy(const struct upload *upload, unsigned n, char *out)
{
    char digits[DIGITS];
    for (int i = 0; i < DIGITS; i++, n /= 36)
        digits[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[n % 36];
    memcpy(out, upload->data, upload->len);
    for (int i = 0; i < upload->places; i++)
        memcpy(out + upload->place[i], digits, DIGITS);
}

static long page_count(const char *text, long *next)
{
    const char *follows = strstr(text, "\"next\":");
    long count = 0;
    *next = follows ? strtol(follows + strlen("\"next\":"), NULL, 10) : 0;
    for (; (text = strstr(text, "\"sha256\":")) != NULL; text++)
        count++;
    return count;
}

long uploads_count(int port)
{
    static char text[PAGE_MAX];
    long count = 0, next = 0;
    do {
        char request[128];
        struct answer answer;
        int fd = peer_open(port, NULL, 0);
        snprintf(request, sizeof request,
                 "GET /tokens?after=%ld HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", next);
        peer_send(fd, request, strlen(request));
        long got = peer_read(fd, text, sizeof text, PATIENCE_MS);
        const char *at = text;
        close(fd);
        if (got <= 0 || !answer_take(&at, text + got, false, &answer) || answer.status != 200)
            return -1;
        count += page_count(answer.body, &next);
    } while (next > 0);
    return count;
}
