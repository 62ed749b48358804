/* See admin.h. */
#include "server/admin.h"
#include "api/base/clock.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "server/enroll.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum status admin_duration_parse(const char *text, int64_t *ms, struct err *err)
{
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    int64_t number = 0;
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
    for (size_t i = 0; i < digits && digits <= 6; i++)
        number = number * 10 + (text[i] - '0');
    if (number == 0 || digits > 6 || !unit || text[digits + 1] != '\0' ||
        number * seconds[unit - units] > 36500LL * 86400)
        return err_set(err, STATUS_USAGE,
                       "\"%.40s\" is no time span; right is for example 30s, 15m, 12h or 7d", text);
    *ms = number * seconds[unit - units] * 1000;
    return STATUS_OK;
}

struct token_options {
    const char *data, *role, *name, *ttl, *overlap;
    bool json;
};

static enum status token_parse(int argc, char **argv, struct token_options *o, int *count,
                               struct err *err)
{
    *o = (struct token_options){.data = "cdcca-data", .overlap = "24h"};
    const struct option table[] = {
        {"data", OPTION_STRING, &o->data, 0, 0, "DIR", "the service's data directory"},
        {"role", OPTION_STRING, &o->role, 0, 0, "ROLE", "add: device, operator or viewer"},
        {"name", OPTION_STRING, &o->name, 0, 0, "NAME",
         "add: whose token; a device's id (else ROLE-1, ROLE-2, ...)"},
        {"ttl", OPTION_STRING, &o->ttl, 0, 0, "SPAN",
         "add: how long it holds, such as 90d; else until it is revoked"},
        {"overlap", OPTION_STRING, &o->overlap, 0, 0, "SPAN",
         "rotate: how long the old token still holds"},
        {"json", OPTION_FLAG, &o->json, 0, 0, NULL, "list: JSON on stdout"},
        {0}};
    const struct options options = {
        .program = "cdcca-cloud token",
        .summary = "who may call the service: add, list, rotate NAME, revoke NAME",
        .positional = "add|list|rotate|revoke [NAME]",
        .table = table,
        .positional_min = 1,
        .positional_max = 2};
    return options_parse(&options, argc, argv, count, err);
}

/* ---- token add, rotate, revoke ---- */

static enum status name_check(const char *name, struct err *err)
{
    if (name && auth_name_is_valid(name))
        return STATUS_OK;
    return err_set(err, STATUS_USAGE, "a name is 1 to %d of A-Z a-z 0-9 . _ -%s%.80s", LIMIT_ID,
                   name ? ", not " : "", name ? name : "");
}

static bool print_token(const char *token)
{
    fputs("this is shown once; what is stored is a hash of it\n", stderr);
    return puts(token) >= 0;
}

/* The first of ROLE-1, ROLE-2, ... that is free. */
static enum status add_unnamed(struct auth *auth, unsigned role, int64_t ttl_ms,
                               char token[AUTH_TOKEN], struct err *err)
{
    char name[LIMIT_ID + 1];
    enum status status = STATUS_CONFLICT;
    for (int i = 1; i <= 10000 && status == STATUS_CONFLICT; i++) {
        snprintf(name, sizeof name, "%s-%d", auth_role_name(role), i);
        status = auth_token_add(auth, role, name, ttl_ms, token, err);
    }
    if (status == STATUS_OK)
        fprintf(stderr, "the token of %s; ", name);
    return status;
}

static enum status token_add(struct auth *auth, const struct token_options *o, struct err *err)
{
    char token[AUTH_TOKEN];
    int64_t ttl_ms = 0;
    unsigned role = o->role ? auth_role_parse(o->role) : 0;
    if (!role)
        return err_set(err, STATUS_USAGE, "--role is device, operator or viewer");
    if (o->ttl)
        TRY(admin_duration_parse(o->ttl, &ttl_ms, err));
    if (o->name) {
        TRY(name_check(o->name, err));
        TRY(auth_token_add(auth, role, o->name, ttl_ms, token, err));
    } else {
        TRY(add_unnamed(auth, role, ttl_ms, token, err));
    }
    return print_token(token) ? STATUS_OK : err_set(err, STATUS_IO, "cannot write to stdout");
}

static enum status token_rotate(struct auth *auth, const char *name, const struct token_options *o,
                                struct err *err)
{
    char token[AUTH_TOKEN];
    int64_t overlap_ms;
    TRY(name_check(name, err));
    TRY(admin_duration_parse(o->overlap, &overlap_ms, err));
    TRY(auth_token_rotate(auth, name, overlap_ms, token, err));
    return print_token(token) ? STATUS_OK : err_set(err, STATUS_IO, "cannot write to stdout");
}

