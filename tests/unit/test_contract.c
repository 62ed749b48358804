/* The contract and the program name the same routes. */
// links: server
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
        cmocka_unit_test(every_operation_of_the_contract_is_a_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
