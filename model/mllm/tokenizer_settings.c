/* Reading the small files; see tokenizer_settings.h. Only the fields that change ids are read:
 * these files carry many that do not. */
#include "model/mllm/tokenizer_settings.h"

#include <stdlib.h>
#include <string.h>

enum { SETTINGS_BYTES = 16 << 20 };

static const char *const ROLE_KEYS[ROLES] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                             "pad_token", "cls_token", "mask_token"};

enum status added_token_read(const json *object, struct added_token *out, struct err *err)
{
    const char *content = "";
    TRY(json_get_string(object, "content", sizeof out->content - 1, &content, err));
    TRY(json_opt_int(object, "id", 0, VOCAB_IDS - 1, &out->id, err));
    TRY(json_opt_bool(object, "special", &out->special, err));
    TRY(json_opt_bool(object, "lstrip", &out->lstrip, err));
    TRY(json_opt_bool(object, "rstrip", &out->rstrip, err));
    TRY(json_opt_bool(object, "single_word", &out->single_word, err));
    TRY(json_opt_bool(object, "normalized", &out->normalized, err));
    memcpy(out->content, content, strlen(content) + 1);
    return STATUS_OK;
}

enum status tokenizer_settings_role(struct tokenizer_settings *settings, enum tokenizer_role role,
                                    const char *content, struct err *err)
{
    char *to = settings->role[role];
    if (!to[0] && content && strlen(content) < sizeof settings->role[role])
        memcpy(to, content, strlen(content) + 1);
    if (!to[0])
        return STATUS_OK;
    struct added_token token = {.id = -1, .special = true};
    memcpy(token.content, to, sizeof token.content);
    return added_tokens_put(&settings->added, &token, err);
}

/* "bos_token": "<s>", or an object with its content. */
static enum status read_role(const json *root, enum tokenizer_role role,
                             struct tokenizer_settings *out, struct err *err)
{
    const char *content = NULL;
    const json *field = NULL, *value = NULL;
    void *cursor = NULL;
    for (const char *key; !field && (key = json_next(root, &cursor, &value)) != NULL;)
        if (strcmp(key, ROLE_KEYS[role]) == 0)
            field = value;
    if (!field)
        return STATUS_OK;
    if (json_is_object(field)) {
        struct added_token token = {.id = -1, .special = true};
        TRY(added_token_read(field, &token, err));
        token.special = true;
        memcpy(out->role[role], token.content, sizeof token.content);
        return added_tokens_put(&out->added, &token, err);
    }
    TRY(json_opt_string(root, ROLE_KEYS[role], sizeof out->role[role] - 1, &content, err));
    if (content)
        memcpy(out->role[role], content, strlen(content) + 1);
    return tokenizer_settings_role(out, role, NULL, err);
}

static enum status read_additional(const json *root, struct tokenizer_settings *out,
                                   struct err *err)
{
    const json *list = NULL;
    if (!json_has(root, "additional_special_tokens"))
        return STATUS_OK;
    TRY(json_get_array(root, "additional_special_tokens", ADDED_TOKENS_MAX, &list, err));
    for (size_t i = 0; i < json_length(list); i++) {
        struct added_token token = {.id = -1, .special = true};
        const char *content = "";
        if (json_is_object(json_at(list, i))) {
            TRY(added_token_read(json_at(list, i), &token, err));
        } else {
            TRY(json_string_at(list, i, sizeof token.content - 1, &content, err));
            memcpy(token.content, content, strlen(content) + 1);
        }
        token.special = true;
        TRY(added_tokens_put(&out->added, &token, err));
    }
    return STATUS_OK;
}

static enum status read_names(const json *root, struct tokenizer_settings *out, struct err *err)
{
    for (int role = 0; role < ROLES; role++)
        TRY(read_role(root, (enum tokenizer_role)role, out, err));
    return read_additional(root, out, err);
}

/* {"32000": {"content": "[PAD]", ..}} */
static enum status read_decoder(const json *decoder, struct tokenizer_settings *out,
                                struct err *err)
{
    const json *value = NULL;
    void *cursor = NULL;
    for (const char *key; (key = json_next(decoder, &cursor, &value)) != NULL;) {
        struct added_token token = {.id = -1};
        char *end = NULL;
        long id = strtol(key, &end, 10);
        if (key[0] < '0' || key[0] > '9' || *end || id >= VOCAB_IDS)
            return err_set(err, STATUS_MALFORMED, "added_tokens_decoder: \"%.32s\" is no id", key);
        TRY(added_token_read(value, &token, err));
        token.id = id;
        TRY(added_tokens_put(&out->added, &token, err));
    }
    return STATUS_OK;
}

