/* See blobs.h. A group of one is synced by its own thread, larger ones by up to SYNC_THREADS. */
#include "server/blobs.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { SYNC_THREADS = 16 };

struct syncing {
    struct blobs *blobs;
    struct io *io;
    atomic_int next;
};

enum status blobs_write(struct blobs *blobs, struct io *io, const char *path, const void *data,
                        size_t len, struct err *err)
{
    if (blobs->count == BLOBS_MAX || strlen(path) >= BLOBS_PATH)
        return io_write_file(io, path, data, len, err);
    struct blob *blob = &blobs->blob[blobs->count];
    snprintf(blob->path, sizeof blob->path, "%s", path);
    TRY(io_create(io, path, &blob->fd, err));
    enum status status = io_append(io, blob->fd, path, data, len, err);
    if (status == STATUS_OK)
        blobs->count++;
    else
        io_abandon(io, &blob->fd, path);
    return status;
}

static void *sync_run(void *arg)
{
    struct syncing *syncing = arg;
    for (int i; (i = atomic_fetch_add(&syncing->next, 1)) < syncing->blobs->count;) {
        struct blob *blob = &syncing->blobs->blob[i];
        blob->status = io_settle(syncing->io, &blob->fd, blob->path, &blob->err);
    }
    return NULL;
}

/* A thread that cannot be had is no failure: this one does the work as well. */
static void all_settle(struct blobs *blobs, struct io *io)
{
    struct syncing syncing = {.blobs = blobs, .io = io};
    pthread_t thread[SYNC_THREADS];
    int threads = 0;
    while (threads < SYNC_THREADS && threads < blobs->count - 1 &&
           pthread_create(&thread[threads], NULL, sync_run, &syncing) == 0)
        threads++;
    sync_run(&syncing);
    while (threads > 0)
        pthread_join(thread[--threads], NULL);
}

enum status blobs_sync(struct blobs *blobs, struct io *io, struct err *err)
{
    char dir[BLOBS_PATH];
    enum status status = STATUS_OK;
    if (blobs->count == 0)
        return STATUS_OK;
    all_settle(blobs, io);
    for (int i = 0; i < blobs->count && status == STATUS_OK; i++) {
        status = blobs->blob[i].status;
        if (status != STATUS_OK)
            err_set(err, status, "%s", blobs->blob[i].err.text);
    }
    snprintf(dir, sizeof dir, "%s", blobs->blob[0].path);
    *strrchr(dir, '/') = '\0';
    blobs->count = 0;
    return status == STATUS_OK ? io_sync_dir(io, dir, err) : status;
}
