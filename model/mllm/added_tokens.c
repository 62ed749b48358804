/* The list of added tokens and the search for them; see added_tokens.h. */
#include "model/mllm/added_tokens.h"

#include "model/mllm/unicode.h"
#include <stdlib.h>
#include <string.h>

void added_tokens_free(struct added_tokens *added)
{
    free(added->list);
    trie_free(&added->find);
    *added = (struct added_tokens){0};
}

static struct added_token *same_content(const struct added_tokens *added, const char *content)
{
    for (int i = 0; i < added->count; i++)
        if (strcmp(added->list[i].content, content) == 0)
            return &added->list[i];
    return NULL;
}

enum status added_tokens_put(struct added_tokens *added, const struct added_token *token,
                             struct err *err)
{
    struct added_token *old = same_content(added, token->content);
    if (old) {
        if (old->id >= 0 && token->id >= 0 && old->id != token->id)
            return err_set(err, STATUS_CONFLICT, "added token \"%s\" has the ids %lld and %lld",
                           token->content, (long long)old->id, (long long)token->id);
        old->id = token->id >= 0 ? token->id : old->id;
        old->special = old->special || token->special;
        old->lstrip = old->lstrip || token->lstrip;
        old->rstrip = old->rstrip || token->rstrip;
        return STATUS_OK;
    }
    if (added->count == ADDED_TOKENS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "more than %d added tokens", ADDED_TOKENS_MAX);
    if (added->count == added->cap) {
        int cap = added->cap ? 2 * added->cap : 16;
        void *moved = realloc(added->list, (size_t)cap * sizeof *added->list);
        if (!moved)
            return err_set(err, STATUS_NO_MEMORY, "no memory for %d added tokens", cap);
        added->list = moved;
        added->cap = cap;
    }
    added->list[added->count++] = *token;
    return STATUS_OK;
}

int added_tokens_room(const struct added_tokens *added, int ids)
{
    for (int i = 0; i < added->count; i++)
        if (added->list[i].id >= ids)
            ids = (int)added->list[i].id + 1;
    return ids + added->count;
}

static enum status enter_one(struct added_token *token, struct vocab *vocab, int64_t *next,
                             struct err *err)
{
    size_t len = strlen(token->content);
    int32_t have = vocab_find(vocab, token->content, len);
    enum token_kind kind = token->special ? TOKEN_CONTROL : TOKEN_USER;
    if (have >= 0 && token->id >= 0 && have != token->id)
        return err_set(err, STATUS_CONFLICT,
                       "added token \"%s\" has id %lld, and the vocabulary %d", token->content,
                       (long long)token->id, (int)have);
    if (have < 0) {
        int64_t id = token->id >= 0 ? token->id : (*next)++;
        token->id = id;
        return vocab_add(vocab, id, token->content, len, kind, err);
    }
    token->id = have;
    if (token->special && vocab->tokens[have].kind != TOKEN_UNKNOWN)
        vocab->tokens[have].kind = kind;
    return STATUS_OK;
}

enum status added_tokens_enter(struct added_tokens *added, struct vocab *vocab, struct err *err)
{
    int64_t next = vocab_end(vocab);
    for (int i = 0; i < added->count; i++)
        if (added->list[i].id >= next)
            next = added->list[i].id + 1;
    for (int i = 0; i < added->count; i++)
        TRY(enter_one(&added->list[i], vocab, &next, err));
    vocab->count = vocab_end(vocab);
    return STATUS_OK;
}

enum status added_tokens_index(struct added_tokens *added, struct err *err)
{
    size_t bytes = 0;
    for (int i = 0; i < added->count; i++)
        bytes += strlen(added->list[i].content);
    if (!trie_init(&added->find, bytes))
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d added tokens", added->count);
    for (int i = 0; i < added->count; i++)
        if (!trie_add(&added->find, added->list[i].content, strlen(added->list[i].content), i))
            return err_set(err, STATUS_CONFLICT, "added token \"%s\" is empty or there twice",
                           added->list[i].content);
    return STATUS_OK;
}

/* ---- finding ---- */

/* The character before `at`, which is no start of text. */
static uint32_t character_before(const char *text, size_t at)
{
    size_t size = 0, from = at - 1;
    while (from > 0 && ((unsigned char)text[from] & 0xC0) == 0x80)
        from--;
    return unicode_get(text + from, at - from, &size);
}

static bool stands_alone(const char *text, size_t len, size_t from, size_t to)
{
    size_t size = 0;
    return (from == 0 || !unicode_is_word(character_before(text, from))) &&
           (to == len || !unicode_is_word(unicode_get(text + to, len - to, &size)));
}

static void take_space(const struct added_token *token, const char *text, size_t len, size_t at,
                       struct added_match *match)
{
    size_t size = 0;
    while (token->rstrip && match->to < len &&
           unicode_is_space(unicode_get(text + match->to, len - match->to, &size)))
        match->to += size;
    while (token->lstrip && match->from > at &&
           unicode_is_space(character_before(text, match->from)))
        do
            match->from--;
        while (match->from > at && ((unsigned char)text[match->from] & 0xC0) == 0x80);
}

bool added_tokens_find(const struct added_tokens *added, const char *text, size_t len, size_t at,
                       const struct added_scope *scope, struct added_match *out)
{
    for (size_t i = at, key_len = 0; added->count > 0 && i < len; i++) {
        int32_t place = trie_longest(&added->find, text + i, len - i, &key_len);
        if (place < 0)
            continue;
        const struct added_token *token = &added->list[place];
        bool plain = i < scope->plain_to && i + key_len > scope->plain_from;
        if ((token->special && (!scope->special || plain)) ||
            (token->single_word && !stands_alone(text, len, i, i + key_len)))
            continue;
        *out = (struct added_match){i, i + key_len, (int32_t)token->id};
        take_space(token, text, len, at, out);
        return true;
    }
    return false;
}
