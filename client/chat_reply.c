/* Objects of the OpenAI API, built; see chat_reply.h. */
#include "client/chat_reply.h"
#include "api/base/utf8.h"
#include <stdio.h>
#include <string.h>

/* ---- errors ---- */

int chat_error_status(enum status code)
{
    switch (code) {
    case STATUS_MALFORMED:
    case STATUS_SHAPE:
    case STATUS_UNSUPPORTED:
    case STATUS_TOO_LARGE:
    case STATUS_USAGE:
        return 400;
    case STATUS_BUSY:
        return 503;
    case STATUS_CORRUPT: /* weights that give no numbers: ours */
        return 500;
    default:
        return status_http(code);
    }
}

static bool set_text(json *object, const char *key, const char *text)
{
    return text && text[0] ? json_set_string(object, key, text) : json_set_null(object, key);
}

json *chat_error_json(const struct err *e, int status, const char *param, const char *code)
{
    char message[sizeof e->text], field[64];
    snprintf(message, sizeof message, "%s", e->text);
    snprintf(field, sizeof field, "%s", param ? param : "");
    utf8_clean(message); /* it may quote what a client sent */
    utf8_clean(field);
    json *root = json_object_new(), *error = json_object_new();
    bool ok =
        root && error && json_set_string(error, "message", message) &&
        json_set_string(error, "type", status < 500 ? "invalid_request_error" : "server_error") &&
        set_text(error, "param", field) &&
        set_text(error, "code", code ? code : status_name(e->code));
    ok = json_set_take(root, "error", error) && ok;
    if (ok)
        return root;
    json_free(root);
    return NULL;
}

enum status chat_error_write(const struct err *e, int status, const char *param, const char *code,
                             struct buf *out)
{
    json *root = chat_error_json(e, status, param, code);
    enum status printed = root ? json_print(root, false, out) : STATUS_NO_MEMORY;
    json_free(root);
    return printed;
}

enum status chat_problem_write(const struct err *e, int status, const char *id, struct buf *out)
{
    (void)id; /* it is in X-Request-Id, where these clients look */
    return chat_error_write(e, status, NULL, NULL, out);
}

/* ---- log-probabilities ---- */

static json *bytes_json(const struct buf *text)
{
    json *list = json_array_new();
    for (size_t i = 0; list && i < text->len; i++)
        if (!json_append_int(list, text->data[i])) {
            json_free(list);
            return NULL;
        }
    return list;
}

/* {"token", "logprob", "bytes"} */
static json *token_json(const struct mllm *m, int32_t id, float log_probability)
{
    struct buf text = {.max = 64 << 10};
    json *one = json_object_new();
    bool ok = one && chat_token_text(m, id, &text) == STATUS_OK &&
              json_set_take(one, "bytes", bytes_json(&text));
    if (ok)
        utf8_clean((char *)text.data);
    ok = ok && json_set_string(one, "token", (const char *)text.data) &&
         json_set_number(one, "logprob", (double)log_probability);
    buf_free(&text);
    if (ok)
        return one;
    json_free(one);
    return NULL;
}

static json *top_json(const struct mllm *m, const struct chat_answer *a, int token)
{
    json *list = json_array_new();
    size_t from = (size_t)token * (size_t)a->top;
    for (size_t i = from; list && i < from + (size_t)a->top; i++)
        if (!json_append_take(list, token_json(m, a->top_id[i], a->top_log_probability[i]))) {
            json_free(list);
            return NULL;
        }
    return list;
}

/* {"content": [..], "refusal": null} of the tokens from..to-1 */
static json *logprobs_json(const struct mllm *m, const struct chat_answer *a, int from, int to)
{
    json *root = json_object_new(), *content = json_array_new();
    bool ok = root && content;
    for (int t = from; ok && t < to; t++) {
        json *one = token_json(m, a->token[t].id, a->token[t].log_probability);
        ok = one && json_set_take(one, "top_logprobs", top_json(m, a, t));
        ok = json_append_take(content, one) && ok;
    }
    ok = json_set_take(root, "content", content) && ok && json_set_null(root, "refusal");
    if (ok)
        return root;
    json_free(root);
    return NULL;
}

/* ---- parts that completions and chunks share ---- */

static json *head_json(const char *object, const struct chat_facts *facts)
{
    json *root = json_object_new();
    if (root && json_set_string(root, "id", facts->id) && json_set_string(root, "object", object) &&
        json_set_int(root, "created", facts->created_s) &&
        json_set_string(root, "model", facts->model))
        return root;
    json_free(root);
    return NULL;
}

