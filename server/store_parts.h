/* What the store_*.c and envelopes.c share; for no one else. */
#ifndef CDCCA_STORE_PARTS_H
#define CDCCA_STORE_PARTS_H

#include "server/db.h"
#include "server/store.h"
#include <pthread.h>

enum { STORE_PATH = 4096 };

struct store {
    struct io *io;
    char dir[STORE_PATH];
    int lock_fd;
    int64_t up_base_ms, opened_ms; /* up-time when it was opened, and the monotonic clock then */
    pthread_mutex_t write_lock;    /* guards writer, removed; held for a group of jobs */
    struct db *writer;
    bool removed;              /* uploads went, and the log may still hold what they were */
    pthread_mutex_t read_lock; /* guards reader; held for one query */
    struct db *reader;
};

/* As db_select, on the reader and under its lock. */
enum status store_select(struct store *store, struct err *err, db_visit *visit, void *ctx,
                         const char *sql, const char *kinds, ...);
/* A list may be empty; of one thing it is said that there is none. */
enum status store_list_status(enum status status);
enum status store_one_status(enum status status, const char *what, int64_t id, struct err *err);
/* DIR/FOLDER/HEX */
enum status store_blob_path(const struct store *store, const char *folder, const char *sha256,
                            char *out, size_t size, struct err *err);

/* store_import.c: takes in what an earlier version kept as files. For store_open. */
enum status store_import(struct store *store, struct err *err);

#endif
