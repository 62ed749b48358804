/* What auth.c (tokens) and enroll.c (codes) share; for no one else. */
#ifndef CDCCA_AUTH_PARTS_H
#define CDCCA_AUTH_PARTS_H

#include "server/auth.h"
#include "server/db.h"
#include <pthread.h>

enum { AUTH_TAG = 17 };

struct auth {
    pthread_mutex_t write_lock; /* guards writer; held for a transaction */
    struct db *writer;
    pthread_mutex_t read_lock; /* guards reader; held for one query */
    struct db *reader;
};

/* A change of the database: one transaction, undone when it fails. */
typedef enum status auth_change(struct auth *auth, void *ctx, struct err *err);
enum status auth_apply(struct auth *auth, auth_change *change, void *ctx, struct err *err);

/* How a secret is kept: its SHA-256, and the first digits of that to find it by. */
struct auth_print {
    char tag[AUTH_TAG], hex[HASH_HEX];
};
void auth_print_make(const void *secret, size_t len, struct auth_print *out);
/* Compares in constant time. */
bool auth_print_equal(const struct auth_print *print, const char *hex);

/* For changes. Makes a token and its row. */
enum status auth_insert(struct auth *auth, unsigned role, const char *name, int64_t expires_ms,
                        char token[AUTH_TOKEN], int64_t *id, struct err *err);
/* The role of a name that has a token which holds, 0 if it has none. */
enum status auth_role_of(struct auth *auth, const char *name, unsigned *role, struct err *err);

#endif