static enum status token_revoke(struct auth *auth, const char *name, struct err *err)
{
    TRY(name_check(name, err));
    return auth_token_revoke(auth, name, err);
}

/* ---- token list ---- */

static bool list_text(void *ctx, const struct token *token)
{
    char created[32], expires[32] = "-";
    (void)ctx;
    clock_format(token->created_ms, created);
    if (token->expires_ms)
        clock_format(token->expires_ms, expires);
    printf("%-24s %-9s %-24s %s\n", token->name, auth_role_name(token->role), created, expires);
    return true;
}

static bool list_json(void *ctx, const struct token *token)
{
    char created[32], expires[32];
    json *out = json_object_new();
    clock_format(token->created_ms, created);
    clock_format(token->expires_ms, expires);
    bool ok = out && json_set_string(out, "name", token->name) &&
              json_set_string(out, "role", auth_role_name(token->role)) &&
              json_set_string(out, "created", created) &&
              (!token->expires_ms || json_set_string(out, "expires", expires));
    if (ok)
        return json_append_take(ctx, out);
    json_free(out);
    return false;
}

static enum status token_list(struct auth *auth, bool as_json, struct err *err)
{
    if (!as_json) {
        printf("%-24s %-9s %-24s %s\n", "name", "role", "created", "expires");
        return auth_tokens(auth, list_text, NULL, err);
    }
    json *list = json_array_new();
    enum status status = list ? auth_tokens(auth, list_json, list, err) : STATUS_OK;
    if (status == STATUS_OK)
        return json_say(list, true, err);
    json_free(list);
    return status == STATUS_NO_MEMORY ? err_set(err, status, "out of memory") : status;
}

/* ---- commands ---- */

static enum status token_run(struct auth *auth, char **argv, int count,
                             const struct token_options *o, struct err *err)
{
    const char *verb = argv[1], *name = count > 1 ? argv[2] : NULL;
    if (strcmp(verb, "list") == 0 && !name)
        return token_list(auth, o->json, err);
    if (strcmp(verb, "add") == 0 && !name)
        return token_add(auth, o, err);
    if (strcmp(verb, "rotate") == 0 && name)
        return token_rotate(auth, name, o, err);
    if (strcmp(verb, "revoke") == 0 && name)
        return token_revoke(auth, name, err);
    return err_set(err, STATUS_USAGE,
                   "right is token add --role ROLE, token list, token rotate NAME or token revoke "
                   "NAME");
}

enum status admin_token(int argc, char **argv, struct err *err)
{
    struct token_options o;
    struct auth *auth = NULL;
    int count = 0;
    TRY(token_parse(argc, argv, &o, &count, err));
    TRY(auth_open(o.data, &auth, err));
    enum status status = token_run(auth, argv, count, &o, err);
    auth_close(auth);
    return status;
}

enum status admin_enroll_code(int argc, char **argv, struct err *err)
{
    const char *data = "cdcca-data", *device = NULL, *ttl = "1h";
    int64_t uses = 1, ttl_ms;
    char code[SECRET_CODE];
    struct auth *auth = NULL;
    int count = 0;
    const struct option table[] = {
        {"data", OPTION_STRING, &data, 0, 0, "DIR", "the service's data directory"},
        {"device", OPTION_STRING, &device, 0, 0, "ID",
         "for this device alone, whose tokens it replaces; else for any new one"},
        {"ttl", OPTION_STRING, &ttl, 0, 0, "SPAN", "how long it holds"},
        {"uses", OPTION_INT, &uses, 1, 100000, "N", "how many devices may use it"},
        {0}};
    const struct options options = {.program = "cdcca-cloud enroll-code",
                                    .summary = "a code with which cdcca-edge enroll gets a token",
                                    .table = table};
    TRY(options_parse(&options, argc, argv, &count, err));
    TRY(admin_duration_parse(ttl, &ttl_ms, err));
    if (device)
        TRY(name_check(device, err));
    TRY(auth_open(data, &auth, err));
    enum status status = enroll_code_add(auth, device, ttl_ms, uses, code, err);
    auth_close(auth);
    if (status == STATUS_OK && puts(code) < 0)
        status = err_set(err, STATUS_IO, "cannot write to stdout");
    return status;
}
