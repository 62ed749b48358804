/* What store.c (writing) and store_read.c (reading) share; for no one else. */
#ifndef CDCCA_STORE_PARTS_H
#define CDCCA_STORE_PARTS_H

#include "server/db.h"
#include "server/store.h"
#include <pthread.h>

enum { STORE_PATH = 4096, STORE_DOOMED = 64 };

struct store {
    struct io *io;
    char dir[STORE_PATH];
    int lock_fd;
    pthread_mutex_t write_lock; /* guards writer and doomed; held for a whole group of jobs */
    struct db *writer;
    char doomed[STORE_DOOMED][HASH_HEX]; /* blobs to remove once their rows' end is committed */
    int doomed_count;
    pthread_mutex_t read_lock; /* guards reader; held for one query */
    struct db *reader;
};

#endif
