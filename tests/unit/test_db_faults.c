/* Every read, write, truncation and sync of the databases fails once, in turn, with a full disk and
 * with an error: what was acknowledged before is there after, also for a store that is opened anew;
 * what was refused is there whole or not at all, and goes well when it is tried again. */
// links: server
#include "server/auth.h"
#include "server/db.h"
#include "tests/unit/fault_db.h"
#include "tests/unit/store_place.h"

static const int errors[] = {ENOSPC, EIO};
enum { ERRORS = sizeof errors / sizeof *errors, TRIES_MAX = 400 };

/* ---- uploads ---- */

static enum status delete_run(struct store *store, void *ctx, struct err *err)
{
    return store_upload_delete(store, *(int64_t *)ctx, err);
}

static enum status create_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_create(store, "request", "{}", ctx, err);
}

static enum status finish_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_finish(store, *(int64_t *)ctx, "rejected", "{}", NULL, 0, err);
}

/* Its bytes are what they were, or there is none of it. */
static bool is_stored(struct place *place, const char *content)
{
    char hex[HASH_HEX];
    struct hash hash;
    struct err err = {0};
    struct buf bytes = {.max = 64 << 10};
    hash_bytes(content, strlen(content), &hash);
    hash_hex(&hash, hex);
    enum status status = store_upload_bytes(place->store, hex, &bytes, &err);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        fail_msg("%s", err.text);
    buf_free(&bytes);
    return status == STATUS_OK;
}

static void content_make(char out[9000], const char *name, int number)
{
    memset(out, 'x', 8999);
    out[8999] = '\0';
    int len = snprintf(out, 64, "%s %d", name, number);
    out[len] = ' ';
}

/* An upload and its removal, with the n-th call failing. True when it was reached. */
static bool one_fails(struct place *place, int n)
{
    char content[9000];
    content_make(content, "new", n);
    struct adding adding = {.content = content};
    fault_db_countdown = n;
    enum status added = place_apply(place, add_run, &adding);
    enum status gone = STATUS_CANCELLED;
    if (added == STATUS_OK)
        gone = place_apply(place, delete_run, &adding.upload.id);
    bool reached = fault_db_countdown < 0;
    fault_db_countdown = -1;
    place_again(place);
    assert_true(is_stored(place, "kept"));
    if (gone == STATUS_OK)
        assert_false(is_stored(place, content));
    else if (added == STATUS_OK)
        is_stored(place, content); /* its end was refused: there or gone, but whole */
    adding = (struct adding){.content = content};
    assert_int_equal(place_apply(place, add_run, &adding), STATUS_OK);
    assert_true(is_stored(place, content));
    assert_int_equal(place_apply(place, delete_run, &adding.upload.id), STATUS_OK);
    assert_false(is_stored(place, content));
    return reached;
}

static void an_upload_and_its_removal(void **state)
{
    struct place *place = *state;
    place_upload(place, "kept");
    for (int e = 0; e < ERRORS; e++) {
        int n = 0;
        fault_db_error = errors[e];
        while (one_fails(place, n))
            assert_true(++n < TRIES_MAX);
        assert_true(n >= 10); /* pages and a sync of each commit, and of emptying the log */
    }
}

enum { GROUP = 8 };

/* A group is stored whole, or, refused, not at all; each of it can be sent again. */
static bool group_fails(struct place *place, int n)
{
    static char content[GROUP][9000];
    struct adding adding[GROUP];
    struct store_job jobs[GROUP];
    for (int i = 0; i < GROUP; i++) {
        content_make(content[i], "group", (fault_db_error * GROUP + i) * TRIES_MAX + n);
        adding[i] = (struct adding){.content = content[i]};
        jobs[i] = (struct store_job){.run = add_run, .ctx = &adding[i]};
    }
    fault_db_countdown = n;
    enum status status = store_apply(place->store, jobs, GROUP, NULL);
    bool reached = fault_db_countdown < 0;
    fault_db_countdown = -1;
    for (int i = 0; i < GROUP; i++)
        if (status != STATUS_OK)
            assert_int_equal(jobs[i].status, status);
    place_again(place);
    bool first = is_stored(place, content[0]);
    for (int i = 0; i < GROUP; i++) {
        if (status == STATUS_OK && jobs[i].status == STATUS_OK)
            assert_true(is_stored(place, content[i]));
        if (status != STATUS_OK)
            assert_int_equal(is_stored(place, content[i]), first);
        place_upload(place, content[i]);
        assert_true(is_stored(place, content[i]));
    }
    return reached;
}

