/* See sim_link.h. */
#include "client/sim_link.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status part_bad(const char *part, struct err *err)
{
    return err_set(err, STATUS_USAGE,
                   "--link: \"%.40s\"; a rate (256kbit, 10mbit), a loss (2%%loss) and a latency "
                   "(50ms) are right, such as 256kbit,2%%loss",
                   part);
}

static enum status part_parse(const char *part, struct sim_link_options *out, struct err *err)
{
    static const struct {
        const char *unit;
        double bits;
    } rates[] = {{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
    char *unit;
    double value = strtod(part, &unit);
    if (unit == part || !(value >= 0 && value < 1e12))
        return part_bad(part, err);
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        if (strcmp(unit, rates[i].unit) == 0 && value > 0) {
            out->bits_per_second = value * rates[i].bits;
            return STATUS_OK;
        }
    if (strcmp(unit, "%loss") == 0 && value < 100)
        out->loss = value / 100;
    else if (strcmp(unit, "ms") == 0 && value <= 60000)
        out->latency_ms = (int64_t)value;
    else
        return part_bad(part, err);
    return STATUS_OK;
}

enum status sim_link_parse(const char *text, struct sim_link_options *out, struct err *err)
{
    char copy[128];
    *out = (struct sim_link_options){0};
    if (!text || !*text)
        return STATUS_OK;
    if (strlen(text) >= sizeof copy)
        return part_bad(text, err);
    snprintf(copy, sizeof copy, "%s", text);
    char *rest = copy;
    for (char *part; (part = strsep(&rest, ",")) != NULL;)
        TRY(part_parse(part, out, err));
    return STATUS_OK;
}

void sim_link_init(struct sim_link *link, const struct sim_link_options *options, uint64_t seed,
                   uint64_t device)
{
    *link = (struct sim_link){.options = *options};
    rng_init(&link->rng, seed ^ 0x6c696e6b, device);
}

bool sim_link_loses(struct sim_link *link)
{
    return link->options.loss > 0 && (double)rng_uniform(&link->rng) < link->options.loss;
}

void sim_link_use(struct sim_link *link, int64_t now_ms, int64_t bytes)
{
    double ms = 2.0 * (double)link->options.latency_ms;
    if (link->options.bits_per_second > 0)
        ms += 8000.0 * (double)bytes / link->options.bits_per_second;
    link->free_ms = now_ms + (int64_t)ms;
}
