/* The values of header fields, each text to every parser of one: Authorization, Idempotency-Key,
 * Prefer, X-Request-Id, Host, X-Forwarded-For, Last-Event-ID. */
#include "api/http/field.h"
#include "api/http/peer.h"
#include "fuzz.h"
#include "server/auth.h"
#include "server/events.h"

enum { KEY_MAX = 128, ID_MAX = 64, WAIT_MAX = 60 };

static void words_hold(const char *text)
{
    size_t len = strlen(text);
    FUZZ_HOLDS(!field_is_id(text, ID_MAX) || (len > 0 && len <= ID_MAX));
    FUZZ_HOLDS(!field_is_id(text, ID_MAX) || field_is_key(text, KEY_MAX));
    if (field_is_key(text, KEY_MAX)) {
        FUZZ_HOLDS(len > 0 && len <= KEY_MAX);
        for (const char *p = text; *p; p++)
            FUZZ_HOLDS(*p > ' ' && *p <= '~');
    }
    int64_t wait = field_prefer_wait(text, WAIT_MAX);
    FUZZ_HOLDS(wait >= 0 && wait <= WAIT_MAX);
    FUZZ_HOLDS(wait == 0 || strcasestr(text, "wait="));
    FUZZ_HOLDS(!field_host_is_local(text) || len >= strlen("127."));
}

/* A token is as its owner was told it, after whatever blanks. */
static void authorization_holds(const char *text)
{
    struct hash token;
    struct err err = {0};
    char hex[HASH_HEX];
    enum status status = auth_header_parse(text, &token, &err);
    FUZZ_HOLDS(status == STATUS_OK || (status == STATUS_UNAUTHENTICATED && err.text[0]));
    if (status != STATUS_OK)
        return;
    hash_hex(&token, hex);
    FUZZ_HOLDS(strlen(text) > strlen(hex) && strcmp(text + strlen(text) - strlen(hex), hex) == 0);
}

static void forwarded_holds(const char *text)
{
    char address[PEER_TEXT] = "192.0.2.1", again[PEER_TEXT];
    peer_forwarded(text, address);
    FUZZ_HOLDS(peer_parse(address, again) && strcmp(address, again) == 0);
    peer_is_loopback(address);
}

/* A number that this process did not give is a reset, and no reader begins in the future. */
static void event_id_holds(const char *text)
{
    struct events *events;
    struct events_reader reader;
    FUZZ_HOLDS(events_create(&events, NULL) == STATUS_OK);
    events_publish(events, EVENT_DEVICE, "{\"id\":\"a\"}");
    events_reader_init(events, ~0u, NULL, &reader);
    uint64_t now = reader.next;
    events_reader_init(events, ~0u, text, &reader);
    FUZZ_HOLDS(reader.next <= now && (!reader.reset || reader.next == now));
    events_destroy(events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    FUZZ_HOLDS(text != NULL);
    memcpy(text, data, len);
    text[len] = '\0';
    words_hold(text);
    authorization_holds(text);
    forwarded_holds(text);
    event_id_holds(text);
    free(text);
    return 0;
}
