/* A folder with a database of tokens, for the tests of server/auth and server/enroll. */
#ifndef CDCCA_AUTH_PLACE_H
#define CDCCA_AUTH_PLACE_H

#include "server/auth.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[64];
    struct auth *auth;
};

static int place_open(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    struct err err = {0};
    if (!place)
        return -1;
    strcpy(place->dir, "/tmp/cdcca-auth-XXXXXX");
    *state = place;
    return !mkdtemp(place->dir) || auth_open(place->dir, &place->auth, &err) != STATUS_OK;
}

static int place_close(void **state)
{
    struct place *place = *state;
    char command[128];
    auth_close(place->auth);
    snprintf(command, sizeof command, "rm -rf %s", place->dir);
    int failed = system(command);
    free(place);
    return failed;
}

/* Whose token this is; "" for nobody's. */
static inline const char *owner(struct auth *auth, const char *token)
{
    static struct http_caller caller;
    char header[AUTH_TOKEN + 16];
    struct err err = {0};
    caller = (struct http_caller){0};
    snprintf(header, sizeof header, "Bearer %s", token);
    enum status status = auth_identify(auth, header, &caller, &err);
    assert_true(status == STATUS_OK || status == STATUS_UNAUTHENTICATED);
    return status == STATUS_OK ? caller.name : "";
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)

#endif
