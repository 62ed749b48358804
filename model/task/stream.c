/* Streams of samples: the built-in world, or a directory that someone fills (see stream.h). A
 * directory's questions.jsonl is read through the io seam from one open descriptor, a block at a
 * time, so a file that grows is simply read on. Position is a count of lines (blank ones apart),
 * bad lines included: seeking reads the file again from its start. */
#include "model/task/stream.h"
#include "api/wire/json.h"
#include "api/wire/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 16, BLOCK_BYTES = 1 << 14, PATH_BYTES = 4096 };

#define QUESTION_SALT 0x7175657374696f6eULL

struct stream {
    struct io *io;
    uint64_t position, seed;
    int size;
    struct image picture; /* what the last sample's pixels point to */
    /* the world */
    bool world;
    struct world_domain domain;
    int kind; /* -1: any */
    /* a directory */
    char dir[PATH_BYTES];
    int fd;
    struct buf text; /* read and not yet taken */
    size_t taken;    /* of text, by earlier lines */
};

/* ---- the world ---- */

static enum status kind_parse(const char *name, int *out, struct err *err)
{
    for (int k = 0; k < KINDS; k++)
        if (strcmp(name, world_kind_name((enum world_kind)k)) == 0) {
            *out = k;
            return STATUS_OK;
        }
    return err_set(
        err, STATUS_NOT_FOUND,
        "question kind '%.40s' is none of color, shape, texture, count, exist, relation, "
        "compare, object, caption",
        name);
}

static enum status world_open(struct stream *s, const char *name, struct err *err)
{
    char domain[64];
    const char *slash = strchr(name, '/');
    size_t length = slash ? (size_t)(slash - name) : strlen(name);
    if (length >= sizeof domain)
        return err_set(err, STATUS_MALFORMED, "world '%.40s...': the name is too long", name);
    memcpy(domain, name, length);
    domain[length] = '\0';
    s->world = true;
    s->kind = -1;
    TRY(world_domain_parse(domain, &s->domain, err));
    return slash ? kind_parse(slash + 1, &s->kind, err) : STATUS_OK;
}

/* The model's input size may differ from the world's. */
static enum status pixels_fit(struct stream *s, struct image *raw, struct err *err)
{
    image_free(&s->picture);
    if (raw->width == s->size && raw->height == s->size) {
        s->picture = *raw;
        *raw = (struct image){0};
        return STATUS_OK;
    }
    return image_resize(raw, s->size, s->size, &s->picture, err);
}

static enum status world_next(struct stream *s, struct sample *out, struct err *err)
{
    struct image raw = {WORLD_SIZE, WORLD_SIZE, malloc((size_t)WORLD_SIZE * WORLD_SIZE * 3)};
    struct rng rng;
    if (!raw.rgb)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a scene");
    world_scene_draw(&s->domain, s->seed, s->position, &out->scene);
    world_scene_render(&out->scene, raw.rgb, NULL);
    rng_init(&rng, s->seed ^ QUESTION_SALT, s->position);
    world_ask(&out->scene, &s->domain, s->kind, &rng, &out->question);
    snprintf(out->id, sizeof out->id, "%.20s-%" PRIx64 "-%" PRIu64, s->domain.name, s->seed,
             s->position);
    for (char *c = out->id; *c; c++)
        if (*c == ':')
            *c = '-';
    out->has_answer = true;
    out->source_bytes = (size_t)WORLD_SIZE * WORLD_SIZE * 3;
    s->position++;
    enum status status = pixels_fit(s, &raw, err);
    image_free(&raw);
    return status;
}

/* ---- a directory: lines ---- */

static enum status file_open(struct stream *s, struct err *err)
{
    char path[PATH_BYTES];
    TRY(io_join(path, sizeof path, s->dir, "questions.jsonl", err));
    enum status status = buf_reserve(&s->text, BLOCK_BYTES);
    if (status != STATUS_OK)
        return err_set(err, status, "no memory to read %s", path);
    s->fd = s->io->open(s->io, path, O_RDONLY | O_NONBLOCK, 0);
    return s->fd < 0 ? io_error(err, "open", path, errno) : STATUS_OK;
}

