/* Reading a chat request; see chat_request.h. One table names every known field and what reads it,
 * so that what is known, what is refused and what an error calls the field cannot drift apart. */
#include "client/chat_request.h"
#include "api/base/base64.h"
#include "api/wire/limits.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct field {
    const char *name;
    enum status (*read)(const json *root, const char *name, struct chat_request *out,
                        struct err *err);
};

/* Absent or null. */
static bool field_is_null(const json *root, const char *name)
{
    const json *value = NULL;
    return json_opt_object(root, name, &value, NULL) == STATUS_OK && !value;
}

static bool field_is_array(const json *root, const char *name, const json **list)
{
    return json_get_array(root, name, SIZE_MAX, list, NULL) == STATUS_OK;
}

/* ---- messages ---- */

struct message {
    const char *role, *image;
    const json *value;
};

static enum status text_add(struct buf *prompt, const char *text, struct err *err)
{
    if (buf_printf(prompt, "%s", text) == STATUS_OK)
        return STATUS_OK;
    return err_set(err, STATUS_TOO_LARGE, "the messages have more than %d KiB of text",
                   CHAT_PROMPT_BYTES >> 10);
}

static enum status part_image(const json *part, struct message *m, struct err *err)
{
    static const char *const known[] = {"type", "image_url", NULL};
    static const char *const inner[] = {"url", "detail", NULL};
    const json *image;
    const char *detail = NULL;
    TRY(json_only(part, known, err));
    TRY(json_get_object(part, "image_url", &image, err));
    TRY(json_only(image, inner, err));
    TRY(json_opt_string(image, "detail", 16, &detail, err));
    if (strcmp(m->role, "user") != 0)
        return err_set(err, STATUS_UNSUPPORTED,
                       "a picture in a message of role \"%s\"; those of "
                       "\"user\" may have one",
                       m->role);
    if (m->image)
        return err_set(err, STATUS_UNSUPPORTED, "two pictures in one message; one is right");
    return json_get_string(image, "url", CHAT_BODY_BYTES, &m->image, err);
}

static enum status part_read(const json *part, struct message *m, struct buf *prompt,
                             struct err *err)
{
    static const char *const known[] = {"type", "text", NULL};
    const char *type, *text;
    TRY(json_get_string(part, "type", 32, &type, err));
    if (strcmp(type, "image_url") == 0)
        return part_image(part, m, err);
    if (strcmp(type, "text") != 0)
        return err_set(err, STATUS_UNSUPPORTED,
                       "a content part of type \"%s\"; \"text\" and \"image_url\" are right", type);
    TRY(json_only(part, known, err));
    TRY(json_get_string(part, "text", CHAT_PROMPT_BYTES, &text, err));
    return text_add(prompt, text, err);
}

static enum status content_read(struct message *m, struct buf *prompt, struct err *err)
{
    const json *parts;
    const char *text;
    if (!field_is_array(m->value, "content", &parts)) {
        TRY(json_get_string(m->value, "content", CHAT_PROMPT_BYTES, &text, err));
        return text_add(prompt, text, err);
    }
    size_t count = json_length(parts);
    if (count < 1 || count > CHAT_PARTS)
        return err_set(err, STATUS_MALFORMED, "content has %zu parts; 1 to %d are right", count,
                       CHAT_PARTS);
    for (size_t i = 0; i < count; i++)
        if (part_read(json_at(parts, i), m, prompt, err) != STATUS_OK)
            return err_prefix(err, "content[%zu]", i);
    return STATUS_OK;
}

/* Fields of an answer that comes back with the history are fine as long as they say nothing. */
static enum status message_check(const json *value, struct message *m, struct err *err)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant"};
    const char *key, *name = NULL;
    void *cursor = NULL;
    TRY(json_get_string(value, "role", 32, &m->role, err));
    for (size_t i = 0; i < 4; i++)
        if (strcmp(roles[i], m->role) == 0)
            m->value = value;
    if (!m->value)
        return err_set(err, STATUS_UNSUPPORTED,
                       "role is \"%s\"; system, developer, user or assistant is right", m->role);
    while ((key = json_next(value, &cursor, NULL)) != NULL)
        if (strcmp(key, "role") != 0 && strcmp(key, "content") != 0 && strcmp(key, "name") != 0 &&
            !field_is_null(value, key))
            return err_set(err, STATUS_UNSUPPORTED,
                           "unsupported field \"%.64s\"; role, content and name are right", key);
    return json_opt_string(value, "name", 256, &name, err);
}

static bool role_is_turn(const char *role)
{
    return strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0;
}

static int turns_count(const json *list)
{
    int turns = 0;
    const char *role;
    for (size_t i = 0; i < json_length(list); i++)
        turns += json_get_string(json_at(list, i), "role", 32, &role, NULL) == STATUS_OK &&
                 role_is_turn(role);
    return turns;
}

