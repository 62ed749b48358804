/* Words of captions (see caption_tokens.h). First typographic marks become plain ones and ASCII
 * letters small; then one scan from the left takes a word, a clitic or a mark at a time. */
#include "model/task/caption_tokens.h"
#include <stdbool.h>
#include <string.h>

static const char *const clitics[] = {"'s", "'re", "'ve", "'ll", "'d", "'m"};
static const char *const abbreviations[] = {"mr", "mrs", "ms", "dr", "st", "jr", "sr", "vs", "mt"};

/* Words that are two: the length of the first one. */
static const struct {
    const char *word;
    size_t first;
} doubles[] = {{"cannot", 3}, {"gonna", 3}, {"wanna", 3}, {"gotta", 3}, {"lemme", 3}, {"gimme", 3}};

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* ---- plain marks ---- */

static const struct {
    const char *from, *to;
} marks[] = {{"\xe2\x80\x98", "'"},   {"\xe2\x80\x99", "'"},  {"\xe2\x80\x9c", "\""},
             {"\xe2\x80\x9d", "\""},  {"\xe2\x80\x93", "--"}, {"\xe2\x80\x94", "--"},
             {"\xe2\x80\xa6", "..."}, {"\xc2\xa0", " "}};

static enum status text_plain(const char *text, struct buf *out)
{
    while (*text) {
        size_t m = 0;
        while (m < COUNT(marks) && strncmp(text, marks[m].from, strlen(marks[m].from)) != 0)
            m++;
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text + 'a' - 'A') : *text;
        if (m < COUNT(marks))
            TRY(buf_append(out, marks[m].to, strlen(marks[m].to)));
        else
            TRY(buf_append(out, &c, 1));
        text += m < COUNT(marks) ? strlen(marks[m].from) : 1;
    }
    return buf_append(out, "", 0);
}

/* ---- words ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

static bool is_word(char c)
{
    return is_digit(c) || is_letter(c);
}

/* A period between single letters: u.s.a. */
static bool is_initials(const char *start, const char *at)
{
    return at - start >= 1 && is_letter(at[-1]) && (at - start == 1 || at[-2] == '.') &&
           is_letter(at[1]) && !is_word(at[2]);
}

/* Whether the mark at `at`, inside a word that began at start, holds it together. */
static bool is_joint(const char *start, const char *at)
{
    if (*at == '\0' || !is_word(at[1]))
        return false;
    switch (*at) {
    case '-':
    case '\'':
    case '/':
    case '&':
    case '_':
        return true;
    case ',':
    case ':':
        return is_digit(at[-1]) && is_digit(at[1]);
    case '.':
        return (is_digit(at[-1]) && is_digit(at[1])) || is_initials(start, at);
    default:
        return false;
    }
}

static bool is_one_of(const char *word, size_t n, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(list[i]) == n && memcmp(word, list[i], n) == 0)
            return true;
    return false;
}

static size_t word_length(const char *start)
{
    const char *at = start;
    while (is_word(*at) || (at > start && is_joint(start, at)))
        at++;
    size_t n = (size_t)(at - start);
    bool initials = n >= 3 && start[n - 2] == '.' && is_letter(start[n - 1]);
    if (*at == '.' && (initials || is_one_of(start, n, abbreviations, COUNT(abbreviations))))
        n++;
    return n;
}

/* Bytes at the end of a word that are a word of their own: n't, 's, the second half of cannot. */
static size_t tail_length(const char *word, size_t n)
{
    if (n > 3 && memcmp(word + n - 3, "n't", 3) == 0)
        return 3;
    for (size_t i = 0; i < COUNT(clitics); i++) {
        size_t tail = strlen(clitics[i]);
        if (n > tail && memcmp(word + n - tail, clitics[i], tail) == 0)
            return tail;
    }
    for (size_t i = 0; i < COUNT(doubles); i++)
        if (strlen(doubles[i].word) == n && memcmp(word, doubles[i].word, n) == 0)
            return n - doubles[i].first;
    return 0;
}

static enum status word_put(struct buf *out, const char *word, size_t n)
{
    if (out->len > 0)
        TRY(buf_append(out, " ", 1));
    return buf_append(out, word, n);
}

/* could n't 've: at most two tails. */
static enum status word_split(struct buf *out, const char *word, size_t n)
{
    size_t last = tail_length(word, n);
    size_t middle = last ? tail_length(word, n - last) : 0;
    TRY(word_put(out, word, n - middle - last));
    if (middle)
        TRY(word_put(out, word + n - middle - last, middle));
    return last ? word_put(out, word + n - last, last) : STATUS_OK;
}

/* ---- marks ---- */

/* A clitic that stands alone, as in text that is tokenized already. */
static size_t clitic_length(const char *at)
{
    size_t n = 1;
    while (is_word(at[n]))
        n++;
    return is_one_of(at, n, clitics, COUNT(clitics)) ? n : 0;
}

/* The names that brackets have in the Treebank, also where a text has them already. */
static const struct {
    const char *mark, *name;
} brackets[] = {{"(", "-lrb-"},     {")", "-rrb-"},     {"[", "-lsb-"},     {"]", "-rsb-"},
                {"{", "-lcb-"},     {"}", "-rcb-"},     {"-lrb-", "-lrb-"}, {"-rrb-", "-rrb-"},
                {"-lsb-", "-lsb-"}, {"-rsb-", "-rsb-"}, {"-lcb-", "-lcb-"}, {"-rcb-", "-rcb-"}};

static enum status mark_put(struct buf *out, const char **at)
{
    size_t n = **at == '\'' ? clitic_length(*at) : 0;
    for (size_t i = 0; i < COUNT(brackets) && n == 0; i++)
        if (strncmp(*at, brackets[i].mark, strlen(brackets[i].mark)) == 0) {
            *at += strlen(brackets[i].mark);
            return word_put(out, brackets[i].name, strlen(brackets[i].name));
        }
    if (n == 0 && strchr(".?!,:;\"'`-", **at)) {
        ++*at;
        return STATUS_OK;
    }
    n = n ? n : 1;
    *at += n;
    return word_put(out, *at - n, n);
}

enum status caption_tokenize(const char *text, struct buf *out)
{
    struct buf plain = {.max = out->max};
    buf_clear(out);
    enum status status = text_plain(text, &plain);
    const char *at = (const char *)plain.data;
    while (status == STATUS_OK && *at) {
        if (*at == ' ' || (*at >= '\t' && *at <= '\r')) {
            at++;
        } else if (is_word(*at)) {
            size_t n = word_length(at);
            status = word_split(out, at, n);
            at += n;
        } else {
            status = mark_put(out, &at);
        }
    }
    buf_free(&plain);
    return status == STATUS_OK ? buf_append(out, "", 0) : status;
}