/* Reads one block more. *end: there is none for now. */
static enum status file_read(struct stream *s, bool *end, struct err *err)
{
    memmove(s->text.data, s->text.data + s->taken, s->text.len - s->taken);
    s->text.len -= s->taken;
    s->taken = 0;
    enum status status = buf_reserve(&s->text, BLOCK_BYTES);
    if (status != STATUS_OK)
        return err_set(err, status, "no memory to read questions.jsonl");
    ssize_t n;
    do
        n = s->io->read(s->io, s->fd, s->text.data + s->text.len, BLOCK_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return io_error(err, "read", "questions.jsonl", errno);
    s->text.len += (size_t)n;
    *end = n == 0;
    return STATUS_OK;
}

static bool line_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

/* Whether text without its newline is a whole line all the same: a complete JSON object. */
static bool line_complete(const char *text, size_t length)
{
    json *value = NULL;
    bool whole = length > 0 && json_parse(text, length, &value, NULL) == STATUS_OK;
    json_free(value);
    return whole;
}

/* An overlong line is dropped up to its end, and is an error once. */
static enum status line_skip(struct stream *s, struct err *err)
{
    for (bool end = false; !end;) {
        const char *from = (const char *)s->text.data + s->taken;
        const char *newline = memchr(from, '\n', s->text.len - s->taken);
        s->taken = newline ? (size_t)(newline + 1 - (const char *)s->text.data) : s->text.len;
        if (newline)
            break;
        TRY(file_read(s, &end, err));
    }
    s->position++;
    return err_set(err, STATUS_TOO_LARGE, "questions.jsonl line %" PRIu64 ": over %d bytes",
                   s->position, LINE_MAX_BYTES);
}

/* The next line that is not blank, borrowed until the next call; moves the position. */
static enum status line_next(struct stream *s, const char **out, size_t *length, struct err *err)
{
    for (bool end = false;;) {
        const char *line = (const char *)s->text.data + s->taken;
        size_t rest = s->text.len - s->taken;
        const char *newline = rest ? memchr(line, '\n', rest) : NULL;
        size_t n = newline ? (size_t)(newline - line) : rest;
        if (n > LINE_MAX_BYTES)
            return line_skip(s, err);
        if (newline || (end && line_complete(line, n))) {
            s->taken += newline ? n + 1 : n;
            if (line_blank(line, n))
                continue;
            s->position++;
            *out = line;
            *length = n;
            return STATUS_OK;
        }
        if (end)
            return err_set(err, STATUS_NOT_FOUND, "no more questions in %s for now", s->dir);
        TRY(file_read(s, &end, err));
    }
}

/* ---- a directory: samples ---- */

/* A name inside the directory: no absolute path, no way out through "..". */
static bool name_inside(const char *name)
{
    if (name[0] == '/' || name[0] == '\0')
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    }
    return true;
}

static enum status choices_read(const json *choices, struct world_question *q, bool answered,
                                struct err *err)
{
    q->answer_option = -1;
    for (size_t i = 0; i < json_length(choices); i++) {
        const char *text;
        TRY(json_string_at(choices, i, WORLD_TEXT - 1, &text, err));
        snprintf(q->option[i], WORLD_TEXT, "%s", text);
        q->options++;
        if (answered && strcmp(text, q->answer) == 0)
            q->answer_option = (int)i;
    }
    if (answered && q->options && q->answer_option < 0)
        return err_set(err, STATUS_MALFORMED, "\"answer\" is none of \"choices\"");
    return STATUS_OK;
}

static enum status fields_read(const json *value, struct sample *out, const char **image,
                               struct err *err)
{
    struct world_question *q = &out->question;
    const char *question, *answer = NULL, *id = NULL;
    const json *choices = NULL;
    TRY(json_get_string(value, "image", 1024, image, err));
    TRY(json_get_string(value, "question", WORLD_TEXT - 1, &question, err));
    TRY(json_opt_string(value, "answer", WORLD_CAPTION - 1, &answer, err));
    TRY(json_opt_string(value, "id", sizeof out->id - 1, &id, err));
    if (!name_inside(*image))
        return err_set(err, STATUS_REFUSED, "image '%.100s' is not inside the directory", *image);
    snprintf(q->text, sizeof q->text, "%s", question);
    out->has_answer = answer != NULL;
    if (answer)
        snprintf(q->answer, sizeof q->answer, "%s", answer);
    if (id && id[0])
        snprintf(out->id, sizeof out->id, "%s", id);
    if (json_has(value, "choices"))
        TRY(json_get_array(value, "choices", WORLD_OPTIONS, &choices, err));
    return choices ? choices_read(choices, q, answer != NULL, err) : STATUS_OK;
}

