/* The agent's notebook, DATA/status.json; see board.h for the fields. One table names every number,
 * so that writing, reading and their order cannot drift apart. */
#include "client/board.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/json.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { BOARD_FILE_MAX = 256 << 10 };

struct board_number {
    const char *key;
    size_t at; /* offset of an int64_t */
};

#define BOARD_NUMBER(field)                                                                        \
    {                                                                                              \
#field, offsetof(struct board_fields, field)                                               \
    }
static const struct board_number board_numbers[] = {
    BOARD_NUMBER(version),
    BOARD_NUMBER(parameters),
    BOARD_NUMBER(seen),
    BOARD_NUMBER(position),
    BOARD_NUMBER(windows),
    BOARD_NUMBER(answered),
    BOARD_NUMBER(segment),
    BOARD_NUMBER(round_version),
    BOARD_NUMBER(round_seen),
    BOARD_NUMBER(round_uploaded),
    BOARD_NUMBER(round_uplink_bytes),
    BOARD_NUMBER(round_raw_bytes),
    BOARD_NUMBER(round_jpeg_bytes),
    BOARD_NUMBER(sampled),
    BOARD_NUMBER(uploaded),
    BOARD_NUMBER(uploads),
    BOARD_NUMBER(rejected),
    BOARD_NUMBER(dropped),
    BOARD_NUMBER(uplink_bytes),
    BOARD_NUMBER(sent_bytes),
    BOARD_NUMBER(downlink_bytes),
    BOARD_NUMBER(raw_bytes),
    BOARD_NUMBER(jpeg_bytes),
    BOARD_NUMBER(sampled_raw_bytes),
    BOARD_NUMBER(sampled_jpeg_bytes),
    BOARD_NUMBER(spool_files),
    BOARD_NUMBER(spool_bytes),
};
enum { BOARD_NUMBERS = sizeof board_numbers / sizeof board_numbers[0] };

struct board_text {
    const char *key;
    size_t at, size;
};

#define BOARD_STRING(field)                                                                        \
    {                                                                                              \
#field, offsetof(struct board_fields, field), sizeof(((struct board_fields *)0)->field)    \
    }
static const struct board_text board_texts[] = {
    BOARD_STRING(device), BOARD_STRING(source),     BOARD_STRING(sha256), BOARD_STRING(state),
    BOARD_STRING(cloud),  BOARD_STRING(last_error), BOARD_STRING(alarm),
};
enum { BOARD_TEXTS = sizeof board_texts / sizeof board_texts[0] };

/* ---- writing ---- */

static bool board_set_applied(json *root, const struct board_fields *fields)
{
    json *list = json_array_new();
    bool ok = list != NULL;
    for (int i = 0; ok && i < fields->applied_count; i++) {
        const struct board_applied *a = &fields->applied[i];
        json *entry = json_object_new();
        ok = entry && json_set_int(entry, "version", a->version) &&
             json_set_int(entry, "delta_bytes", a->delta_bytes) &&
             json_set_int(entry, "parameters", a->parameters) &&
             json_set_number(entry, "seconds", a->seconds) && json_append_take(list, entry);
    }
    return ok && json_set_take(root, "applied", list);
}

static bool board_set_all(json *root, const struct board_fields *fields)
{
    char now[32];
    const char *base = (const char *)fields;
    clock_format(clock_wall_ms(), now);
    bool ok = json_set_string(root, "schema", "cdcca.edge-status/1") &&
              json_set_string(root, "updated_at", now);
    for (size_t i = 0; ok && i < BOARD_TEXTS; i++)
        ok = json_set_string(root, board_texts[i].key, base + board_texts[i].at);
    for (size_t i = 0; ok && i < BOARD_NUMBERS; i++) {
        int64_t value;
        memcpy(&value, base + board_numbers[i].at, sizeof value);
        ok = json_set_int(root, board_numbers[i].key, value);
    }
    return ok && json_set_number(root, "entropy_cut", fields->entropy_cut) &&
           board_set_applied(root, fields);
}

