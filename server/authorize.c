/* See authorize.h. The table of routes says who may call; this file compares. */
#include "server/authorize.h"
#include "server/auth.h"
#include "server/quota.h"
#include "server/shared.h"
#include <stdio.h>
#include <string.h>

/* RFC 6750, section 3 */
static void challenge(struct http_request *request, const char *error)
{
    char text[96];
    snprintf(text, sizeof text, "Bearer realm=\"cdcca\"%s%s%s", error ? ", error=\"" : "",
             error ? error : "", error ? "\"" : "");
    http_reply_header(request, "WWW-Authenticate", text);
}

/* Without a token, or with one that is no good: welcome at some doors, counted at all. */
static enum status stranger(struct http_request *request, const struct http_route *route,
                            const struct err *bad, struct err *err)
{
    struct cloud *cloud = request->app;
    TRY(quota_stranger(cloud->quota, request, err));
    if (route->who & ROLE_ANYONE)
        return STATUS_OK;
    challenge(request, bad ? "invalid_token" : NULL);
    if (bad)
        return err_set(err, STATUS_UNAUTHENTICATED, "%s", bad->text);
    return err_set(err, STATUS_UNAUTHENTICATED,
                   "%s %s needs a token: \"Authorization: Bearer TOKEN\"; an operator makes one by "
                   "cdcca-cloud token add",
                   request->method, route->pattern);
}

static bool role_fits(const struct http_request *request, const struct http_route *route)
{
    const struct http_caller *caller = &request->caller;
    if (route->who & (caller->role | ROLE_ANYONE))
        return true;
    return (route->who & ROLE_ITSELF) && caller->role == ROLE_DEVICE && request->param[0] &&
           strcmp(request->param[0], caller->name) == 0;
}

/* "device or operator" */
static void roles_list(unsigned who, char out[80])
{
    static const unsigned all[] = {ROLE_DEVICE, ROLE_OPERATOR, ROLE_VIEWER};
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (who & all[i])
            len += (size_t)snprintf(out + len, 80 - len, "%s%s", len ? " or " : "",
                                    auth_role_name(all[i]));
    if (who & ROLE_ITSELF)
        snprintf(out + len, 80 - len, "%sthe device itself", len ? " or " : "");
}

static enum status role_refuse(struct http_request *request, const struct http_route *route,
                               struct err *err)
{
    char would[80];
    roles_list(route->who, would);
    challenge(request, "insufficient_scope");
    return err_set(err, STATUS_REFUSED, "%s %s is for %s; the token of %s has the role %s",
                   request->method, route->pattern, would, request->caller.name,
                   auth_role_name(request->caller.role));
}

enum status authorize(struct http_request *request, const struct http_route *route, int *status,
                      struct err *err)
{
    struct cloud *cloud = request->app;
    const char *header = http_header(request, "Authorization");
    struct err bad = {0};
    (void)status;
    if (!header)
        return stranger(request, route, NULL, err);
    enum status known = auth_identify(cloud->auth, header, &request->caller, &bad);
    if (known == STATUS_UNAUTHENTICATED)
        return stranger(request, route, &bad, err);
    if (known != STATUS_OK)
        return err_set(err, known, "%s", bad.text);
    if (!role_fits(request, route))
        return role_refuse(request, route, err);
    if ((route->who & ROLE_METERED) && request->caller.role == ROLE_DEVICE)
        return quota_check(cloud->quota, request, request->caller.name, err);
    return STATUS_OK;
}
