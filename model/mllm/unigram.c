/* Viterbi over the bytes of a text; see unigram.h. Scores are summed and rounded as
 * SentencePiece does it: ties and near ties then go the same way. */
#include "model/mllm/unigram.h"

#include "model/mllm/char_bpe.h"
#include "model/mllm/unicode.h"
#include <stdlib.h>

struct node { /* the best way to reach a place of the text */
    float score;
    int32_t id;     /* its last token */
    int32_t before; /* bytes of that token; 0: not reached */
};

void unigram_free(struct unigram *unigram)
{
    trie_free(&unigram->pieces);
    free(unigram->score);
    unigram->score = NULL;
}

static void offer(struct node *node, double score, int32_t id, size_t len)
{
    if (node->before == 0 || score > (double)node->score)
        *node = (struct node){(float)score, id, (int32_t)len};
}

/* Everything that starts at the node's place; size: bytes of the character there. */
static void node_extend(const struct unigram *u, struct node *node, const char *text, size_t len,
                        size_t size)
{
    enum { PENALTY = 10 }; /* below the lowest score */
    bool covered = false;  /* a token is the character itself */
    uint32_t at = 0;
    for (size_t i = 0; i < len && (at = trie_step(&u->pieces, at, text[i])) != 0; i++) {
        int32_t id = u->pieces.value[at];
        if (id < 0)
            continue;
        double score = u->vocab->tokens[id].kind == TOKEN_USER
                           ? (double)((float)(i + 1) * u->highest) - 0.1
                           : (double)u->score[id];
        offer(&node[i + 1], score + (double)node->score, id, i + 1);
        covered = covered || i + 1 == size;
    }
    if (!covered)
        offer(&node[size], (double)(u->lowest - PENALTY + node->score), u->unknown, size);
}

/* Turns the best path around: afterwards .before at a place is the bytes of the token there. */
static void path_turn(struct node *node, size_t len)
{
    int32_t forward = 0, id = -1;
    for (size_t at = len;; at -= (size_t)forward) {
        struct node here = node[at];
        node[at].before = forward;
        node[at].id = id;
        if (at == 0)
            return;
        forward = here.before;
        id = here.id;
    }
}

static enum status path_print(const struct unigram *u, const struct node *node, const char *text,
                              size_t len, struct ids *out)
{
    bool run = false;
    for (size_t i = 0; i < len; i += (size_t)node[i].before) {
        size_t size = 0;
        if (node[i].id != u->unknown) {
            TRY(ids_put(out, node[i].id));
            run = false;
            continue;
        }
        uint32_t c = unicode_get(text + i, len - i, &size);
        TRY(char_bpe_fallback(u->vocab, u->bytes, u->unknown, true, c, &run, out));
    }
    return STATUS_OK;
}

enum status unigram_encode(const struct unigram *unigram, const char *text, size_t len,
                           struct ids *out)
{
    size_t size = 0;
    if (len >= INT32_MAX)
        return STATUS_TOO_LARGE;
    struct node *node = calloc(len + 1, sizeof *node);
    if (!node)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < len; i += size) {
        unicode_get(text + i, len - i, &size);
        node_extend(unigram, node + i, text + i, len - i, size);
    }
    path_turn(node, len);
    enum status status = path_print(unigram, node, text, len, out);
    free(node);
    return status;
}
