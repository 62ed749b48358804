/* What store.c (writing) and store_read.c (reading) share; for no one else. */
#ifndef CDCCA_STORE_PARTS_H
#define CDCCA_STORE_PARTS_H

#include "server/blobs.h"
#include "server/db.h"
#include "server/store.h"
#include <pthread.h>

enum { STORE_PATH = 4096, STORE_DOOMED = 64 };

struct store {
    struct io *io;
    char dir[STORE_PATH];
    int lock_fd;
    pthread_mutex_t write_lock; /* guards writer to blobs; held for a whole group of jobs */
    struct db *writer;
    char doomed[STORE_DOOMED][HASH_HEX]; /* blobs to remove once their rows' end is committed */
    int doomed_count;
    struct blobs blobs;        /* of this group, not yet durable */
    pthread_mutex_t read_lock; /* guards reader; held for one query */
    struct db *reader;
};

#endif
