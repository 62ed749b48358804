/* See rollout.h. */
#include "server/rollout.h"
#include "api/base/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {"unsigned", "rolling", "halted", "complete",
                                          "superseded"};
enum { STATES = sizeof state_names / sizeof *state_names };

static const double SHARE_SLACK = 1e-9; /* 5% of 20 is 1, whatever binary fractions say */

const char *rollout_state_name(enum rollout_state state)
{
    return state_names[state];
}

enum rollout_state rollout_state_parse(const char *name)
{
    for (int i = 0; i < STATES; i++)
        if (strcmp(name, state_names[i]) == 0)
            return (enum rollout_state)i;
    return ROLLOUT_HALTED;
}

/* ---- plans ---- */

/* "10%" or "2.5%"; *text moves past it. */
static bool share_parse(const char **text, double *out)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    double percent = strtod(*text, &end);
    if (*end != '%' || !(percent >= 0 && percent <= 100))
        return false;
    *out = percent / 100;
    *text = end + 1;
    return true;
}

/* "30s", "10m", "2h", "1d"; at most a year. */
static bool span_parse(const char **text, int64_t *out)
{
    static const char units[] = "smhd";
    static const int64_t unit_ms[] = {1000, 60000, 3600000, 86400000};
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    long number = strtol(*text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (!unit || number > 31536000)
        return false;
    *out = number * unit_ms[unit - units];
    *text = end + 1;
    return *out <= 366 * unit_ms[3];
}

static bool channel_parse(const char **text, char out[LIMIT_ID + 1])
{
    size_t len = strcspn(*text, "=:,");
    out[0] = '\0';
    if ((*text)[len] != '=')
        return true;
    if (len == 0 || len > LIMIT_ID)
        return false;
    memcpy(out, *text, len);
    out[len] = '\0';
    *text += len + 1;
    return true;
}

static bool colon_skip(const char **text)
{
    if (**text != ':')
        return false;
    (*text)++;
    return true;
}

static bool stage_parse(const char **text, struct rollout_stage *out)
{
    *out = (struct rollout_stage){.success = 0.9, .errors = 0.05};
    if (!channel_parse(text, out->channel) || !share_parse(text, &out->share) || out->share <= 0)
        return false;
    if (colon_skip(text) && !span_parse(text, &out->soak_ms))
        return false;
    if (colon_skip(text) && !share_parse(text, &out->success))
        return false;
    if (colon_skip(text) && !share_parse(text, &out->errors))
        return false;
    return **text == ',' || **text == '\0';
}

enum status rollout_plan_parse(const char *text, struct rollout_plan *out, struct err *err)
{
    const char *at = text;
    out->count = 0;
    for (;;) {
        const char *begin = at;
        if (out->count == ROLLOUT_STAGES)
            return err_set(err, STATUS_USAGE, "a rollout has at most %d stages", ROLLOUT_STAGES);
        if (!stage_parse(&at, &out->stage[out->count]))
            return err_set(err, STATUS_USAGE,
                           "rollout: stage %d is \"%.40s\"; right is "
                           "[CHANNEL=]SHARE%%[:SOAK[:SUCCESS%%[:ERRORS%%]]] as in \"10%%:30m\"",
                           out->count + 1, begin);
        out->count++;
        if (*at == '\0')
            break;
        at++;
    }
    const struct rollout_stage *last = &out->stage[out->count - 1];
    if (last->share < 1 || last->channel[0])
        return err_set(err, STATUS_USAGE, "rollout: the last stage must be 100%% of every channel");
    if (strlen(text) >= ROLLOUT_TEXT)
        return err_set(err, STATUS_USAGE, "rollout: at most %d characters", ROLLOUT_TEXT - 1);
    return STATUS_OK;
}

/* ---- who ---- */

/* 0 to below 1, even over the devices of a release. */
static double device_place(int64_t version, const char *device)
{
    struct hash_state state;
    struct hash hash;
    char head[32];
    int len = snprintf(head, sizeof head, "%lld/", (long long)version);
    hash_start(&state);
    hash_update(&state, head, (size_t)len);
    hash_update(&state, device, strlen(device));
    hash_finish(&state, &hash);
    uint64_t place = 0;
    for (int i = 0; i < 6; i++)
        place = place << 8 | hash.bytes[i];
    return (double)place / (double)(UINT64_C(1) << 48);
}

bool rollout_reaches(const struct rollout_plan *plan, int stage, int64_t version,
                     const char *device, const char *channel)
{
    double place = device_place(version, device);
    for (int i = 0; i <= stage && i < plan->count; i++) {
        const struct rollout_stage *s = &plan->stage[i];
        if (place < s->share && (!s->channel[0] || strcmp(s->channel, channel) == 0))
            return true;
    }
    return false;
}

/* ---- when ---- */

static bool exceeds(int64_t errors, double share, int64_t devices)
{
    return (double)errors > share * (double)devices + SHARE_SLACK;
}

void rollout_decide(const struct rollout_plan *plan, const struct rollout_now *now,
                    const struct rollout_counts *counts, struct rollout_step *out)
{
    *out = (struct rollout_step){.state = now->state, .stage = now->stage};
    if (now->state != ROLLOUT_ROLLING)
        return;
    int at = now->stage < plan->count ? now->stage : plan->count - 1;
    const struct rollout_stage *stage = &plan->stage[at];
    int64_t devices = counts->reached > counts->offered ? counts->reached : counts->offered;
    if (exceeds(counts->failed + counts->silent, stage->errors, devices)) {
        out->state = ROLLOUT_HALTED;
        snprintf(out->reason, sizeof out->reason,
                 "stage %d: %lld failed and %lld silent of %lld devices, more than %g%%", at + 1,
                 (long long)counts->failed, (long long)counts->silent, (long long)devices,
                 100 * stage->errors);
    } else if (now->in_stage_ms >= stage->soak_ms &&
               (double)counts->applied >= stage->success * (double)devices - SHARE_SLACK) {
        if (at + 1 < plan->count)
            out->stage = at + 1;
        else
            out->state = ROLLOUT_COMPLETE;
    }
}
