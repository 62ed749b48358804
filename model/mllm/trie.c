/* Prefixes of a text that are keys; see trie.h. */
#include "model/mllm/trie.h"

#include <stdlib.h>

bool trie_init(struct trie *trie, size_t bytes)
{
    size_t slots = 16, nodes = bytes + 1;
    *trie = (struct trie){0};
    if (bytes >= UINT32_MAX / 2)
        return false;
    while (slots < 2 * nodes)
        slots *= 2;
    trie->edge = calloc(slots, sizeof *trie->edge);
    trie->value = malloc(nodes * sizeof *trie->value);
    if (!trie->edge || !trie->value) {
        trie_free(trie);
        return false;
    }
    trie->mask = slots - 1;
    trie->cap = (uint32_t)nodes;
    trie->nodes = 1;
    trie->value[0] = -1;
    return true;
}

void trie_free(struct trie *trie)
{
    free(trie->edge);
    free(trie->value);
    *trie = (struct trie){0};
}

static struct trie_edge *edge_slot(const struct trie *trie, uint32_t node, uint8_t byte)
{
    uint64_t key = (uint64_t)node << 8 | byte;
    size_t i = (size_t)(key * 0x9E3779B97F4A7C15U >> 32) & trie->mask;
    while (trie->edge[i].to && (trie->edge[i].from != node || trie->edge[i].byte != byte))
        i = (i + 1) & trie->mask;
    return &trie->edge[i];
}

bool trie_add(struct trie *trie, const char *key, size_t len, int32_t value)
{
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) {
        struct trie_edge *edge = edge_slot(trie, node, (uint8_t)key[i]);
        if (!edge->to) {
            if (trie->nodes == trie->cap)
                return false;
            *edge = (struct trie_edge){node, trie->nodes++, (uint8_t)key[i]};
            trie->value[edge->to] = -1;
        }
        node = edge->to;
    }
    if (node == 0 || trie->value[node] >= 0)
        return false;
    trie->value[node] = value;
    return true;
}

uint32_t trie_step(const struct trie *trie, uint32_t node, char byte)
{
    return trie->nodes ? edge_slot(trie, node, (uint8_t)byte)->to : 0;
}

int32_t trie_longest(const struct trie *trie, const char *text, size_t len, size_t *key_len)
{
    int32_t value = -1;
    uint32_t node = 0;
    for (size_t i = 0; i < len && (node = trie_step(trie, node, text[i])) != 0; i++)
        if (trie->value[node] >= 0) {
            value = trie->value[node];
            *key_len = i + 1;
        }
    return value;
}
