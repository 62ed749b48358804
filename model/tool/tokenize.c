/* cdcca-model tokenize; see tokenize.h. */
#include "model/tool/tokenize.h"

#include "api/base/utf8.h"
#include "api/wire/json.h"
#include "api/wire/options.h"
#include "model/mllm/tokenizer.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_BYTES = 64 << 20, ID_MAX = 1 << 20 };

struct job {
    const char *dir, *pair; /* pair NULL: one text */
    bool special, wrap, decode, as_json;
    struct tokenizer *tokenizer;
    struct buf text;
    int32_t *ids, *types;
    size_t count;
};

static enum status read_input(const char *argument, struct buf *out, struct err *err)
{
    ssize_t n = 1;
    if (strcmp(argument, "-") != 0) {
        enum status status = buf_append(out, argument, strlen(argument));
        return status == STATUS_OK ? status : err_set(err, status, "no memory for the text");
    }
    while (n > 0) {
        enum status status = buf_reserve(out, (size_t)64 << 10);
        if (status != STATUS_OK)
            return err_set(err, status, "standard input has more than %d MiB", INPUT_BYTES >> 20);
        n = read(STDIN_FILENO, out->data + out->len, (size_t)64 << 10);
        if (n < 0)
            return io_error(err, "read", "standard input", errno);
        out->len += (size_t)n;
    }
    return STATUS_OK;
}

/* ---- encoding ---- */

static enum status encode_once(struct job *j, size_t max, struct err *err)
{
    unsigned how =
        (j->special ? TOKENIZER_SPECIALS : 0U) | (j->wrap || j->pair ? TOKENIZER_WRAP : 0U);
    struct tokenizer_text text = {.text = (const char *)j->text.data, .len = j->text.len};
    struct tokenizer_text pair = {.text = j->pair};
    free(j->ids);
    free(j->types);
    j->ids = calloc(max, sizeof *j->ids);
    j->types = calloc(max, sizeof *j->types);
    if (!j->ids || !j->types)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu ids", max);
    if (!j->pair)
        return tokenizer_encode_as(j->tokenizer, &text, how, j->ids, max, &j->count, err);
    pair.len = strlen(j->pair);
    return tokenizer_encode_pair(j->tokenizer, &text, &pair, how, j->ids, j->types, max, &j->count,
                                 err);
}

/* A normalizer can make more ids than the text has bytes, rarely. */
static enum status encode_all(struct job *j, struct err *err)
{
    size_t max = j->text.len + (j->pair ? strlen(j->pair) : 0) + 64;
    enum status status = STATUS_TOO_LARGE;
    for (int i = 0; i < 4 && status == STATUS_TOO_LARGE; i++, max *= 4)
        status = encode_once(j, max, err);
    return status;
}

static bool add_ids(json *root, const char *key, const int32_t *ids, size_t count)
{
    json *list = json_array_new();
    bool ok = list != NULL;
    for (size_t i = 0; i < count && ok; i++)
        ok = json_append_int(list, ids[i]);
    if (ok)
        return json_set_take(root, key, list);
    json_free(list);
    return false;
}

/* Tokens that are no text (single bytes of a character) are shown with '?'. */
static bool add_tokens(const struct job *j, json *root)
{
    json *list = json_array_new();
    bool ok = list != NULL;
    for (size_t i = 0; i < j->count && ok; i++) {
        size_t len = 0;
        const char *token = tokenizer_token(j->tokenizer, j->ids[i], &len);
        char *text = token ? strndup(token, len) : NULL;
        ok = text != NULL;
        if (ok) {
            utf8_clean(text);
            ok = json_append_string(list, text);
        }
        free(text);
    }
    if (ok)
        return json_set_take(root, "tokens", list);
    json_free(list);
    return false;
}

static enum status print_json(const json *root, bool ok, struct err *err)
{
    struct buf text = {.max = (size_t)4 << 30};
    ok = ok && json_print(root, false, &text) == STATUS_OK;
    if (ok)
        printf("%s\n", (const char *)text.data);
    buf_free(&text);
    return ok ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for the result");
}

static enum status encode_command(struct job *j, struct err *err)
{
    TRY(encode_all(j, err));
    if (!j->as_json) {
        for (size_t i = 0; i < j->count; i++)
            printf("%s%d", i ? " " : "", (int)j->ids[i]);
        printf("\n");
        return STATUS_OK;
    }
    json *root = json_object_new();
    bool ok = root && add_ids(root, "ids", j->ids, j->count) && add_tokens(j, root) &&
              (!j->pair || add_ids(root, "types", j->types, j->count));
    enum status status = print_json(root, ok, err);
    json_free(root);
    return status;
}

/* ---- decoding ---- */

/* Whole numbers with blanks, commas or brackets between them. */
static enum status parse_ids(struct job *j, struct err *err)
{
    static const char between[] = " \t\r\n,[]";
    const char *at = j->text.data ? (const char *)j->text.data : "";
    j->ids = calloc(j->text.len + 1, sizeof *j->ids);
    if (!j->ids)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the ids");
    for (at += strspn(at, between); *at; at += strspn(at, between)) {
        char *end = NULL;
        long id = strtol(at, &end, 10);
        if (*at < '0' || *at > '9' || id >= ID_MAX || (*end && !strchr(between, *end)))
            return err_set(err, STATUS_USAGE, "\"%.16s\" is no id; ids are whole numbers", at);
        j->ids[j->count++] = (int32_t)id;
        at = end;
    }
    return STATUS_OK;
}

static enum status decode_command(struct job *j, struct err *err)
{
    struct buf text = {.max = (size_t)1 << 30};
    TRY(parse_ids(j, err));
    if (tokenizer_decode(j->tokenizer, j->ids, j->count, &text) != STATUS_OK) {
        buf_free(&text);
        return err_set(err, STATUS_NO_MEMORY, "no memory for the text");
    }
    enum status status = STATUS_OK;
    if (j->as_json) {
        json *root = json_object_new();
        utf8_clean((char *)text.data);
        bool ok = root && json_set_string(root, "text", (const char *)text.data);
        status = print_json(root, ok, err);
        json_free(root);
    } else {
        fwrite(text.data, 1, text.len, stdout);
        printf("\n");
    }
    buf_free(&text);
    return status;
}

enum status tokenize_run(int argc, char **argv, struct err *err)
{
    struct job j = {.dir = "models/student", .text = {.max = INPUT_BYTES}};
    int positional = 0;
    const struct option table[] = {
        {"model", OPTION_STRING, &j.dir, 0, 0, "DIR", "folder with the tokenizer's files"},
        {"special", OPTION_FLAG, &j.special, 0, 0, NULL, "special tokens in the text are special"},
        {"wrap", OPTION_FLAG, &j.wrap, 0, 0, NULL, "add what goes around a text: BOS, [CLS]"},
        {"pair", OPTION_STRING, &j.pair, 0, 0, "TEXT", "a second text; --json shows the types"},
        {"decode", OPTION_FLAG, &j.decode, 0, 0, NULL, "TEXT is ids; print what they say"},
        {"json", OPTION_FLAG, &j.as_json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        "cdcca-model tokenize", "Text to ids, and back.", "TEXT|-", table, 1, 1};
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(tokenizer_load(io_posix(), j.dir, &j.tokenizer, err));
    enum status status = read_input(argv[1], &j.text, err);
    if (status == STATUS_OK)
        status = j.decode ? decode_command(&j, err) : encode_command(&j, err);
    tokenizer_destroy(j.tokenizer);
    buf_free(&j.text);
    free(j.ids);
    free(j.types);
    return status;
}