enum status board_print_json(const struct board_fields *fields, bool indent, struct buf *out)
{
    json *root = json_object_new();
    enum status status = STATUS_NO_MEMORY;
    if (root && board_set_all(root, fields))
        status = json_print(root, indent, out);
    json_free(root);
    return status;
}

enum status board_print_text(const struct board_fields *fields, struct buf *out)
{
    const struct board_fields *f = fields;
    TRY(buf_printf(out, "device      %s (%s), cloud %s\n", f->device, f->state, f->cloud));
    TRY(buf_printf(out, "model       version %" PRId64 ", set %.16s..., %" PRId64 " parameters\n",
                   f->version, f->sha256, f->parameters));
    TRY(buf_printf(out, "source      %s: %" PRId64 " samples answered and closed\n", f->source,
                   f->seen));
    TRY(buf_printf(out,
                   "sampled     %" PRId64 " instances (%.1f%%), %" PRId64 " uploaded in %" PRId64
                   " uploads, %" PRId64 " rejected, %" PRId64 " dropped\n",
                   f->sampled, f->seen ? 100.0 * (double)f->sampled / (double)f->seen : 0.0,
                   f->uploaded, f->uploads, f->rejected, f->dropped));
    TRY(buf_printf(out,
                   "uplink      %" PRId64 " bytes (every image raw %" PRId64 ", as JPEG %" PRId64
                   "; the sampled ones as JPEG %" PRId64 ")\n",
                   f->uplink_bytes, f->raw_bytes, f->jpeg_bytes, f->sampled_jpeg_bytes));
    TRY(buf_printf(out, "downlink    %" PRId64 " bytes in %d versions\n", f->downlink_bytes,
                   f->applied_count));
    TRY(buf_printf(out, "spool       %" PRId64 " uploads, %" PRId64 " bytes\n", f->spool_files,
                   f->spool_bytes));
    for (int i = 0; i < f->applied_count; i++)
        TRY(buf_printf(out,
                       "version %-3" PRId64 " %" PRId64 " bytes, %.2f bits a parameter, %.2f s\n",
                       f->applied[i].version, f->applied[i].delta_bytes,
                       f->applied[i].parameters ? 8.0 * (double)f->applied[i].delta_bytes /
                                                      (double)f->applied[i].parameters
                                                : 0.0,
                       f->applied[i].seconds));
    if (f->alarm[0])
        TRY(buf_printf(out, "ALARM       %s\n", f->alarm));
    if (f->last_error[0])
        TRY(buf_printf(out, "last error  %s\n", f->last_error));
    return STATUS_OK;
}

/* ---- reading ---- */

static enum status board_get_applied(const json *root, struct board_fields *out, struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "applied", BOARD_APPLIED_MAX, &list, err));
    for (size_t i = 0; i < json_length(list); i++) {
        struct board_applied *a = &out->applied[i];
        const json *entry = json_at(list, i);
        TRY(json_get_int(entry, "version", 0, INT64_MAX, &a->version, err));
        TRY(json_get_int(entry, "delta_bytes", 0, INT64_MAX, &a->delta_bytes, err));
        TRY(json_get_int(entry, "parameters", 0, INT64_MAX, &a->parameters, err));
        TRY(json_get_number(entry, "seconds", 0, 1e9, &a->seconds, err));
        out->applied_count++;
    }
    return STATUS_OK;
}

static enum status board_get_all(const json *root, struct board_fields *out, struct err *err)
{
    char *base = (char *)out;
    for (size_t i = 0; i < BOARD_TEXTS; i++) {
        const char *text = "";
        TRY(json_opt_string(root, board_texts[i].key, board_texts[i].size - 1, &text, err));
        snprintf(base + board_texts[i].at, board_texts[i].size, "%s", text);
    }
    for (size_t i = 0; i < BOARD_NUMBERS; i++) {
        int64_t value;
        TRY(json_get_int(root, board_numbers[i].key, 0, INT64_MAX, &value, err));
        memcpy(base + board_numbers[i].at, &value, sizeof value);
    }
    TRY(json_get_number(root, "entropy_cut", -1, 1e6, &out->entropy_cut, err));
    return board_get_applied(root, out, err);
}