static enum status message_read(const json *value, bool labelled, struct message *m,
                                struct chat_request *out, struct err *err)
{
    struct buf *prompt = &out->prompt;
    TRY(message_check(value, m, err));
    if (prompt->len)
        TRY(text_add(prompt, "\n", err));
    if (labelled && role_is_turn(m->role)) {
        TRY(text_add(prompt, m->role, err));
        TRY(text_add(prompt, ": ", err));
    }
    TRY(content_read(m, prompt, err));
    if (m->image)
        out->image = m->image;
    return STATUS_OK;
}

static enum status messages_read(const json *root, const char *name, struct chat_request *out,
                                 struct err *err)
{
    const json *list;
    struct message m = {0};
    TRY(json_get_array(root, name, CHAT_MESSAGES, &list, err));
    int turns = turns_count(list);
    for (size_t i = 0; i < json_length(list); i++) {
        m = (struct message){0};
        if (message_read(json_at(list, i), turns > 1, &m, out, err) != STATUS_OK)
            return err_prefix(err, "messages[%zu]", i);
    }
    if (!m.role || strcmp(m.role, "user") != 0)
        return err_set(err, STATUS_MALFORMED, "the last message must be of role \"user\"");
    if (turns > 1)
        TRY(text_add(&out->prompt, "\nassistant:", err));
    if (strspn((const char *)out->prompt.data, " \t\r\n") == out->prompt.len)
        return err_set(err, STATUS_MALFORMED, "the messages have no text");
    return STATUS_OK;
}

/* ---- the other fields ---- */

static enum status model_read(const json *root, const char *name, struct chat_request *out,
                              struct err *err)
{
    return json_get_string(root, name, 256, &out->model, err);
}

/* max_tokens, and its newer name, which wins. */
static enum status max_tokens_read(const json *root, const char *name, struct chat_request *out,
                                   struct err *err)
{
    return json_opt_int(root, name, 1, CHAT_TOKENS, &out->max_tokens, err);
}

static enum status temperature_read(const json *root, const char *name, struct chat_request *out,
                                    struct err *err)
{
    return json_opt_number(root, name, 0, 2, &out->temperature, err);
}

static enum status top_p_read(const json *root, const char *name, struct chat_request *out,
                              struct err *err)
{
    TRY(json_opt_number(root, name, 0, 1, &out->top_p, err));
    if (out->top_p <= 0)
        return err_set(err, STATUS_MALFORMED, "top_p is %g; above 0, up to 1 is right", out->top_p);
    return STATUS_OK;
}

static enum status seed_read(const json *root, const char *name, struct chat_request *out,
                             struct err *err)
{
    return json_opt_int(root, name, 0, INT64_MAX, &out->seed, err);
}

static enum status stop_read(const json *root, const char *name, struct chat_request *out,
                             struct err *err)
{
    const json *list;
    if (!field_is_array(root, name, &list)) {
        TRY(json_opt_string(root, name, CHAT_STOP_BYTES, &out->stop[0], err));
        out->stop_count = out->stop[0] != NULL;
    } else {
        TRY(json_get_array(root, name, CHAT_STOPS, &list, err));
        out->stop_count = (int)json_length(list);
        for (int i = 0; i < out->stop_count; i++)
            TRY(json_string_at(list, (size_t)i, CHAT_STOP_BYTES, &out->stop[i], err));
    }
    for (int i = 0; i < out->stop_count; i++)
        if (!out->stop[i][0])
            return err_set(err, STATUS_MALFORMED, "a stop text is empty");
    return STATUS_OK;
}

static enum status stream_read(const json *root, const char *name, struct chat_request *out,
                               struct err *err)
{
    return json_opt_bool(root, name, &out->stream, err);
}

static enum status stream_options_read(const json *root, const char *name, struct chat_request *out,
                                       struct err *err)
{
    static const char *const known[] = {"include_usage", NULL};
    const json *options = NULL;
    TRY(json_opt_object(root, name, &options, err));
    if (!options)
        return STATUS_OK;
    if (!out->stream)
        return err_set(err, STATUS_MALFORMED, "stream_options without \"stream\": true");
    TRY(json_only(options, known, err));
    return json_opt_bool(options, "include_usage", &out->include_usage, err);
}

static enum status logprobs_read(const json *root, const char *name, struct chat_request *out,
                                 struct err *err)
{
    return json_opt_bool(root, name, &out->logprobs, err);
}

static enum status top_logprobs_read(const json *root, const char *name, struct chat_request *out,
                                     struct err *err)
{
    TRY(json_opt_int(root, name, 0, CHAT_TOP, &out->top_logprobs, err));
    if (out->top_logprobs && !out->logprobs)
        return err_set(err, STATUS_MALFORMED, "top_logprobs without \"logprobs\": true");
    return STATUS_OK;
}

static enum status one_read(const json *root, const char *name, struct chat_request *out,
                            struct err *err)
{
    int64_t n = 1;
    (void)out;
    return json_opt_int(root, name, 1, 1, &n, err);
}

/* Clients write these out with the value that asks for nothing. */
static enum status zero_read(const json *root, const char *name, struct chat_request *out,
                             struct err *err)
{
    double zero = 0;
    (void)out;
    return json_opt_number(root, name, 0, 0, &zero, err);
}