static enum status read_config(const json *root, struct tokenizer_settings *out, bool *has_decoder,
                               struct err *err)
{
    const json *decoder = NULL;
    const char *class = "";
    bool unless_set = false, if_set = true; /* equal once the file says which */
    TRY(json_opt_string(root, "tokenizer_class", sizeof out->class - 1, &class, err));
    memcpy(out->class, class, strlen(class) + 1);
    TRY(json_opt_bool(root, "add_bos_token", &out->add_bos, err));
    TRY(json_opt_bool(root, "add_eos_token", &out->add_eos, err));
    TRY(json_opt_bool(root, "legacy", &out->legacy, err));
    TRY(json_opt_bool(root, "do_lower_case", &out->lower, err));
    TRY(json_opt_bool(root, "tokenize_chinese_chars", &out->ideographs, err));
    TRY(json_opt_bool(root, "strip_accents", &unless_set, err));
    TRY(json_opt_bool(root, "strip_accents", &if_set, err));
    if (unless_set == if_set)
        out->strip_accents = if_set;
    TRY(json_opt_object(root, "added_tokens_decoder", &decoder, err));
    *has_decoder = decoder != NULL;
    if (decoder)
        TRY(read_decoder(decoder, out, err));
    return read_names(root, out, err);
}

/* {"[DEC]": 30522}; in HF they are special when a role or the map names them, too. */
static enum status read_added_ids(const json *root, struct tokenizer_settings *out, struct err *err)
{
    void *cursor = NULL;
    for (const char *key; (key = json_next(root, &cursor, NULL)) != NULL;) {
        struct added_token token = {.id = -1};
        if (strlen(key) >= sizeof token.content)
            return err_set(err, STATUS_TOO_LARGE, "an added token of %zu bytes; at most %zu",
                           strlen(key), sizeof token.content - 1);
        TRY(json_get_int(root, key, 0, VOCAB_IDS - 1, &token.id, err));
        memcpy(token.content, key, strlen(key) + 1);
        TRY(added_tokens_put(&out->added, &token, err));
    }
    return STATUS_OK;
}

/* The file's JSON, or NULL when there is no such file. */
static enum status read_json(struct io *io, const char *path, json **out, struct err *err)
{
    struct buf file = {.max = SETTINGS_BYTES};
    *out = NULL;
    if (!io_exists(path))
        return STATUS_OK;
    enum status status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK && (status = json_parse(file.data, file.len, out, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    buf_free(&file);
    return status;
}

static enum status settings_file(struct io *io, const char *dir, int which, bool *has_decoder,
                                 struct tokenizer_settings *out, struct err *err)
{
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                        "added_tokens.json"};
    char path[4096];
    json *root = NULL;
    TRY(io_join(path, sizeof path, dir, names[which], err));
    TRY(read_json(io, path, &root, err));
    enum status status = STATUS_OK;
    if (root && which == 0)
        status = read_config(root, out, has_decoder, err);
    else if (root && which == 1 && !*has_decoder)
        status = read_names(root, out, err);
    else if (root && which == 2)
        status = read_added_ids(root, out, err);
    if (status != STATUS_OK)
        err_prefix(err, "%s", path);
    json_free(root);
    return status;
}

enum status tokenizer_settings_load(struct io *io, const char *dir, struct tokenizer_settings *out,
                                    struct err *err)
{
    bool has_decoder = false;
    *out = (struct tokenizer_settings){
        .add_bos = true, .legacy = true, .lower = true, .ideographs = true, .strip_accents = -1};
    for (int which = 0; which < 3; which++)
        TRY(settings_file(io, dir, which, &has_decoder, out, err));
    return STATUS_OK;
}

void tokenizer_settings_free(struct tokenizer_settings *settings)
{
    added_tokens_free(&settings->added);
}

static bool class_holds(const struct tokenizer_settings *settings, const char *name)
{
    return strstr(settings->class, name) != NULL;
}

bool tokenizer_settings_is_llama(const struct tokenizer_settings *settings)
{
    return class_holds(settings, "LlamaTokenizer");
}

bool tokenizer_settings_is_bert(const struct tokenizer_settings *settings)
{
    return class_holds(settings, "BertTokenizer");
}
