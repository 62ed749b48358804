/* cdcca-model generate-world world:NAME --count N --out DIR: N images as PNG and questions.jsonl,
 * with answers and choices, in the form model/task/stream.h reads. The file of questions is written
 * last and whole, so a watched directory never names an image that is not there. */
#include "model/tool/generate_world.h"
#include "api/base/io.h"
#include "api/base/progress.h"
#include "api/wire/json.h"
#include "api/wire/options.h"
#include "model/task/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, LINES_MAX_BYTES = 1 << 30 };

struct generate {
    const char *out;
    int64_t count, seed;
    bool json;
    size_t image_bytes;
};

static enum status line_write(const struct sample *sample, const char *image, struct buf *lines,
                              struct err *err)
{
    const struct world_question *q = &sample->question;
    json *line = json_object_new(), *choices = json_array_new();
    bool whole = line && choices && json_set_string(line, "image", image) &&
                 json_set_string(line, "question", q->text) &&
                 json_set_string(line, "answer", q->answer) &&
                 json_set_string(line, "id", sample->id);
    for (int i = 0; whole && i < q->options; i++)
        whole = json_append_string(choices, q->option[i]);
    if (whole && q->options) {
        whole = json_set_take(line, "choices", choices);
        choices = NULL;
    }
    enum status status = whole ? json_print(line, false, lines) : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = buf_append(lines, "\n", 1);
    json_free(line);
    json_free(choices);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "no memory for questions.jsonl");
}

/* Plainly: what can be made again need not be synced to the disk one file at a time. */
static enum status file_write(const char *path, const struct buf *bytes, struct err *err)
{
    struct io *io = io_posix();
    int fd = io->open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return io_error(err, "create", path, errno);
    for (size_t at = 0; at < bytes->len;) {
        ssize_t n = io->write(io, fd, bytes->data + at, bytes->len - at);
        if (n < 0 && errno != EINTR) {
            enum status status = io_error(err, "write", path, errno);
            io->close(io, fd);
            return status;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return io->close(io, fd) == 0 ? STATUS_OK : io_error(err, "close", path, errno);
}

static enum status picture_write(struct generate *g, const struct sample *sample, const char *image,
                                 struct err *err)
{
    char path[PATH_BYTES];
    struct buf png = {.max = 1 << 20};
    TRY(io_join(path, sizeof path, g->out, image, err));
    enum status status = image_encode_png(sample->pixels, WORLD_SIZE, WORLD_SIZE, &png, err);
    if (status == STATUS_OK)
        status = file_write(path, &png, err);
    g->image_bytes += png.len;
    buf_free(&png);
    return status;
}

static enum status samples_write(struct generate *g, struct stream *stream, struct buf *lines,
                                 struct err *err)
{
    struct progress bar;
    struct sample sample;
    char image[32];
    enum status status = STATUS_OK;
    progress_start(&bar, "generate", "images", g->count, 0, g->json);
    for (int64_t i = 0; status == STATUS_OK && i < g->count; i++) {
        snprintf(image, sizeof image, "%06" PRId64 ".png", i);
        status = stream_next(stream, &sample, err);
        if (status == STATUS_OK)
            status = picture_write(g, &sample, image, err);
        if (status == STATUS_OK)
            status = line_write(&sample, image, lines, err);
        progress_update(&bar, i + 1, NULL);
    }
    progress_finish(&bar, NULL);
    return status;
}

static enum status generate(struct generate *g, const char *world, struct err *err)
{
    char path[PATH_BYTES];
    struct buf lines = {.max = LINES_MAX_BYTES};
    struct stream *stream;
    TRY(io_make_dirs(io_posix(), g->out, err));
    TRY(io_join(path, sizeof path, g->out, "questions.jsonl", err));
    TRY(stream_open(io_posix(), world, WORLD_SIZE, (uint64_t)g->seed, &stream, err));
    enum status status = samples_write(g, stream, &lines, err);
    if (status == STATUS_OK)
        status = io_write_file(io_posix(), path, lines.data, lines.len, err);
    buf_free(&lines);
    stream_close(stream);
    return status;
}

static void report(const struct generate *g, const char *world)
{
    if (g->json)
        printf("{\"images\":%" PRId64 ",\"image_bytes\":%zu}\n", g->count, g->image_bytes);
    else
        printf("%" PRId64
               " images of %s and questions.jsonl in %s; try: cdcca-model eval --data %s\n",
               g->count, world, g->out, g->out);
}

enum status generate_world_run(int argc, char **argv, struct err *err)
{
    struct generate g = {.count = 100, .seed = 1};
    int positional = 0;
    const struct option table[] = {
        {"count", OPTION_INT, &g.count, 1, 1e6, "N", "images to write"},
        {"out", OPTION_STRING, &g.out, 0, 0, "DIR", "the directory to write, made if missing"},
        {"seed", OPTION_INT, &g.seed, 0, 1e15, "S", "of the world"},
        {"json", OPTION_FLAG, &g.json, 0, 0, NULL, "print the summary as JSON, no progress"},
        {0}};
    const struct options options = {"cdcca-model generate-world",
                                    "writes samples of the built-in world as PNG and JSON lines",
                                    "world:NAME",
                                    table,
                                    1,
                                    1};
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (strncmp(argv[1], "world:", 6) != 0)
        return err_set(err, STATUS_USAGE, "'%.60s': wanted world:NAME, such as world:target",
                       argv[1]);
    if (!g.out)
        return err_set(err, STATUS_USAGE, "--out DIR is missing");
    TRY(generate(&g, argv[1], err));
    report(&g, argv[1]);
    return STATUS_OK;
}
