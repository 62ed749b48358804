/* The contract and the program name the same routes. */
// links: server
#include "server/auth.h"
#include "server/contract.h"
#include "server/routes.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The text of one path in the contract: from "\n  /path:\n" to the next path; *len its length. */
static const char *path_section(const char *pattern, size_t *len)
{
    char head[96];
    snprintf(head, sizeof head, "\n  %s:\n", pattern);
    const char *found = strstr(contract_text(), head);
    if (!found)
        return NULL;
    const char *body = found + strlen(head) - 1, *end = strstr(body, "\n  /");
    if (!end)
        end = strstr(body, "\ncomponents:");
    *len = end ? (size_t)(end - body) : strlen(body);
    return body;
}

static void every_route_is_in_the_contract(void **state)
{
    (void)state;
    for (const struct http_route *r = routes; r->method; r++) {
        char method[16] = "\n    ";
        size_t len, n = strlen(method);
        for (size_t i = 0; r->method[i] && n < sizeof method - 2; i++)
            method[n++] = (char)tolower((unsigned char)r->method[i]);
        method[n++] = ':';
        method[n] = '\0';
        const char *section = path_section(r->pattern, &len);
        if (!section || !memmem(section, len, method, n))
            fail_msg("%s %s is not in openapi.yaml", r->method, r->pattern);
    }
}

/* "[device, operator]", in the contract's order. */
static void roles_print(unsigned who, char out[96])
{
    static const struct {
        unsigned role;
        const char *name;
    } names[] = {{ROLE_ANYONE, "anyone"},
                 {ROLE_ITSELF, "itself"},
                 {ROLE_DEVICE, "device"},
                 {ROLE_OPERATOR, "operator"},
                 {ROLE_VIEWER, "viewer"}};
    size_t len = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (who & names[i].role)
            len += (size_t)snprintf(out + len, 96 - len, "%s%s", len ? ", " : "x-roles: [",
                                    names[i].name);
    snprintf(out + len, 96 - len, "]\n");
}

/* Every route says who may call it; the contract says the same, and that others are refused. */
static void the_contract_names_each_routes_roles(void **state)
{
    (void)state;
    for (const struct http_route *r = routes; r->method; r++) {
        char method[16] = "\n    ", roles[96];
        size_t len, n = strlen(method);
        for (size_t i = 0; r->method[i] && n < sizeof method - 2; i++)
            method[n++] = (char)tolower((unsigned char)r->method[i]);
        method[n++] = ':';
        const char *section = path_section(r->pattern, &len);
        assert_non_null(section);
        const char *operation = memmem(section, len, method, n);
        assert_non_null(operation);
        const char *end = strstr(operation + 5, "\n    ");
        while (end && end[5] == ' ')
            end = strstr(end + 5, "\n    ");
        size_t size = end && end < section + len ? (size_t)(end - operation)
                                                 : (size_t)(section + len - operation);
        roles_print(r->who, roles);
        if (!memmem(operation, size, roles, strlen(roles)))
            fail_msg("%s %s is not for %s", r->method, r->pattern, roles);
        bool open = memmem(operation, size, "security: []", 12) != NULL;
        if (open != ((r->who & ROLE_ANYONE) != 0) ||
            (!open &&
             (!memmem(operation, size, "'401'", 5) || !memmem(operation, size, "'403'", 5))) ||
            !memmem(operation, size, "'429'", 5))
            fail_msg("%s %s: security, 401, 403 or 429", r->method, r->pattern);
    }
}

static void every_operation_of_the_contract_is_a_route(void **state)
{
    int operations = 0, served = 0;
    (void)state;
    for (const char *at = contract_text(); (at = strstr(at, "operationId:")); at++)
        operations++;
    for (const struct http_route *r = routes; r->method; r++)
        served++;
    assert_int_equal(operations, served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_in_the_contract),
        cmocka_unit_test(the_contract_names_each_routes_roles),
        cmocka_unit_test(every_operation_of_the_contract_is_a_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
