/* Tokens: who has one is known at once, who had one is not; nothing on disk can be used as one. And
 * the Authorization field against tests/data/authorization: each folder holds a field's value and
 * "ok" or a status with a part of what is said. */
// links: server
#include "api/base/clock.h"
#include "api/base/io.h"
#include "auth_place.h"
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

static void add(struct place *place, unsigned role, const char *name, int64_t ttl_ms,
                char token[AUTH_TOKEN])
{
    struct err err = {0};
    if (auth_token_add(place->auth, role, name, ttl_ms, token, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static void a_token_is_its_owners_until_it_is_revoked(void **state)
{
    struct place *place = *state;
    char boss[AUTH_TOKEN], kiosk[AUTH_TOKEN];
    struct http_caller caller;
    char header[AUTH_TOKEN + 16];
    add(place, ROLE_OPERATOR, "boss", 0, boss);
    add(place, ROLE_DEVICE, "kiosk-7", 0, kiosk);
    assert_string_equal(owner(place->auth, boss), "boss");
    assert_string_equal(owner(place->auth, kiosk), "kiosk-7");
    snprintf(header, sizeof header, "bearer   %s", kiosk);
    assert_int_equal(auth_identify(place->auth, header, &caller, NULL), STATUS_OK);
    assert_int_equal(caller.role, ROLE_DEVICE);
    assert_int_equal(auth_token_revoke(place->auth, "kiosk-7", NULL), STATUS_OK);
    assert_string_equal(owner(place->auth, kiosk), "");
    assert_string_equal(owner(place->auth, boss), "boss");
    assert_int_equal(auth_token_revoke(place->auth, "kiosk-7", NULL), STATUS_NOT_FOUND);
}

static void every_digit_of_a_token_counts(void **state)
{
    struct place *place = *state;
    char token[AUTH_TOKEN];
    add(place, ROLE_VIEWER, "v", 0, token);
    for (size_t i = 0; token[i]; i++) {
        char kept = token[i];
        token[i] = kept == 'a' ? 'b' : 'a';
        assert_string_equal(owner(place->auth, token), "");
        token[i] = kept;
    }
    assert_string_equal(owner(place->auth, token), "v");
}

static void a_name_has_one_role(void **state)
{
    struct place *place = *state;
    char token[AUTH_TOKEN];
    struct err err = {0};
    add(place, ROLE_OPERATOR, "anna", 0, token);
    assert_int_equal(auth_token_add(place->auth, ROLE_DEVICE, "anna", 0, token, &err),
                     STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "rotate anna"));
    assert_int_equal(auth_token_add(place->auth, ROLE_OPERATOR, "anna", 0, token, NULL),
                     STATUS_CONFLICT);
}

static void an_old_token_overlaps_a_new_one_and_ends(void **state)
{
    struct place *place = *state;
    char old[AUTH_TOKEN], new[AUTH_TOKEN], newest[AUTH_TOKEN];
    add(place, ROLE_OPERATOR, "boss", 0, old);
    assert_int_equal(auth_token_rotate(place->auth, "boss", 3600000, new, NULL), STATUS_OK);
    assert_string_equal(owner(place->auth, old), "boss");
    assert_string_equal(owner(place->auth, new), "boss");
    assert_int_equal(auth_token_rotate(place->auth, "boss", 1, newest, NULL), STATUS_OK);
    clock_sleep_ms(5);
    assert_string_equal(owner(place->auth, old), "");
    assert_string_equal(owner(place->auth, new), "");
    assert_string_equal(owner(place->auth, newest), "boss");
    assert_int_equal(auth_token_rotate(place->auth, "nobody", 1, newest, NULL), STATUS_NOT_FOUND);
}

static void a_token_with_a_term_ends_by_itself(void **state)
{
    struct place *place = *state;
    char token[AUTH_TOKEN];
    add(place, ROLE_VIEWER, "guest", 1, token);
    clock_sleep_ms(5);
    assert_string_equal(owner(place->auth, token), "");
    add(place, ROLE_VIEWER, "guest", 3600000, token);
    assert_string_equal(owner(place->auth, token), "guest");
}

/* The command runs beside the service. */
static void what_another_process_adds_holds_at_once(void **state)
{
    struct place *place = *state;
    struct auth *other;
    char token[AUTH_TOKEN];
    assert_int_equal(auth_open(place->dir, &other, NULL), STATUS_OK);
    assert_int_equal(auth_token_add(other, ROLE_DEVICE, "late", 0, token, NULL), STATUS_OK);
    assert_string_equal(owner(place->auth, token), "late");
    assert_int_equal(auth_token_revoke(other, "late", NULL), STATUS_OK);
    assert_string_equal(owner(place->auth, token), "");
    auth_close(other);
}

static void the_disk_holds_no_token_and_is_the_owners(void **state)
{
    struct place *place = *state;
    static const char *const files[] = {"auth.db", "auth.db-wal"};
    char token[AUTH_TOKEN], path[128];
    add(place, ROLE_OPERATOR, "boss", 0, token);
    for (size_t i = 0; i < 2; i++) {
        struct buf bytes = {.max = 1 << 24};
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", place->dir, files[i]);
        assert_int_equal(stat(path, &about), 0);
        assert_int_equal(about.st_mode & 0777, 0600);
        assert_int_equal(io_read_file(io_posix(), path, &bytes, NULL), STATUS_OK);
        assert_null(memmem(bytes.data, bytes.len, token + 6, 64));
        buf_free(&bytes);
    }
}

static bool count_roles(void *ctx, const struct token *token)
{
    *(unsigned *)ctx = *(unsigned *)ctx * 10 + token->role;
    return true;
}

static void the_list_shows_what_holds(void **state)
{
    struct place *place = *state;
    char token[AUTH_TOKEN];
    unsigned seen = 0;
    add(place, ROLE_VIEWER, "c", 0, token);
    add(place, ROLE_OPERATOR, "a", 0, token);
    add(place, ROLE_DEVICE, "b", 0, token);
    add(place, ROLE_DEVICE, "gone", 1, token);
    clock_sleep_ms(5);
    assert_int_equal(auth_tokens(place->auth, count_roles, &seen, NULL), STATUS_OK);
    assert_int_equal(seen, 100 * ROLE_OPERATOR + 10 * ROLE_DEVICE + ROLE_VIEWER);
}

static void a_device_acts_for_itself(void **state)
{
    struct http_request request = {.caller = {.role = ROLE_DEVICE, .name = "a"}};
    (void)state;
    assert_int_equal(auth_own_device(&request, "a", NULL), STATUS_OK);
    assert_int_equal(auth_own_device(&request, "A", NULL), STATUS_REFUSED);
    assert_int_equal(auth_own_device(&request, "", NULL), STATUS_REFUSED);
    request.caller.role = ROLE_OPERATOR;
    assert_int_equal(auth_own_device(&request, "b", NULL), STATUS_OK);
    request.caller.role = 0; /* a service without tokens */
    assert_int_equal(auth_own_device(&request, "b", NULL), STATUS_OK);
}

/* ---- the Authorization field ---- */

static void text_read(const char *folder, const char *name, char *out, size_t size)
{
    char path[PATH_MAX];
    struct buf text = {.max = size - 1};
    struct err err = {0};
    snprintf(path, sizeof path, "%s/tests/data/authorization/%s/%s", SOURCE_DIR, folder, name);
    if (io_read_file(io_posix(), path, &text, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    snprintf(out, size, "%.*s", (int)text.len, (const char *)text.data);
    out[strcspn(out, "\n")] = '\0';
    buf_free(&text);
}

static void authorization_fields(void **state)
{
    char value[4096], expect[256];
    int cases = 0;
    (void)state;
    DIR *dir = opendir(SOURCE_DIR "/tests/data/authorization");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct hash token;
        struct err err = {0};
        if (entry->d_name[0] == '.')
            continue;
        text_read(entry->d_name, "value", value, sizeof value);
        text_read(entry->d_name, "expect", expect, sizeof expect);
        enum status status = auth_header_parse(value, &token, &err);
        const char *said = strchr(expect, ' ');
        size_t len = said ? (size_t)(said - expect) : strlen(expect);
        if (strlen(status_name(status)) != len || strncmp(status_name(status), expect, len) != 0 ||
            (said && !strstr(err.text, said + 1)))
            fail_msg("%s: %s (%s), expected %s", entry->d_name, status_name(status), err.text,
                     expect);
        cases++;
    }
    closedir(dir);
    assert_true(cases >= 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(a_token_is_its_owners_until_it_is_revoked),
        PLACED(every_digit_of_a_token_counts),
        PLACED(a_name_has_one_role),
        PLACED(an_old_token_overlaps_a_new_one_and_ends),
        PLACED(a_token_with_a_term_ends_by_itself),
        PLACED(what_another_process_adds_holds_at_once),
        PLACED(the_disk_holds_no_token_and_is_the_owners),
        PLACED(the_list_shows_what_holds),
        cmocka_unit_test(a_device_acts_for_itself),
        cmocka_unit_test(authorization_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
