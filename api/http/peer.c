/* See peer.h. */
#include "api/http/peer.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

static void six_print(const struct in6_addr *six, char out[PEER_TEXT])
{
    if (IN6_IS_ADDR_V4MAPPED(six))
        inet_ntop(AF_INET, &six->s6_addr[12], out, PEER_TEXT);
    else
        inet_ntop(AF_INET6, six, out, PEER_TEXT);
}

void peer_address(const struct sockaddr *address, char out[PEER_TEXT])
{
    out[0] = '\0';
    if (address && address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof four);
        inet_ntop(AF_INET, &four.sin_addr, out, PEER_TEXT);
    } else if (address && address->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        six_print(&six.sin6_addr, out);
    }
}

bool peer_parse(const char *text, char out[PEER_TEXT])
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, text, &four) == 1) {
        inet_ntop(AF_INET, &four, out, PEER_TEXT);
        return true;
    }
    if (inet_pton(AF_INET6, text, &six) != 1)
        return false;
    six_print(&six, out);
    return true;
}

void peer_forwarded(const char *header, char out[PEER_TEXT])
{
    char entry[PEER_TEXT];
    if (!header)
        return;
    const char *comma = strrchr(header, ',');
    const char *start = comma ? comma + 1 : header;
    start += strspn(start, " \t");
    size_t len = strcspn(start, " \t");
    if (len >= sizeof entry || start[len + strspn(start + len, " \t")] != '\0')
        return;
    memcpy(entry, start, len);
    entry[len] = '\0';
    peer_parse(entry, out);
}

bool peer_is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}
