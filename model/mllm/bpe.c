/* Words, characters and merges of BPE; see bpe.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/mllm/bpe.h"

#include "api/base/utf8.h"
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ---- */

struct bpe_words {
    pcre2_code *pattern;
};

const char BPE_GPT2_WORDS[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"
                              "\\s+(?!\\S)|\\s+";

enum status bpe_words_create(const char *pattern, struct bpe_words **out, struct err *err)
{
    int code = 0;
    size_t at = 0;
    struct bpe_words *words = calloc(1, sizeof *words);
    if (!words)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the pre-tokenizer");
    words->pattern = pcre2_compile((PCRE2_SPTR)pattern, strlen(pattern), PCRE2_UTF | PCRE2_UCP,
                                   &code, &at, NULL);
    if (!words->pattern) {
        PCRE2_UCHAR says[128] = "";
        pcre2_get_error_message(code, says, sizeof says);
        free(words);
        return err_set(err, STATUS_MALFORMED, "pre_tokenizer: the pattern \"%.100s\", byte %zu: %s",
                       pattern, at, (const char *)says);
    }
    pcre2_jit_compile(words->pattern, PCRE2_JIT_COMPLETE); /* optional: it works without */
    *out = words;
    return STATUS_OK;
}

void bpe_words_destroy(struct bpe_words *words)
{
    if (!words)
        return;
    pcre2_code_free(words->pattern);
    free(words);
}

/* The next match at or behind `at`; the text's end when there is none. */
static enum status match_next(const struct bpe_words *words, pcre2_match_data *match,
                              const char *text, size_t len, size_t at, size_t *from, size_t *to,
                              struct err *err)
{
    int rc = pcre2_match(words->pattern, (PCRE2_SPTR)text, len, at,
                         PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK, match, NULL);
    *from = *to = len;
    if (rc == PCRE2_ERROR_NOMATCH)
        return STATUS_OK;
    if (rc <= 0)
        return err_set(err, STATUS_TOO_LARGE,
                       "the pre-tokenizer's pattern takes too long on this text (PCRE2 error %d)",
                       rc);
    *from = pcre2_get_ovector_pointer(match)[0];
    *to = pcre2_get_ovector_pointer(match)[1];
    if (*from < at || *to <= *from || *to > len) /* \K can move a match's start */
        return err_set(err, STATUS_UNSUPPORTED, "the pre-tokenizer's pattern matches backwards");
    return STATUS_OK;
}

enum status bpe_words_each(const struct bpe_words *words, const char *text, size_t len,
                           enum status (*fn)(void *ctx, const char *word, size_t len), void *ctx,
                           struct err *err)
{
    enum status status = STATUS_OK;
    if (!utf8_valid(text, len))
        return err_set(err, STATUS_MALFORMED, "the text is not UTF-8");
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!match)
        return err_set(err, STATUS_NO_MEMORY, "no memory to cut a text into words");
    for (size_t at = 0, from = 0, to = 0; at < len && status == STATUS_OK; at = to) {
        status = match_next(words, match, text, len, at, &from, &to, err);
        if (status == STATUS_OK && from > at)
            status = fn(ctx, text + at, from - at);
        if (status == STATUS_OK && to > from)
            status = fn(ctx, text + from, to - from);
    }
    pcre2_match_data_free(match);
    return status;
}

/* ---- characters ---- */

static bool is_plain(unsigned byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* GPT-2's map: printable Latin-1 bytes are themselves, the others follow from U+0100. */
static unsigned byte_character(unsigned byte)
{
    unsigned next = 0x100;
    if (is_plain(byte))
        return byte;
    for (unsigned b = 0; b < byte; b++)
        next += !is_plain(b);
    return next;
}

enum status bpe_print_bytes(const uint8_t *bytes, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++) {
        unsigned c = byte_character(bytes[i]);
        uint8_t utf8[2] = {(uint8_t)c, 0};
        if (c >= 0x80) {
            utf8[0] = (uint8_t)(0xC0 | c >> 6);
            utf8[1] = (uint8_t)(0x80 | (c & 0x3F));
        }
        TRY(buf_append(out, utf8, c >= 0x80 ? 2 : 1));
    }
    return STATUS_OK;
}

static int character_byte(unsigned character)
{
    if (character < 0x100)
        return is_plain(character) ? (int)character : -1;
    for (unsigned b = 0; b < 0x100; b++)
        if (!is_plain(b) && byte_character(b) == character)
            return (int)b;
    return -1;
}

enum status bpe_parse_bytes(const char *text, size_t len, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < len; i++) {
        unsigned character = p[i];
        if (character >= 0x80) { /* U+0080 .. U+07FF: two bytes */
            if (character < 0xC2 || character > 0xDF || i + 1 == len || (p[i + 1] & 0xC0) != 0x80)
                return STATUS_MALFORMED;
            character = (character & 0x1F) << 6 | (p[++i] & 0x3FU);
        }
        int byte = character_byte(character);
        if (byte < 0)
            return STATUS_MALFORMED;
        TRY(buf_append(out, &(uint8_t){(uint8_t)byte}, 1));
    }
    return STATUS_OK;
}