static void a_group_of_uploads(void **state)
{
    struct place *place = *state;
    for (int e = 0; e < ERRORS; e++) {
        int n = 0;
        fault_db_error = errors[e];
        while (group_fails(place, n))
            assert_true(++n < TRIES_MAX);
        assert_true(n >= GROUP);
    }
}

static int64_t new_instances(struct place *place)
{
    struct store_totals totals;
    assert_int_equal(store_totals(place->store, &totals, NULL), STATUS_OK);
    return totals.new_instances;
}

/* A round takes its upload once, whichever call fails; refused, it can be asked for again. */
static void a_round(void **state)
{
    struct place *place = *state;
    bool reached = true;
    for (int n = 0; reached; n++) {
        int64_t round = 0;
        char content[9000];
        content_make(content, "round", n);
        place_upload(place, content);
        fault_db_countdown = n;
        enum status status = place_apply(place, create_run, &round);
        if (status == STATUS_OK)
            status = place_apply(place, finish_run, &round);
        reached = fault_db_countdown < 0;
        fault_db_countdown = -1;
        place_again(place);
        assert_true(is_stored(place, content));
        if (status == STATUS_OK)
            assert_int_equal(new_instances(place), 0);
        if (new_instances(place) > 0)
            assert_int_equal(place_apply(place, create_run, &round), STATUS_OK);
        assert_int_equal(new_instances(place), 0);
        assert_true(n < TRIES_MAX);
    }
}

/* ---- tokens ---- */

struct tokens {
    const char *dir;
    struct auth *auth;
    char boss[AUTH_TOKEN];
};

static void tokens_open(struct tokens *t)
{
    struct err err = {0};
    if (auth_open(t->dir, &t->auth, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static bool is_known(struct tokens *t, const char *token)
{
    struct http_caller caller;
    char header[AUTH_TOKEN + 16];
    snprintf(header, sizeof header, "Bearer %s", token);
    enum status status = auth_identify(t->auth, header, &caller, NULL);
    assert_true(status == STATUS_OK || status == STATUS_UNAUTHENTICATED);
    return status == STATUS_OK;
}

static bool token_fails(struct tokens *t, int n)
{
    char token[AUTH_TOKEN] = "", name[32];
    snprintf(name, sizeof name, "kiosk-%d", n);
    fault_db_countdown = n;
    enum status added = auth_token_add(t->auth, ROLE_DEVICE, name, 0, token, NULL);
    enum status gone = STATUS_CANCELLED;
    if (added == STATUS_OK)
        gone = auth_token_revoke(t->auth, name, NULL);
    bool reached = fault_db_countdown < 0;
    fault_db_countdown = -1;
    auth_close(t->auth);
    tokens_open(t);
    assert_true(is_known(t, t->boss));
    if (gone == STATUS_OK)
        assert_false(is_known(t, token));
    enum status again = auth_token_revoke(t->auth, name, NULL);
    assert_true(again == STATUS_OK || again == STATUS_NOT_FOUND);
    assert_int_equal(auth_token_add(t->auth, ROLE_DEVICE, name, 0, token, NULL), STATUS_OK);
    assert_true(is_known(t, token));
    assert_int_equal(auth_token_revoke(t->auth, name, NULL), STATUS_OK);
    assert_false(is_known(t, token));
    return reached;
}

static void tokens_that_come_and_go(void **state)
{
    struct place *place = *state;
    struct tokens t = {.dir = place->dir};
    tokens_open(&t);
    assert_int_equal(auth_token_add(t.auth, ROLE_OPERATOR, "boss", 0, t.boss, NULL), STATUS_OK);
    for (int e = 0; e < ERRORS; e++) {
        int n = 0;
        fault_db_error = errors[e];
        while (token_fails(&t, n))
            assert_true(++n < TRIES_MAX);
        assert_true(n >= 4);
    }
    auth_close(t.auth);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(an_upload_and_its_removal),
        PLACED(a_group_of_uploads),
        PLACED(a_round),
        PLACED(tokens_that_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