static enum status false_read(const json *root, const char *name, struct chat_request *out,
                              struct err *err)
{
    bool yes = false;
    (void)out;
    TRY(json_opt_bool(root, name, &yes, err));
    return yes ? err_set(err, STATUS_UNSUPPORTED, "%s is not supported; false is right", name)
               : STATUS_OK;
}

static enum status format_read(const json *root, const char *name, struct chat_request *out,
                               struct err *err)
{
    const json *format = NULL;
    const char *type = "text";
    (void)out;
    TRY(json_opt_object(root, name, &format, err));
    if (format)
        TRY(json_get_string(format, "type", 64, &type, err));
    if (strcmp(type, "text") != 0)
        return err_set(err, STATUS_UNSUPPORTED, "response_format of type \"%s\"; \"text\" is right",
                       type);
    return STATUS_OK;
}

/* A name for the caller's own use: of no effect. */
static enum status user_read(const json *root, const char *name, struct chat_request *out,
                             struct err *err)
{
    const char *user = NULL;
    (void)out;
    return json_opt_string(root, name, 1024, &user, err);
}

static const struct field fields[] = {
    {"model", model_read},
    {"messages", messages_read},
    {"max_tokens", max_tokens_read},
    {"max_completion_tokens", max_tokens_read},
    {"temperature", temperature_read},
    {"top_p", top_p_read},
    {"seed", seed_read},
    {"stop", stop_read},
    {"stream", stream_read},
    {"stream_options", stream_options_read},
    {"logprobs", logprobs_read},
    {"top_logprobs", top_logprobs_read},
    {"n", one_read},
    {"frequency_penalty", zero_read},
    {"presence_penalty", zero_read},
    {"store", false_read},
    {"response_format", format_read},
    {"user", user_read},
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

/* ---- all of it ---- */

static bool field_is_known(const char *name)
{
    size_t i = 0;
    while (i < FIELDS && strcmp(fields[i].name, name) != 0)
        i++;
    return i < FIELDS;
}

static enum status unknown_refuse(const json *root, struct chat_problem *problem)
{
    void *cursor = NULL;
    const char *key;
    while ((key = json_next(root, &cursor, NULL)) != NULL)
        if (!field_is_known(key) && !field_is_null(root, key)) {
            snprintf(problem->param, sizeof problem->param, "%.63s", key);
            problem->code = "unsupported_parameter";
            return err_set(&problem->err, STATUS_UNSUPPORTED,
                           "\"%.64s\" is not supported; leave it out", key);
        }
    return STATUS_OK;
}

static enum status request_read(struct chat_request *out, struct chat_problem *problem)
{
    if (!json_is_object(out->root))
        return err_set(&problem->err, STATUS_MALFORMED, "the body must be a JSON object");
    for (size_t i = 0; i < FIELDS; i++) {
        snprintf(problem->param, sizeof problem->param, "%s", fields[i].name);
        TRY(fields[i].read(out->root, fields[i].name, out, &problem->err));
    }
    problem->param[0] = '\0';
    return unknown_refuse(out->root, problem);
}

enum status chat_request_parse(const void *body, size_t len, struct chat_request *out,
                               struct chat_problem *problem)
{
    *problem = (struct chat_problem){0};
    *out = (struct chat_request){.top_p = 1, .seed = -1, .prompt.max = CHAT_PROMPT_BYTES};
    enum status status =
        len ? json_parse(body, len, &out->root, &problem->err)
            : err_set(&problem->err, STATUS_MALFORMED, "the body is empty; a JSON object is right");
    if (status == STATUS_OK)
        status = request_read(out, problem);
    if (status != STATUS_OK)
        chat_request_free(out);
    return status;
}

void chat_request_free(struct chat_request *request)
{
    json_free(request->root);
    buf_free(&request->prompt);
    *request = (struct chat_request){0};
}

/* ---- the picture ---- */

/* Where the base64 text begins, or NULL. */
static const char *data_url(const char *url)
{
    static const char *const starts[] = {"data:image/png;base64,", "data:image/jpeg;base64,",
                                         "data:image/jpg;base64,"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (strncasecmp(url, starts[i], strlen(starts[i])) == 0)
            return url + strlen(starts[i]);
    return NULL;
}

enum status chat_request_image(const char *url, struct image *out, struct err *err)
{
    struct buf bytes = {.max = LIMIT_IMAGE_BYTES + 2};
    const char *text = data_url(url);
    *out = (struct image){0};
    if (!text)
        return err_set(
            err, STATUS_UNSUPPORTED,
            "image_url \"%.40s\": data:image/png;base64,... or data:image/jpeg;base64,... "
            "is right; nothing is fetched from elsewhere",
            url);
    enum status status = base64_decode(text, strlen(text), &bytes);
    if (status == STATUS_MALFORMED)
        err_set(err, status, "image_url: what follows \"base64,\" is not base64");
    else if (status != STATUS_OK)
        err_set(err, status, "image_url: more than %d MiB", LIMIT_IMAGE_BYTES >> 20);
    else if ((status = image_decode(bytes.data, bytes.len, out, err)) != STATUS_OK)
        err_prefix(err, "image_url");
    buf_free(&bytes);
    return status;
}
