/* Where a request comes from: addresses in one form, and how much of X-Forwarded-For is believed.
 */
// links: http
#include "api/http/listen.h"
#include "api/http/peer.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void addresses_have_one_form(void **state)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr other = {.sa_family = AF_UNIX};
    char text[PEER_TEXT];
    (void)state;
    peer_address((struct sockaddr *)&four, text);
    assert_string_equal(text, "192.0.2.1");
    inet_pton(AF_INET6, "::ffff:192.0.2.1", &six.sin6_addr);
    peer_address((struct sockaddr *)&six, text);
    assert_string_equal(text, "192.0.2.1");
    inet_pton(AF_INET6, "2001:db8::1", &six.sin6_addr);
    peer_address((struct sockaddr *)&six, text);
    assert_string_equal(text, "2001:db8::1");
    peer_address(&other, text);
    assert_string_equal(text, "");
    peer_address(NULL, text);
    assert_string_equal(text, "");
    assert_true(peer_parse("2001:DB8:0::0:1", text));
    assert_string_equal(text, "2001:db8::1");
    assert_false(peer_parse("localhost", text));
    assert_false(peer_parse("1.2.3", text));
    assert_false(peer_parse("", text));
}

static void the_proxys_own_entry_is_believed(void **state)
{
    static const struct {
        const char *header, *expect;
    } cases[] = {
        {NULL, "10.0.0.2"},
        {"", "10.0.0.2"},
        {"198.51.100.7", "198.51.100.7"},
        {"6.6.6.6, 198.51.100.7", "198.51.100.7"},
        {"6.6.6.6,198.51.100.7 ", "198.51.100.7"},
        {"junk, \t2001:DB8::7", "2001:db8::7"},
        {"198.51.100.7, junk", "10.0.0.2"},
        {"198.51.100.7,", "10.0.0.2"},
        {"198.51.100.7 6.6.6.6", "10.0.0.2"},
        {"198.51.100.7:4711", "10.0.0.2"},
        {"1111111111111111111111111111111111111111111111111111111111", "10.0.0.2"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[PEER_TEXT] = "10.0.0.2";
        peer_forwarded(cases[i].header, text);
        assert_string_equal(text, cases[i].expect);
    }
}

static void what_lies_on_this_machine_is_known(void **state)
{
    static const struct {
        const char *address;
        bool loopback;
    } cases[] = {{"127.0.0.1:80", true},      {"127.9.9.9:0", true},
                 {"[::1]:80", true},          {":8080", false},
                 {"0.0.0.0:80", false},       {"[::]:80", false},
                 {"192.0.2.1:80", false},     {"[::ffff:127.0.0.1]:80", true},
                 {"[2001:db8::1]:80", false}, {"[fe80::1%lo]:1", false}};
    static const char *const bad[] = {"", "80", "localhost:80", "127.0.0.1:x"};
    bool loopback;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(listen_is_loopback(cases[i].address, &loopback, NULL), STATUS_OK);
        assert_int_equal(loopback, cases[i].loopback);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(listen_is_loopback(bad[i], &loopback, NULL), STATUS_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_have_one_form),
        cmocka_unit_test(the_proxys_own_entry_is_believed),
        cmocka_unit_test(what_lies_on_this_machine_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
