/* See fingerprint.h. */
#include "model/mllm/fingerprint.h"
#include "model/mllm/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FINGERPRINT_PATH = 4096, FINGERPRINT_PIECE = 1 << 20 };

static enum status pieces_hash(struct io *io, int fd, const char *path, uint64_t size,
                               struct hash *out, struct err *err)
{
    struct hash_state state = {{0}};
    enum status status = STATUS_OK;
    unsigned char *piece = malloc(FINGERPRINT_PIECE);
    if (!piece)
        return err_set(err, STATUS_NO_MEMORY, "no memory to hash %s", path);
    hash_start(&state);
    for (uint64_t at = 0; status == STATUS_OK && at < size;) {
        size_t n = size - at < FINGERPRINT_PIECE ? (size_t)(size - at) : FINGERPRINT_PIECE;
        status = io_read_at(io, fd, path, at, piece, n, err);
        if (status == STATUS_OK)
            hash_update(&state, piece, n);
        at += n;
    }
    hash_finish(&state, out);
    free(piece);
    return status;
}

static enum status file_hash(struct io *io, const char *path, char hex[HASH_HEX], struct err *err)
{
    int fd;
    uint64_t size;
    struct hash hash;
    TRY(io_open_file(io, path, &fd, &size, err));
    enum status status = pieces_hash(io, fd, path, size, &hash, err);
    io->close(io, fd);
    if (status == STATUS_OK)
        hash_hex(&hash, hex);
    return status;
}

enum status fingerprint_read(struct io *io, const char *dir, struct manifest_base *out,
                             struct err *err)
{
    char path[FINGERPRINT_PATH];
    TRY(io_join(path, sizeof path, dir, "config.json", err));
    TRY(file_hash(io, path, out->config, err));
    TRY(io_join(path, sizeof path, dir, "model.safetensors", err));
    if (!io_exists(path))
        TRY(io_join(path, sizeof path, dir, "model.safetensors.index.json", err));
    TRY(file_hash(io, path, out->model, err));
    out->tokenizer[0] = '\0';
    return tokenizer_find(dir, path, sizeof path) ? file_hash(io, path, out->tokenizer, err)
                                                  : STATUS_OK;
}