/* ---- the table of merges: open addressing ---- */

bool bpe_merges_init(struct bpe_merges *merges, size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    merges->slot = malloc(slots * sizeof *merges->slot);
    merges->mask = slots - 1;
    for (size_t i = 0; merges->slot && i < slots; i++)
        merges->slot[i].left = -1;
    return merges->slot != NULL;
}

void bpe_merges_free(struct bpe_merges *merges)
{
    free(merges->slot);
    merges->slot = NULL;
}

static struct bpe_merge *merge_slot(const struct bpe_merges *merges, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)(key * 0x9E3779B97F4A7C15U >> 32) & merges->mask;
    while (merges->slot[i].left >= 0 &&
           (merges->slot[i].left != left || merges->slot[i].right != right))
        i = (i + 1) & merges->mask;
    return &merges->slot[i];
}

bool bpe_merges_add(struct bpe_merges *merges, int32_t left, int32_t right, int32_t merged,
                    int32_t rank)
{
    struct bpe_merge *slot = merge_slot(merges, left, right);
    if (slot->left >= 0)
        return false;
    *slot = (struct bpe_merge){left, right, merged, rank};
    return true;
}

const struct bpe_merge *bpe_merges_find(const struct bpe_merges *merges, int32_t left,
                                        int32_t right)
{
    const struct bpe_merge *slot = merge_slot(merges, left, right);
    return slot->left >= 0 ? slot : NULL;
}

/* ---- merging a word: a linked list of symbols and a heap of the pairs that may merge ---- */

struct candidate {
    int32_t rank, merged;
    uint32_t at;         /* index of the left symbol */
    int32_t left, right; /* the pair it was made for: stale when the symbols changed since */
};

struct merger {
    const struct bpe_merges *merges;
    int32_t *id; /* -1: merged into its left neighbour */
    uint32_t *next, *previous;
    struct candidate *heap;
    size_t heap_count;
};

enum { NONE = UINT32_MAX / 2 }; /* no neighbour */

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(struct merger *m, struct candidate c)
{
    size_t i = m->heap_count++;
    for (; i > 0 && before(&c, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = c;
}

static struct candidate heap_pop(struct merger *m)
{
    struct candidate top = m->heap[0], last = m->heap[--m->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < m->heap_count; i = child) {
        if (child + 1 < m->heap_count && before(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!before(&m->heap[child], &last))
            break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

static void offer(struct merger *m, uint32_t at)
{
    uint32_t right = at == NONE ? NONE : m->next[at];
    if (right == NONE)
        return;
    const struct bpe_merge *merge = bpe_merges_find(m->merges, m->id[at], m->id[right]);
    if (merge)
        heap_push(m, (struct candidate){merge->rank, merge->merged, at, merge->left, merge->right});
}

static void merge_all(struct merger *m)
{
    while (m->heap_count > 0) {
        struct candidate c = heap_pop(m);
        uint32_t right = m->next[c.at];
        if (m->id[c.at] != c.left || right == NONE || m->id[right] != c.right)
            continue;
        m->id[c.at] = c.merged;
        m->id[right] = -1;
        m->next[c.at] = m->next[right];
        if (m->next[right] != NONE)
            m->previous[m->next[right]] = c.at;
        offer(m, m->previous[c.at]);
        offer(m, c.at);
    }
}

static void merger_run(struct merger *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        m->next[i] = i + 1 < n ? (uint32_t)i + 1 : NONE;
        m->previous[i] = i > 0 ? (uint32_t)i - 1 : NONE;
    }
    for (size_t i = 0; i < n; i++)
        offer(m, (uint32_t)i);
    merge_all(m);
}

enum status bpe_merge_word(const struct bpe_merges *merges, int32_t *ids, size_t n, size_t *count)
{
    enum { SMALL = 64 };
    struct candidate small_heap[3 * SMALL];
    uint32_t small_links[2 * SMALL];
    struct merger m = {.merges = merges, .id = ids, .heap = small_heap, .next = small_links};
    if (n >= NONE)
        return STATUS_TOO_LARGE;
    if (n > SMALL) { /* every merge offers two pairs: at most n + 2(n - 1) candidates */
        m.heap = malloc(3 * n * sizeof *m.heap);
        m.next = malloc(2 * n * sizeof *m.next);
    }
    if (m.heap && m.next) {
        m.previous = m.next + n;
        merger_run(&m, n);
        *count = 0;
        for (size_t i = 0; i < n; i++)
            if (ids[i] >= 0)
                ids[(*count)++] = ids[i];
    }
    enum status status = m.heap && m.next ? STATUS_OK : STATUS_NO_MEMORY;
    if (m.heap != small_heap)
        free(m.heap);
    if (m.next != small_links)
        free(m.next);
    return status;
}