enum status board_read(struct io *io, const char *data_dir, struct board_fields *out,
                       struct err *err)
{
    char path[4096];
    struct buf text = {.max = BOARD_FILE_MAX};
    json *root = NULL;
    struct board_fields fields = {0};
    TRY(io_join(path, sizeof path, data_dir, "status.json", err));
    enum status status = io_read_file(io, path, &text, err);
    if (status == STATUS_OK)
        status = json_parse(text.data, text.len, &root, err);
    if (status == STATUS_OK)
        status = board_get_all(root, &fields, err);
    if (status == STATUS_OK)
        *out = fields;
    else
        err_prefix(err, "%s", path);
    json_free(root);
    buf_free(&text);
    return status;
}

/* ---- the board ---- */

enum status board_open(struct io *io, const char *data_dir, struct board *board, struct err *err)
{
    struct err problem = {0};
    *board = (struct board){0};
    TRY(io_join(board->path, sizeof board->path, data_dir, "status.json", err));
    enum status status = board_read(io, data_dir, &board->fields, &problem);
    if (status == STATUS_NO_MEMORY || status == STATUS_IO)
        return err_set(err, status, "%s", problem.text);
    if (status != STATUS_OK)
        board->fields = (struct board_fields){.entropy_cut = -1};
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        log_line(LOG_WARN, "status", "counters and position start at 0: %s", problem.text);
    board->fields.answered = 0;
    snprintf(board->fields.cloud, sizeof board->fields.cloud, "unknown");
    pthread_mutex_init(&board->lock, NULL);
    board->io = io;
    return STATUS_OK;
}

void board_close(struct board *board)
{
    pthread_mutex_destroy(&board->lock);
}

struct board_fields *board_lock(struct board *board)
{
    pthread_mutex_lock(&board->lock);
    return &board->fields;
}

void board_unlock(struct board *board)
{
    pthread_mutex_unlock(&board->lock);
}

enum status board_commit(struct board *board, struct err *err)
{
    struct buf text = {.max = BOARD_FILE_MAX};
    enum status status = board_print_json(&board->fields, true, &text);
    if (status == STATUS_OK)
        status = io_write_file(board->io, board->path, text.data, text.len, err);
    else
        err_set(err, status, "%s: no memory to write it", board->path);
    pthread_mutex_unlock(&board->lock);
    buf_free(&text);
    return status;
}

void board_read_fields(struct board *board, struct board_fields *out)
{
    pthread_mutex_lock(&board->lock);
    *out = board->fields;
    pthread_mutex_unlock(&board->lock);
}

void board_add_applied(struct board_fields *fields, const struct board_applied *applied)
{
    if (fields->applied_count == BOARD_APPLIED_MAX) {
        memmove(&fields->applied[0], &fields->applied[1],
                (BOARD_APPLIED_MAX - 1) * sizeof fields->applied[0]);
        fields->applied_count--;
    }
    fields->applied[fields->applied_count++] = *applied;
}

void board_note_error(struct board *board, const char *part, const char *text)
{
    log_line(LOG_WARN, part, "%s", text);
    struct board_fields *fields = board_lock(board);
    snprintf(fields->last_error, sizeof fields->last_error, "%s", text);
    board_unlock(board);
}

void board_set_alarm(struct board *board, const char *part, const char *text)
{
    struct board_fields *fields = board_lock(board);
    bool new = strcmp(fields->alarm, text) != 0;
    snprintf(fields->alarm, sizeof fields->alarm, "%s", text);
    if (!new) {
        board_unlock(board);
        return;
    }
    if (text[0])
        snprintf(fields->last_error, sizeof fields->last_error, "%s", text);
    if (board_commit(board, NULL) != STATUS_OK)
        log_line(LOG_WARN, part, "the notebook is not saved");
    log_line(text[0] ? LOG_ERROR : LOG_INFO, part, "%s%s",
             text[0] ? "ALARM: " : "the alarm is over", text);
}
