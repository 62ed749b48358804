/* One table drives everything: parsing, precedence, the help text, the suggestions for a mistyped
 * name. A value passes through option_set_text or option_set_json only, whose errors say where it
 * came from ("--port", "CDCCA_PORT", "port in cdcca.json") and what is right.
 *
 * Strings of the configuration file live until the next parse or the program's end, in the one
 * place that options_file owns: options are read once, at start. */
#include "api/wire/options.h"
#include "api/base/buf.h"
#include "api/base/io.h"
#include "api/wire/json.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 64, FILE_MAX = 1 << 20, HELP_COLUMN = 30 };

static json *options_file;

static bool bounded(const struct option *option)
{
    return option->min < option->max;
}

static enum status int_set(const struct option *option, const char *where, int64_t value,
                           struct err *err)
{
    if (bounded(option) && ((double)value < option->min || (double)value > option->max))
        return err_set(err, STATUS_USAGE,
                       "%s is %" PRId64 "; it must be an integer from %.0f to "
                       "%.0f",
                       where, value, option->min, option->max);
    *(int64_t *)option->value = value;
    return STATUS_OK;
}

static enum status number_set(const struct option *option, const char *where, double value,
                              struct err *err)
{
    if (!isfinite(value) || (bounded(option) && (value < option->min || value > option->max)))
        return err_set(err, STATUS_USAGE, "%s is %g; it must be a number from %g to %g", where,
                       value, option->min, option->max);
    *(double *)option->value = value;
    return STATUS_OK;
}

