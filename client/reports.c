/* Reports to the cloud; see reports.h. */
#include "client/reports.h"
#include "api/base/log.h"
#include "api/wire/json.h"
#include "client/spool.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORTS_REASON = 400, REPORTS_BODY = 8192, REPORTS_UNKNOWN = -1 };

struct reports {
    struct reports_options options;
    struct spool *spool;
    int64_t told; /* the version that the cloud knows of; the sending thread's */
};

enum status reports_open(struct io *io, const struct reports_options *options, struct reports **out,
                         struct err *err)
{
    char dir[PATH_MAX];
    const struct spool_options spool = {.max_bytes = REPORTS_BYTES};
    TRY(io_join(dir, sizeof dir, options->data_dir, "reports", err));
    struct reports *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the reports");
    r->options = *options;
    r->told = REPORTS_UNKNOWN;
    enum status status = spool_open(io, dir, &spool, &r->spool, err);
    if (status != STATUS_OK) {
        free(r);
        return status;
    }
    *out = r;
    return STATUS_OK;
}

void reports_close(struct reports *r)
{
    if (!r)
        return;
    spool_close(r->spool);
    free(r);
}

size_t reports_waiting(struct reports *r)
{
    struct spool_counts counts;
    spool_count(r->spool, &counts);
    return counts.files;
}

/* ---- writing ---- */

static json *report_self_test(const struct selftest_report *test)
{
    json *root = json_object_new();
    if (root && json_set_int(root, "golden", test->golden) &&
        json_set_int(root, "golden_right", test->golden_right) &&
        json_set_int(root, "replay", test->replay) &&
        json_set_int(root, "replay_agreed", test->replay_agreed) &&
        json_set_bool(root, "finite", test->finite))
        return root;
    json_free(root);
    return NULL;
}

/* At most REPORTS_REASON bytes, cut between characters. */
static void report_reason(const char *reason, char out[REPORTS_REASON + 1])
{
    size_t len = strlen(reason);
    if (len > REPORTS_REASON)
        for (len = REPORTS_REASON; len && ((unsigned char)reason[len] & 0xc0) == 0x80;)
            len--;
    snprintf(out, REPORTS_REASON + 1, "%.*s", (int)len, reason);
}

static enum status report_print(const struct report *report, struct buf *out, struct err *err)
{
    char reason[REPORTS_REASON + 1];
    json *root = json_object_new();
    bool ok = root && json_set_int(root, "version", report->version) &&
              json_set_string(root, "outcome", report->outcome);
    if (ok && report->reason) {
        report_reason(report->reason, reason);
        ok = json_set_string(root, "reason", reason);
    }
    if (ok && report->self_test)
        ok = json_set_take(root, "self_test", report_self_test(report->self_test));
    if (ok && report->seconds >= 0)
        ok = json_set_number(root, "seconds", report->seconds);
    enum status status = ok ? json_print(root, false, out) : STATUS_NO_MEMORY;
    json_free(root);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "no memory for a report");
}

enum status reports_add(struct reports *r, const struct report *report, struct err *err)
{
    static const struct spool_facts facts = {.instances = 1};
    struct buf body = {.max = REPORTS_BODY};
    enum status status = report_print(report, &body, err);
    if (status == STATUS_OK)
        status = spool_append(r->spool, body.data, body.len, &facts, err);
    buf_free(&body);
    return status;
}

void reports_add_untold(struct reports *r, struct slots *slots, const char *reason)
{
    static const char *const names[] = {"applied", "rolled_back"};
    struct report report = {.reason = reason, .seconds = -1};
    struct err err = {0};
    enum slots_outcome outcome;
    if (!slots_untold(slots, &report.version, &outcome))
        return;
    report.outcome = names[outcome];
    if (reports_add(r, &report, &err) == STATUS_OK)
        slots_told(slots, report.version, outcome);
    else
        log_line(LOG_WARN, "reports", "%s", err.text);
}

/* ---- sending ---- */

static enum status presence_print(const struct reports *r, const struct slots_info *info,
                                  struct buf *out, struct err *err)
{
    char hex[HASH_HEX];
    json *root = json_object_new();
    hash_hex(&info->hash, hex);
    bool ok = root && json_set_int(root, "version", info->version) &&
              json_set_string(root, "set_sha256", hex) &&
              json_set_string(root, "program", CDCCA_VERSION);
    if (ok && r->options.device_class)
        ok = json_set_string(root, "class", r->options.device_class);
    if (ok && r->options.channel)
        ok = json_set_string(root, "channel", r->options.channel);
    enum status status = ok ? json_print(root, false, out) : STATUS_NO_MEMORY;
    json_free(root);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "no memory for a report");
}

static bool reports_may_pass(enum status status)
{
    return status == STATUS_UNREACHABLE || status == STATUS_TIMEOUT || status == STATUS_BUSY ||
           status == STATUS_PEER || status == STATUS_CANCELLED || status == STATUS_NO_MEMORY;
}

/* What the device runs. A refusal is said and not repeated until there is a change; NOT_FOUND: a
 * cloud without devices. */
static enum status reports_present(struct reports *r, struct cloud *cloud, struct slots *slots,
                                   struct err *err)
{
    struct slots_info info;
    struct buf body = {.max = REPORTS_BODY};
    slots_info(slots, &info);
    if (info.version == r->told)
        return STATUS_OK;
    enum status status = presence_print(r, &info, &body, err);
    if (status == STATUS_OK)
        status = cloud_put_device(cloud, body.data, body.len, err);
    buf_free(&body);
    if (reports_may_pass(status))
        return status;
    r->told = info.version;
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        log_line(LOG_WARN, "reports", "what this device runs was refused: %s", err->text);
    return STATUS_OK;
}

/* The oldest report. NOT_FOUND: the queue is empty. */
static enum status reports_send(struct reports *r, struct cloud *cloud, struct buf *body,
                                struct err *err)
{
    struct spool_item item;
    struct err problem = {0};
    TRY(spool_first(r->spool, UINT64_MAX, &item, body, err));
    enum status status = cloud_feedback(cloud, body->data, body->len, &item.hash, &problem);
    if (reports_may_pass(status))
        return err_set(err, status, "%s", problem.text);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        return spool_done(r->spool, &item, err);
    log_line(LOG_WARN, "reports", "a report was refused: %s", problem.text);
    return spool_reject(r->spool, &item, problem.text, err);
}

enum status reports_flush(struct reports *r, struct cloud *cloud, struct slots *slots,
                          struct err *err)
{
    struct buf body = {.max = REPORTS_BODY};
    enum status status = reports_present(r, cloud, slots, err);
    while (status == STATUS_OK)
        status = reports_send(r, cloud, &body, err);
    buf_free(&body);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
