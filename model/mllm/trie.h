/* A map from byte strings to ids that is walked byte by byte: which tokens start here? Nodes are
 * numbers, 0 is the root; edges lie in one hash table. Internal to model/mllm. */
#ifndef CDCCA_TRIE_H
#define CDCCA_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trie {
    struct trie_edge {
        uint32_t from, to; /* to 0: free */
        uint8_t byte;
    } * edge;
    size_t mask;
    int32_t *value; /* per node; -1: no key ends here */
    uint32_t nodes, cap;
};

/* Room for keys of `bytes` bytes in all. False without memory. */
bool trie_init(struct trie *trie, size_t bytes);
void trie_free(struct trie *trie);
/* value >= 0. False when the key is empty or there already, or the room is used up. */
bool trie_add(struct trie *trie, const char *key, size_t len, int32_t value);
/* The node behind one more byte, 0 when no key goes on so. An empty (zeroed) trie has no keys. */
uint32_t trie_step(const struct trie *trie, uint32_t node, char byte);
/* Value of the longest key at the front of the text, -1 when there is none. */
int32_t trie_longest(const struct trie *trie, const char *text, size_t len, size_t *key_len);

#endif