static bool flag_parse(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static enum status option_set_text(const struct option *option, const char *where, const char *text,
                                   struct err *err)
{
    char *end;
    bool blank = *text == '\0' || isspace((unsigned char)*text);
    errno = 0;
    switch (option->kind) {
    case OPTION_STRING:
        *(const char **)option->value = text;
        return STATUS_OK;
    case OPTION_INT: {
        long long value = strtoll(text, &end, 10);
        if (blank || *end || errno)
            return err_set(err, STATUS_USAGE, "%s is \"%.64s\"; it must be an integer", where,
                           text);
        return int_set(option, where, value, err);
    }
    case OPTION_NUMBER: {
        double value = strtod(text, &end);
        if (blank || *end)
            return err_set(err, STATUS_USAGE, "%s is \"%.64s\"; it must be a number", where, text);
        return number_set(option, where, value, err);
    }
    case OPTION_FLAG:
        if (flag_parse(text, option->value))
            return STATUS_OK;
        return err_set(err, STATUS_USAGE, "%s is \"%.64s\"; it must be true or false", where, text);
    }
    return err_set(err, STATUS_USAGE, "%s has no kind", where);
}

static enum status option_set_json(const struct option *option, const json *file, const char *key,
                                   const char *where, struct err *err)
{
    int64_t integer = 0;
    double number = 0;
    enum status status = STATUS_OK;
    switch (option->kind) {
    case OPTION_STRING:
        status = json_get_string(file, key, 4096, option->value, err);
        break;
    case OPTION_INT:
        status = json_get_int(file, key, INT64_MIN, INT64_MAX, &integer, err);
        break;
    case OPTION_NUMBER:
        status = json_get_number(file, key, -HUGE_VAL, HUGE_VAL, &number, err);
        break;
    case OPTION_FLAG:
        status = json_get_bool(file, key, option->value, err);
        break;
    }
    if (status != STATUS_OK)
        return STATUS_USAGE;
    if (option->kind == OPTION_INT)
        return int_set(option, where, integer, err);
    return option->kind == OPTION_NUMBER ? number_set(option, where, number, err) : STATUS_OK;
}

/* "upload-budget" -> "upload_budget", or "CDCCA_UPLOAD_BUDGET" */
static void name_convert(const char *name, bool environment, char out[NAME_MAX_BYTES])
{
    size_t used = 0;
    for (const char *prefix = environment ? "CDCCA_" : ""; *prefix; prefix++)
        out[used++] = *prefix;
    for (; *name && used + 1 < NAME_MAX_BYTES; name++) {
        char c = *name == '-' ? '_' : *name;
        out[used++] = (char)(environment ? toupper((unsigned char)c) : c);
    }
    out[used] = '\0';
}

static const struct option *option_find(const struct options *options, const char *name, size_t len)
{
    for (const struct option *o = options->table; o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

/* Levenshtein distance, one row of the table at a time. */
static size_t edit_distance(const char *a, size_t a_len, const char *b)
{
    size_t row[NAME_MAX_BYTES + 1], b_len = strlen(b);
    if (b_len > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            size_t shift = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = replace < shift ? replace : shift;
        }
    }
    return row[b_len];
}

static enum status unknown_refuse(const struct options *options, const char *name, size_t len,
                                  struct err *err)
{
    const char *nearest = NULL;
    size_t best = 4; /* further apart than three edits is another word */
    for (const struct option *o = options->table; o->name && len <= NAME_MAX_BYTES; o++) {
        size_t distance = edit_distance(name, len, o->name);
        if (distance < best) {
            best = distance;
            nearest = o->name;
        }
    }
    if (nearest)
        return err_set(err, STATUS_USAGE, "unknown option --%.*s; did you mean --%s?", (int)len,
                       name, nearest);
    return err_set(err, STATUS_USAGE, "unknown option --%.*s; %s --help lists all", (int)len, name,
                   options->program);
}

static void default_print(const struct option *option)
{
    const char *text = option->kind == OPTION_STRING ? *(const char *const *)option->value : NULL;
    if (option->kind == OPTION_INT)
        printf(" (default %" PRId64 ")", *(const int64_t *)option->value);
    else if (option->kind == OPTION_NUMBER)
        printf(" (default %g)", *(const double *)option->value);
    else if (text && *text)
        printf(" (default %s)", text);
}

static void help_print(const struct options *options)
{
    printf("%s: %s\n\nusage: %s [OPTION ...]%s%s\n\n", options->program, options->summary,
           options->program, options->positional ? " " : "",
           options->positional ? options->positional : "");
    for (const struct option *o = options->table; o->name; o++) {
        char left[128];
        const char *argument = o->kind == OPTION_FLAG ? NULL : o->argument ? o->argument : "VALUE";
        snprintf(left, sizeof left, "  --%s%s%s", o->name, argument ? " " : "",
                 argument ? argument : "");
        printf("%-*s %s", HELP_COLUMN, left, o->help);
        default_print(o);
        putchar('\n');
    }
    printf("%-*s %s\n", HELP_COLUMN, "  --config FILE",
           "a JSON object with the same names, _ for -");
    printf("%-*s %s\n", HELP_COLUMN, "  --help, --version", "print and exit");
    printf("\nEach option is also an environment variable (--some-name is CDCCA_SOME_NAME).\n"
           "The command line wins over the environment, the environment over the file.\n");
}

static bool word_present(int argc, char **argv, const char *word)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], word) == 0)
            return true;
    return false;
}

/* --config is looked for before anything else: what it sets, the rest overrides. */
static const char *config_path(int argc, char **argv)
{
    static const char flag[] = "--config";
    const char *path = getenv("CDCCA_CONFIG");
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], flag) == 0 && i + 1 < argc)
            path = argv[i + 1];
        else if (strncmp(argv[i], flag, sizeof flag - 1) == 0 && argv[i][sizeof flag - 1] == '=')
            path = argv[i] + sizeof flag;
    }
    return path && *path ? path : NULL;
}

static enum status file_apply(const struct options *options, const json *file, const char *path,
                              struct err *err)
{
    const char *key;
    const json *value;
    if (!json_is_object(file))
        return err_set(err, STATUS_USAGE, "%s must hold a JSON object", path);
    for (void *cursor = NULL; (key = json_next(file, &cursor, &value)) != NULL;) {
        const struct option *option = options->table;
        char name[NAME_MAX_BYTES], where[NAME_MAX_BYTES + 256];
        for (; option->name; option++) {
            name_convert(option->name, false, name);
            if (strcmp(name, key) == 0)
                break;
        }
        if (!option->name)
            return err_set(err, STATUS_USAGE, "%s: unknown setting \"%.64s\"; %s --help lists all",
                           path, key, options->program);
        snprintf(where, sizeof where, "%s in %.200s", name, path);
        if (option_set_json(option, file, key, where, err) != STATUS_OK)
            return STATUS_USAGE;
    }
    return STATUS_OK;
}

