/* Milliseconds are fine enough for deadlines, microseconds for durations; 2^63 never wrap. */
#include "api/base/clock.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 24 * 60 * 60, DAY_MIN = -719468, DAY_MAX = 2932896 }; /* 0000-03-01, 9999-12-31 */

static int64_t clock_read(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_coarse_ms(void)
{
    return clock_read(CLOCK_MONOTONIC_COARSE);
}

int64_t clock_monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
    return clock_read(CLOCK_REALTIME);
}

void clock_sleep_ms(int64_t ms)
{
    if (ms <= 0)
        return;
    struct timespec span = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &span, NULL);
}

static void field_put(char *out, int digits, int value)
{
    for (; digits > 0; value /= 10)
        out[--digits] = (char)('0' + value % 10);
}

/* Days since 1970 as a date of the Gregorian calendar. Its 400 years of 146,097 days are counted
 * from a first of March, so that the leap day ends a year, and from March on months begin after
 * (153 m + 2) / 5 days. */
static void date_put(char *out, int day)
{
    int days = day + 719468, era = days / 146097, of_era = days % 146097;
    int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year + year / 4 - year / 100), march = (5 * of_year + 2) / 153;
    int month = march < 10 ? march + 3 : march - 9;
    field_put(out, 4, 400 * era + year + (month <= 2));
    field_put(out + 5, 2, month);
    field_put(out + 8, 2, of_year - (153 * march + 2) / 5 + 1);
}

/* One for each line of a log: without gmtime, strftime and printf, which cost ten times as much. */
void clock_format(int64_t wall_ms, char out[32])
{
    int64_t ms = wall_ms % 1000, seconds = wall_ms / 1000 - (ms < 0);
    int64_t day = seconds / DAY_S - (seconds % DAY_S < 0);
    int second = (int)(seconds - day * DAY_S);
    strcpy(out, "0000-00-00T00:00:00.000Z");
    if (day < DAY_MIN || day > DAY_MAX)
        return;
    date_put(out, (int)day);
    field_put(out + 11, 2, second / 3600);
    field_put(out + 14, 2, second / 60 % 60);
    field_put(out + 17, 2, second % 60);
    field_put(out + 20, 3, (int)(ms < 0 ? ms + 1000 : ms));
}

/* The digits of a pattern of digits and other characters, as numbers; "0000-00-00T" and so on. */
static bool clock_fields(const char *text, int field[7])
{
    static const char pattern[] = "0000-11-22T33:44:55.666Z";
    memset(field, 0, 7 * sizeof *field);
    for (size_t i = 0; i < sizeof pattern; i++) {
        bool digit = pattern[i] >= '0' && pattern[i] <= '6';
        if (digit ? text[i] < '0' || text[i] > '9' : text[i] != pattern[i])
            return false;
        if (digit)
            field[pattern[i] - '0'] = field[pattern[i] - '0'] * 10 + text[i] - '0';
    }
    return true;
}

/* Written again, a date that the calendar does not have is another one. */
bool clock_parse(const char *text, int64_t *wall_ms)
{
    int f[7];
    char again[32];
    if (!clock_fields(text, f) || f[0] < 1970)
        return false;
    struct tm utc = {.tm_year = f[0] - 1900,
                     .tm_mon = f[1] - 1,
                     .tm_mday = f[2],
                     .tm_hour = f[3],
                     .tm_min = f[4],
                     .tm_sec = f[5]};
    int64_t ms = (int64_t)timegm(&utc) * 1000 + f[6];
    clock_format(ms, again);
    if (strcmp(again, text) != 0)
        return false;
    *wall_ms = ms;
    return true;
}
