/* See enroll.h. */
#include "server/enroll.h"
#include "api/base/clock.h"
#include "server/auth_parts.h"
#include <stdio.h>
#include <string.h>

/* ---- making codes ---- */

struct making {
    const char *device;
    int64_t ttl_ms, uses;
    char *code;
};

static enum status code_insert(struct auth *auth, void *ctx, struct err *err)
{
    struct making *making = ctx;
    struct auth_print print;
    int64_t now = clock_wall_ms();
    TRY(db_change(auth->writer, err, "DELETE FROM codes WHERE expires_ms<=?", "i", now));
    secret_code_make(making->code);
    auth_print_make(making->code, strlen(making->code), &print);
    return db_change(
        auth->writer, err, "INSERT INTO codes(tag,hash,device,expires_ms,uses) VALUES(?,?,?,?,?)",
        "sssii", print.tag, print.hex, making->device, now + making->ttl_ms, making->uses);
}

enum status enroll_code_add(struct auth *auth, const char *device, int64_t ttl_ms, int64_t uses,
                            char code[SECRET_CODE], struct err *err)
{
    struct making making = {device, ttl_ms, uses, code};
    return auth_apply(auth, code_insert, &making, err);
}

/* ---- using one ---- */

struct redeeming {
    const char *device, *nonce; /* or NULL */
    struct enrolment *out;
    struct auth_print code, nonce_print;
    int64_t id;
    bool found, bound;
    char bound_to[LIMIT_ID + 1];
    char earlier[LIMIT_ID + 1]; /* whom the same nonce was answered for, */
    int64_t earlier_token;      /* and with which token */
};

static enum status code_refuse(struct err *err)
{
    return err_set(err, STATUS_REFUSED,
                   "the code is unknown, expired or used; an operator makes another by cdcca-cloud "
                   "enroll-code");
}

static bool code_take(void *ctx, struct db_row *row)
{
    struct redeeming *r = ctx;
    r->found = auth_print_equal(&r->code, db_row_text(row, 1));
    if (!r->found)
        return true;
    const char *device = db_row_text(row, 2);
    r->id = db_row_int(row, 0);
    r->bound = device != NULL;
    snprintf(r->bound_to, sizeof r->bound_to, "%s", device ? device : "");
    return false;
}

static enum status code_find(struct auth *auth, struct redeeming *r, struct err *err)
{
    enum status status = db_select(auth->writer, err, code_take, r,
                                   "SELECT id,hash,device FROM codes WHERE tag=? AND expires_ms>?",
                                   "si", r->code.tag, clock_wall_ms());
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    if (!r->found)
        return code_refuse(err);
    if (r->bound && r->device && strcmp(r->device, r->bound_to) != 0)
        return err_set(err, STATUS_REFUSED, "the code is for device %s, not for %.64s", r->bound_to,
                       r->device);
    return STATUS_OK;
}

static bool earlier_take(void *ctx, struct db_row *row)
{
    struct redeeming *r = ctx;
    snprintf(r->earlier, sizeof r->earlier, "%s", db_row_text(row, 0));
    r->earlier_token = db_row_int(row, 1);
    return false;
}

static enum status earlier_find(struct auth *auth, struct redeeming *r, struct err *err)
{
    if (!r->nonce)
        return STATUS_OK;
    auth_print_make(r->nonce, strlen(r->nonce), &r->nonce_print);
    enum status status = db_select(auth->writer, err, earlier_take, r,
                                   "SELECT device,token FROM enrolments WHERE code=? AND nonce=?",
                                   "is", r->id, r->nonce_print.hex);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status == STATUS_OK && r->device && strcmp(r->device, r->earlier) != 0)
        return err_set(err, STATUS_REFUSED, "the same nonce enrolled device %s before, not %.64s",
                       r->earlier, r->device);
    return status;
}

/* The same device once more: its first answer was lost. */
static enum status enrol_again(struct auth *auth, struct redeeming *r, struct err *err)
{
    int64_t token;
    TRY(db_change(auth->writer, err, "DELETE FROM tokens WHERE id=?", "i", r->earlier_token));
    if (db_changed(auth->writer) == 0)
        return code_refuse(err); /* revoked since, or replaced */
    TRY(auth_insert(auth, ROLE_DEVICE, r->out->device, 0, r->out->token, &token, err));
    return db_change(auth->writer, err, "UPDATE enrolments SET token=? WHERE code=? AND nonce=?",
                     "iis", token, r->id, r->nonce_print.hex);
}

static enum status name_free(struct auth *auth, const struct redeeming *r, struct err *err)
{
    unsigned role;
    const char *name = r->out->device;
    TRY(auth_role_of(auth, name, &role, err));
    if (role == ROLE_DEVICE && r->bound)
        return db_change(auth->writer, err, "DELETE FROM tokens WHERE name=?", "s", name);
    if (role)
        return err_set(err, STATUS_CONFLICT,
                       "%s has a token already; a code made with --device %s replaces it", name,
                       name);
    return STATUS_OK;
}

static enum status enrol_first(struct auth *auth, struct redeeming *r, struct err *err)
{
    int64_t token;
    TRY(db_change(auth->writer, err, "UPDATE codes SET uses=uses-1 WHERE id=? AND uses>0", "i",
                  r->id));
    if (db_changed(auth->writer) == 0)
        return code_refuse(err);
    TRY(name_free(auth, r, err));
    TRY(auth_insert(auth, ROLE_DEVICE, r->out->device, 0, r->out->token, &token, err));
    if (!r->nonce)
        return STATUS_OK;
    return db_change(auth->writer, err,
                     "INSERT INTO enrolments(code,nonce,device,token) VALUES(?,?,?,?)", "issi",
                     r->id, r->nonce_print.hex, r->out->device, token);
}

static void device_choose(const struct redeeming *r)
{
    struct hash random;
    char hex[HASH_HEX];
    const char *known = r->earlier[0] ? r->earlier : r->bound ? r->bound_to : r->device;
    secret_make(&random);
    hash_hex(&random, hex);
    if (known)
        snprintf(r->out->device, sizeof r->out->device, "%.*s", LIMIT_ID, known);
    else
        snprintf(r->out->device, sizeof r->out->device, "edge-%.12s", hex);
}

static enum status redeem_run(struct auth *auth, void *ctx, struct err *err)
{
    struct redeeming *r = ctx;
    TRY(code_find(auth, r, err));
    TRY(earlier_find(auth, r, err));
    device_choose(r);
    return r->earlier[0] ? enrol_again(auth, r, err) : enrol_first(auth, r, err);
}

enum status enroll_redeem(struct auth *auth, const char *code, const char *device,
                          const char *nonce, struct enrolment *out, struct err *err)
{
    struct redeeming redeeming = {.device = device, .nonce = nonce, .out = out};
    char plain[SECRET_CODE];
    if (!secret_code_read(code, plain))
        return err_set(err, STATUS_REFUSED,
                       "this is no code: one is four groups of five letters and digits, such as "
                       "7K3QM-WZ9TX-41HNB-EJ8R5");
    auth_print_make(plain, strlen(plain), &redeeming.code);
    return auth_apply(auth, redeem_run, &redeeming, err);
}