static enum status file_read(const struct options *options, const char *path, struct err *err)
{
    struct buf bytes = {.max = FILE_MAX};
    json *file = NULL;
    enum status status = io_read_file(io_posix(), path, &bytes, err);
    if (status == STATUS_OK)
        status = json_parse(bytes.data, bytes.len, &file, err);
    buf_free(&bytes);
    if (status != STATUS_OK) {
        err_prefix(err, "configuration file %.200s", path);
        return STATUS_USAGE;
    }
    json_free(options_file);
    options_file = file;
    return file_apply(options, file, path, err);
}

static enum status environment_read(const struct options *options, struct err *err)
{
    for (const struct option *o = options->table; o->name; o++) {
        char name[NAME_MAX_BYTES];
        name_convert(o->name, true, name);
        const char *text = getenv(name);
        if (text && *text)
            TRY(option_set_text(o, name, text, err));
    }
    return STATUS_OK;
}

/* argv[*at] is "--name", "--name=value" or, for a flag, "--no-name". Moves *at to the last word it
 * used. */
static enum status flag_read(const struct options *options, int argc, char **argv, int *at,
                             struct err *err)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *option = option_find(options, name, len);
    bool config = len == 6 && memcmp(name, "config", 6) == 0;
    if (!option && !equals && strncmp(name, "no-", 3) == 0) {
        option = option_find(options, name + 3, len - 3);
        if (option && option->kind == OPTION_FLAG) {
            *(bool *)option->value = false;
            return STATUS_OK;
        }
        option = NULL;
    }
    if (!option && !config)
        return unknown_refuse(options, name, len, err);
    if (option && option->kind == OPTION_FLAG && !equals) {
        *(bool *)option->value = true;
        return STATUS_OK;
    }
    if (!equals && (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0))
        return err_set(err, STATUS_USAGE, "--%s needs a value: --%s %s", name, name,
                       option && option->argument ? option->argument : "VALUE");
    const char *text = equals ? equals + 1 : argv[++*at];
    char where[NAME_MAX_BYTES + 2];
    snprintf(where, sizeof where, "--%.*s", (int)len, name);
    return config ? STATUS_OK : option_set_text(option, where, text, err);
}

static enum status arguments_read(const struct options *options, int argc, char **argv, int *count,
                                  struct err *err)
{
    bool only_positional = false;
    *count = 0;
    for (int i = 1; i < argc; i++) {
        bool dashes = argv[i][0] == '-' && argv[i][1] != '\0';
        if (only_positional || !dashes)
            argv[++*count] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_positional = true;
        else if (argv[i][1] != '-')
            return err_set(err, STATUS_USAGE,
                           "unknown option %s; options begin with two dashes, "
                           "%s --help lists all",
                           argv[i], options->program);
        else
            TRY(flag_read(options, argc, argv, &i, err));
    }
    if (*count >= options->positional_min && *count <= options->positional_max)
        return STATUS_OK;
    if (!options->positional)
        return err_set(err, STATUS_USAGE, "\"%s\" is one word too many: %s takes options only",
                       argv[1], options->program);
    return err_set(err, STATUS_USAGE, "%d arguments; %s wants: %s", *count, options->program,
                   options->positional);
}

enum status options_parse(const struct options *options, int argc, char **argv,
                          int *positional_count, struct err *err)
{
    *positional_count = 0;
    if (word_present(argc, argv, "--help")) {
        help_print(options);
        return STATUS_CANCELLED;
    }
    if (word_present(argc, argv, "--version")) {
        printf("%s %s\n", options->program, CDCCA_VERSION);
        return STATUS_CANCELLED;
    }
    const char *path = config_path(argc, argv);
    if (path)
        TRY(file_read(options, path, err));
    TRY(environment_read(options, err));
    return arguments_read(options, argc, argv, positional_count, err);
}