static enum status picture_load(struct stream *s, const char *name, struct sample *out,
                                struct err *err)
{
    char path[PATH_BYTES];
    struct buf bytes = {.max = LIMIT_IMAGE_BYTES};
    struct image raw = {0};
    TRY(io_join(path, sizeof path, s->dir, name, err));
    enum status status = io_read_file(s->io, path, &bytes, err);
    if (status == STATUS_OK)
        status = image_decode(bytes.data, bytes.len, &raw, err);
    if (status == STATUS_OK)
        status = pixels_fit(s, &raw, err);
    if (status != STATUS_OK)
        err_prefix(err, "%s", name);
    out->source_bytes = bytes.len;
    image_free(&raw);
    buf_free(&bytes);
    return status;
}

static enum status line_read(struct stream *s, const char *line, size_t length, struct sample *out,
                             struct err *err)
{
    json *value = NULL;
    const char *image = NULL;
    enum status status = json_parse(line, length, &value, err);
    if (status == STATUS_OK)
        status = fields_read(value, out, &image, err);
    if (status == STATUS_OK)
        status = picture_load(s, image, out, err);
    json_free(value);
    return status;
}

static enum status dir_next(struct stream *s, struct sample *out, struct err *err)
{
    struct err why = {0};
    const char *line;
    size_t length;
    TRY(line_next(s, &line, &length, err));
    snprintf(out->id, sizeof out->id, "%" PRIu64, s->position);
    out->question.kind = KINDS;
    enum status status = line_read(s, line, length, out, &why);
    if (status == STATUS_OK)
        return STATUS_OK;
    return err_set(err, status == STATUS_NOT_FOUND ? STATUS_MALFORMED : status,
                   "questions.jsonl line %" PRIu64 ": %.400s", s->position, why.text);
}

/* ---- both ---- */

enum status stream_open(struct io *io, const char *spec, int size, uint64_t seed,
                        struct stream **out, struct err *err)
{
    struct stream *s = calloc(1, sizeof *s);
    enum status status;
    *out = NULL;
    if (!s)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a stream");
    s->io = io;
    s->size = size;
    s->seed = seed;
    s->fd = -1;
    s->text.max = LINE_MAX_BYTES + 2 * BLOCK_BYTES;
    if (strncmp(spec, "world:", 6) == 0) {
        status = world_open(s, spec + 6, err);
    } else {
        status = io_join(s->dir, sizeof s->dir, spec, "", err);
        if (status == STATUS_OK)
            status = file_open(s, err);
        if (status == STATUS_NOT_FOUND)
            err_prefix(err, "a source is world:NAME or a directory with questions.jsonl");
    }
    if (status != STATUS_OK) {
        stream_close(s);
        return status;
    }
    *out = s;
    return STATUS_OK;
}

enum status stream_next(struct stream *stream, struct sample *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    enum status status = stream->world ? world_next(stream, out, err) : dir_next(stream, out, err);
    out->pixels = status == STATUS_OK ? stream->picture.rgb : NULL;
    return status;
}

enum status stream_seek(struct stream *stream, uint64_t n, struct err *err)
{
    if (stream->world) {
        stream->position = n;
        return STATUS_OK;
    }
    stream->io->close(stream->io, stream->fd);
    stream->text.len = stream->taken = 0;
    stream->position = 0;
    TRY(file_open(stream, err));
    while (stream->position < n) {
        const char *line;
        size_t length;
        uint64_t before = stream->position;
        enum status status = line_next(stream, &line, &length, err);
        if (status != STATUS_OK && stream->position == before) /* not just an overlong line */
            return status;
    }
    return STATUS_OK;
}

uint64_t stream_position(const struct stream *stream)
{
    return stream->position;
}

void stream_close(struct stream *stream)
{
    if (!stream)
        return;
    if (stream->fd >= 0)
        stream->io->close(stream->io, stream->fd);
    image_free(&stream->picture);
    buf_free(&stream->text);
    free(stream);
}
