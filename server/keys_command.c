/* cdcca-cloud keys init|rotate|show: the keys folder by hand. Needed only where the keys are made
 * or kept elsewhere than the service runs; serve makes a folder by itself. */
#include "api/base/clock.h"
#include "api/wire/options.h"
#include "server/commands.h"
#include "server/keys.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void role_print(const char *name, const struct keyring_role *role)
{
    for (int i = 0; i < role->count; i++) {
        char id[SIGN_ID], line[SIGN_LINE];
        sign_id(&role->key[i], id);
        sign_public_line(&role->key[i], line);
        printf("%-9s %s  %s\n", name, id, line);
    }
}

static enum status keys_show(const char *dir, struct err *err)
{
    struct keys *keys;
    struct keyring now;
    char expires[32];
    TRY(keys_open(io_posix(), dir, &keys, err));
    keys_current(keys, &now);
    clock_format(now.expires_ms, expires);
    printf("document  %" PRId64 ", expires %s\n", now.version, expires);
    role_print("root", &now.root);
    role_print("release", &now.release);
    printf("signing   %s\n", keys_can_sign(keys) ? "release.key is here"
                                                 : "release.key is not here; cdcca-cloud sign");
    keys_close(keys);
    return STATUS_OK;
}

static enum status role_parse(const char *name, enum keys_role *out, struct err *err)
{
    *out = strcmp(name, "root") == 0 ? KEYS_ROOT : KEYS_RELEASE;
    if (*out == KEYS_ROOT || strcmp(name, "release") == 0)
        return STATUS_OK;
    return err_set(err, STATUS_USAGE, "--role is \"%.32s\"; right is release or root", name);
}

static enum status keys_run(const char *verb, const char *dir, const char *role_name,
                            struct err *err)
{
    enum keys_role role;
    if (!dir)
        return err_set(err, STATUS_USAGE, "--dir DIR is missing: the keys folder");
    TRY(role_parse(role_name, &role, err));
    if (strcmp(verb, "init") == 0)
        TRY(keys_make(io_posix(), dir, err));
    else if (strcmp(verb, "rotate") == 0)
        TRY(keys_rotate(io_posix(), dir, role, err));
    else if (strcmp(verb, "show") != 0)
        return err_set(err, STATUS_USAGE,
                       "\"%.32s\" is nothing to do with keys; right is init, "
                       "rotate or show",
                       verb);
    return keys_show(dir, err);
}

int keys_command(int argc, char **argv)
{
    const char *dir = NULL, *role = "release";
    const struct option table[] = {
        {"dir", OPTION_STRING, &dir, 0, 0, "DIR", "the keys folder"},
        {"role", OPTION_STRING, &role, 0, 0, "release|root", "of rotate: which key is exchanged"},
        {0}};
    const struct options options = {
        .program = "cdcca-cloud keys",
        .summary = "makes the keys that sign releases, exchanges one, or shows them",
        .positional = "init|rotate|show",
        .table = table,
        .positional_min = 1,
        .positional_max = 1};
    struct err err = {0};
    int count = 0;
    enum status status = options_parse(&options, argc, argv, &count, &err);
    if (status == STATUS_CANCELLED)
        return 0;
    if (status == STATUS_OK)
        status = keys_run(argv[1], dir, role, &err);
    if (status == STATUS_OK)
        return 0;
    fprintf(stderr, "cdcca-cloud keys: %s\n", err.text);
    return status_exit(status);
}
