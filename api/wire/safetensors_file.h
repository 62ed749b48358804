/* safetensors files larger than one wants in memory: tensors are read and written piece by piece.
 * The header is parsed, and checked, as in safetensors.h. */
#ifndef CDCCA_SAFETENSORS_FILE_H
#define CDCCA_SAFETENSORS_FILE_H

#include "api/wire/safetensors.h"

struct safetensors_reader {
    struct safetensors head; /* entries without data */
    struct io *io;
    char *path;
    int fd;
    uint64_t data_at; /* of the first tensor's byte in the file */
};

/* Reads the header; errors name the file. Release with safetensors_reader_close. */
enum status safetensors_reader_open(struct io *io, const char *path, struct safetensors_reader *out,
                                    struct err *err);
/* size bytes of an entry of this file, from its byte `from` on. STATUS_MALFORMED: the file became
 * shorter since. */
enum status safetensors_reader_read(const struct safetensors_reader *r,
                                    const struct safetensors_entry *entry, size_t from, size_t size,
                                    void *out, struct err *err);
void safetensors_reader_close(struct safetensors_reader *r); /* a zeroed or closed one is fine */

struct safetensors_writer {
    struct io *io;
    char *path;
    int fd;
    uint64_t left; /* bytes of tensors still to come */
};

/* Writes the header for these entries (their data is not looked at); their bytes follow with _add,
 * in any pieces, in order. The file has its name only after _finish; _abandon leaves none. */
enum status safetensors_writer_open(struct io *io, const char *path,
                                    const struct safetensors_entry *entries, size_t count,
                                    struct safetensors_writer *out, struct err *err);
enum status safetensors_writer_add(struct safetensors_writer *w, const void *data, size_t size,
                                   struct err *err);
enum status safetensors_writer_finish(struct safetensors_writer *w, struct err *err);
void safetensors_writer_abandon(struct safetensors_writer *w); /* fine after _finish */

#endif
