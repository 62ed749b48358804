/* A strict reader of Prometheus' text format 0.0.4: every family has HELP and TYPE before its
 * samples, and its samples together; names, labels and values are well formed; no series comes
 * twice; histograms have ascending bounds up to +Inf, counts that never fall, a sum and a count
 * that is the last bucket's. */
#ifndef CDCCA_TEST_EXPOSITION_H
#define CDCCA_TEST_EXPOSITION_H

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPOSITION_SERIES = 4096, EXPOSITION_TEXT = 256, EXPOSITION_FAMILIES = 128 };

struct exposition {
    char family[EXPOSITION_TEXT], type[32]; /* the one being read */
    char families[EXPOSITION_FAMILIES][EXPOSITION_TEXT];
    int family_count;
    char series[EXPOSITION_SERIES][EXPOSITION_TEXT];
    int series_count;
    char labels[EXPOSITION_TEXT]; /* a histogram's, without le */
    double bound, count;          /* its last bucket's */
    bool open;                    /* buckets were read and +Inf was not, or no count yet */
    const char *problem;          /* NULL: none */
};

static inline bool exposition_fail(struct exposition *e, const char *problem)
{
    e->problem = problem;
    return false;
}

static inline size_t exposition_name(const char *text)
{
    size_t n = 0;
    while (isalnum((unsigned char)text[n]) || text[n] == '_' || text[n] == ':')
        n++;
    return isdigit((unsigned char)text[0]) ? 0 : n;
}

static inline bool exposition_value(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && !isspace((unsigned char)*text);
}

/* "# HELP name text" and "# TYPE name type", in this order. */
static inline bool exposition_comment(struct exposition *e, const char *line)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t n = exposition_name(line + 7);
    if (n == 0 || n >= EXPOSITION_TEXT || line[7 + n] != ' ' || !line[8 + n])
        return exposition_fail(e, "a comment is not # HELP NAME TEXT or # TYPE NAME TYPE");
    if (strncmp(line, "# HELP ", 7) == 0) {
        if (e->open)
            return exposition_fail(e, "a histogram has no end");
        snprintf(e->family, sizeof e->family, "%.*s", (int)n, line + 7);
        for (int i = 0; i < e->family_count; i++)
            if (strcmp(e->families[i], e->family) == 0)
                return exposition_fail(e, "a family comes twice");
        if (e->family_count == EXPOSITION_FAMILIES)
            return exposition_fail(e, "too many families");
        strcpy(e->families[e->family_count++], e->family);
        e->type[0] = '\0';
        return true;
    }
    if (strncmp(line, "# TYPE ", 7) != 0 || strlen(e->family) != n ||
        memcmp(e->family, line + 7, n) != 0 || e->type[0])
        return exposition_fail(e, "# TYPE does not follow its # HELP");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], line + 8 + n) == 0)
            strcpy(e->type, types[i]);
    return e->type[0] || exposition_fail(e, "an unknown type");
}

/* {name="value",...}: copies all but le to labels, and le to le. */
static inline const char *exposition_labels(const char *at, char *labels, char *le)
{
    labels[0] = le[0] = '\0';
    if (*at != '{')
        return at;
    for (at++; *at != '}'; at += *at == ',') {
        size_t n = exposition_name(at), len = 0;
        if (n == 0 || at[n] != '=' || at[n + 1] != '"')
            return NULL;
        const char *value = at + n + 2;
        while (value[len] && value[len] != '"')
            len += value[len] == '\\' ? 2 : 1;
        if (value[len] != '"' || (value[len + 1] != ',' && value[len + 1] != '}'))
            return NULL;
        if (n == 2 && memcmp(at, "le", 2) == 0)
            snprintf(le, 64, "%.*s", (int)len, value);
        else if (strlen(labels) + n + len + 5 < EXPOSITION_TEXT)
            snprintf(labels + strlen(labels), EXPOSITION_TEXT - strlen(labels), "%.*s=%.*s,",
                     (int)n, at, (int)len, value);
        at = value + len + 1;
    }
    return at + 1;
}

static inline bool exposition_histogram(struct exposition *e, const char *suffix,
                                        const char *labels, const char *le, double value)
{
    if (strcmp(suffix, "_bucket") == 0) {
        double bound = strcmp(le, "+Inf") == 0 ? HUGE_VAL : atof(le);
        bool next = e->open && strcmp(e->labels, labels) == 0;
        if (!*le || (next && (bound <= e->bound || value < e->count)))
            return exposition_fail(e, "a histogram's buckets do not ascend");
        if (!next && e->open)
            return exposition_fail(e, "a histogram has no end");
        snprintf(e->labels, sizeof e->labels, "%s", labels);
        e->bound = bound;
        e->count = value;
        e->open = true;
        return true;
    }
    if (*le || strcmp(e->labels, labels) != 0 || !isinf(e->bound))
        return exposition_fail(e, "a histogram's sum or count is not after its +Inf");
    if (strcmp(suffix, "_sum") == 0)
        return true;
    e->open = false;
    return strcmp(suffix, "_count") == 0
               ? value == e->count || exposition_fail(e, "a count is not the last bucket's")
               : exposition_fail(e, "a sample is of no family");
}

static inline bool exposition_sample(struct exposition *e, const char *line)
{
    char labels[EXPOSITION_TEXT], le[64];
    size_t n = exposition_name(line), family = strlen(e->family);
    const char *at = exposition_labels(line + n, labels, le);
    double value;
    if (n < family || family == 0 || memcmp(line, e->family, family) != 0 || !e->type[0])
        return exposition_fail(e, "a sample is of no family");
    if (!at || *at != ' ' || !exposition_value(at + 1, &value))
        return exposition_fail(e, "a sample is not NAME{LABELS} VALUE");
    size_t len = (size_t)(at - line);
    if (len >= EXPOSITION_TEXT || e->series_count == EXPOSITION_SERIES)
        return exposition_fail(e, "too long, or too many");
    snprintf(e->series[e->series_count], EXPOSITION_TEXT, "%.*s", (int)len, line);
    for (int i = 0; i < e->series_count; i++)
        if (strcmp(e->series[i], e->series[e->series_count]) == 0)
            return exposition_fail(e, "a series comes twice");
    e->series_count++;
    char suffix[EXPOSITION_TEXT];
    snprintf(suffix, sizeof suffix, "%.*s", (int)(n - family), line + family);
    if (strcmp(e->type, "histogram") == 0)
        return exposition_histogram(e, suffix, labels, le, value);
    if (*suffix || *le)
        return exposition_fail(e, "a sample is of no family");
    if (strcmp(e->type, "counter") == 0 &&
        !(value >= 0 && family > 6 && strcmp(e->family + family - 6, "_total") == 0))
        return exposition_fail(e, "a counter falls below 0 or is not named _total");
    return true;
}

/* text is written to. */
static inline bool exposition_check(struct exposition *e, char *text)
{
    size_t len = strlen(text);
    memset(e, 0, sizeof *e);
    if (len == 0 || text[len - 1] != '\n')
        return exposition_fail(e, "the text does not end with a line's end");
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        if (strchr(line, '\r') ||
            !(line[0] == '#' ? exposition_comment(e, line) : exposition_sample(e, line)))
            return e->problem ? false : exposition_fail(e, "a carriage return");
    }
    return !e->open || exposition_fail(e, "a histogram has no end");
}

#endif