static json *usage_json(const struct chat_answer *a)
{
    json *usage = json_object_new();
    if (usage && json_set_int(usage, "prompt_tokens", a->prompt_tokens) &&
        json_set_int(usage, "completion_tokens", a->taken) &&
        json_set_int(usage, "total_tokens", a->prompt_tokens + a->taken))
        return usage;
    json_free(usage);
    return NULL;
}

static json *cdcca_json(const struct chat_facts *facts, const struct chat_answer *a)
{
    json *own = json_object_new();
    if (own && json_set_int(own, "version", facts->version) &&
        json_set_number(own, "entropy", (double)a->entropy) &&
        json_set_bool(own, "sampled", facts->sampled) &&
        (facts->threshold < 0 ? json_set_null(own, "threshold")
                              : json_set_number(own, "threshold", facts->threshold)) &&
        json_set_string(own, "reason", facts->reason))
        return own;
    json_free(own);
    return NULL;
}

/* root with its one choice; both are taken. */
static json *with_choice(json *root, json *choice)
{
    json *choices = json_array_new();
    bool ok = root && choices && choice && json_set_int(choice, "index", 0);
    ok = json_append_take(choices, choice) && ok;
    ok = json_set_take(root, "choices", choices) && ok;
    if (ok)
        return root;
    json_free(root);
    return NULL;
}

/* ---- a completion ---- */

static json *message_json(const struct chat_answer *a)
{
    json *message = json_object_new();
    if (message && json_set_string(message, "role", "assistant") &&
        json_set_string(message, "content", a->text) && json_set_null(message, "refusal"))
        return message;
    json_free(message);
    return NULL;
}

json *chat_completion_json(const struct mllm *m, const struct chat_request *request,
                           const struct chat_facts *facts, const struct chat_answer *answer)
{
    json *choice = json_object_new();
    bool ok = choice && json_set_take(choice, "message", message_json(answer)) &&
              json_set_string(choice, "finish_reason", answer->finish) &&
              (request->logprobs
                   ? json_set_take(choice, "logprobs", logprobs_json(m, answer, 0, answer->tokens))
                   : json_set_null(choice, "logprobs"));
    json *root = with_choice(head_json("chat.completion", facts), choice);
    if (ok && root && json_set_take(root, "usage", usage_json(answer)) &&
        json_set_take(root, "cdcca", cdcca_json(facts, answer)))
        return root;
    json_free(root);
    return NULL;
}

/* ---- chunks ---- */

/* delta is taken; usage null where a usage chunk will come, as OpenAI has it. */
static json *chunk_json(const struct chat_request *request, const struct chat_facts *facts,
                        json *delta, json *logprobs, const char *finish)
{
    json *choice = json_object_new();
    bool ok = json_set_take(choice, "delta", delta) &&
              (logprobs ? json_set_take(choice, "logprobs", logprobs)
                        : json_set_null(choice, "logprobs")) &&
              set_text(choice, "finish_reason", finish);
    json *root = with_choice(head_json("chat.completion.chunk", facts), choice);
    if (ok && root && (!request->include_usage || json_set_null(root, "usage")))
        return root;
    json_free(root);
    return NULL;
}

json *chat_chunk_first(const struct chat_request *request, const struct chat_facts *facts)
{
    json *delta = json_object_new();
    if (!delta || !json_set_string(delta, "role", "assistant") ||
        !json_set_string(delta, "content", "")) {
        json_free(delta);
        return NULL;
    }
    return chunk_json(request, facts, delta, NULL, NULL);
}

json *chat_chunk_piece(const struct mllm *m, const struct chat_request *request,
                       const struct chat_facts *facts, const struct chat_answer *answer,
                       const char *piece, int from, int to)
{
    json *delta = json_object_new(), *logprobs = NULL;
    bool ok = delta && json_set_string(delta, "content", piece);
    if (ok && request->logprobs)
        ok = (logprobs = logprobs_json(m, answer, from, to)) != NULL;
    if (ok)
        return chunk_json(request, facts, delta, logprobs, NULL);
    json_free(delta);
    return NULL;
}

json *chat_chunk_last(const struct chat_request *request, const struct chat_facts *facts,
                      const struct chat_answer *answer)
{
    json *root = chunk_json(request, facts, json_object_new(), NULL, answer->finish);
    if (root && json_set_take(root, "cdcca", cdcca_json(facts, answer)))
        return root;
    json_free(root);
    return NULL;
}

json *chat_chunk_usage(const struct chat_facts *facts, const struct chat_answer *answer)
{
    json *root = head_json("chat.completion.chunk", facts), *choices = json_array_new();
    bool ok = json_set_take(root, "choices", choices);
    if (ok && json_set_take(root, "usage", usage_json(answer)))
        return root;
    json_free(root);
    return NULL;
}
