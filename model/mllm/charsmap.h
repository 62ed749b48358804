/* SentencePiece's precompiled character map (nmt_nfkc and its like): the longest string at the
 * front of a text that has a replacement. The file is a double array trie of Darts-clone, as
 * little-endian words, and the replacements, NUL-terminated. Internal to model/mllm.
 *
 * Reference: SentencePiece's normalizer.cc; github.com/s-yata/darts-clone. */
#ifndef CDCCA_CHARSMAP_H
#define CDCCA_CHARSMAP_H

#include "api/base/status.h"
#include <stddef.h>
#include <stdint.h>

struct charsmap {
    uint32_t *unit; /* NULL: nothing is replaced */
    size_t units;
    char *strings;
    size_t strings_len;
};

/* Copies. Whatever the bytes are, lookups stay within them and replacements are UTF-8. */
enum status charsmap_init(struct charsmap *map, const void *bytes, size_t len, struct err *err);
void charsmap_free(struct charsmap *map);
/* The replacement and how many bytes of the text it stands for; NULL when there is none. */
const char *charsmap_find(const struct charsmap *map, const char *text, size_t len,
                          size_t *key_len);

#endif
