/* Walking a double array that nobody vouches for; see charsmap.h. */
#include "model/mllm/charsmap.h"

#include "api/base/utf8.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint32_t word_at(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

enum status charsmap_init(struct charsmap *map, const void *bytes, size_t len, struct err *err)
{
    const unsigned char *p = bytes;
    *map = (struct charsmap){0};
    if (len < 4 || word_at(p) > len - 4 || word_at(p) % 4 != 0 || word_at(p) == 0)
        return err_set(err, STATUS_MALFORMED,
                       "precompiled_charsmap: its trie does not fit into its %zu bytes", len);
    size_t trie = word_at(p);
    const char *strings = (const char *)p + 4 + trie;
    size_t strings_len = len - 4 - trie;
    if (strings_len == 0 || strings[strings_len - 1] != '\0' || !utf8_valid(strings, strings_len))
        return err_set(err, STATUS_MALFORMED,
                       "precompiled_charsmap: its replacements are no UTF-8 strings");
    map->unit = malloc(trie);
    map->strings = malloc(strings_len);
    if (!map->unit || !map->strings) {
        charsmap_free(map);
        return err_set(err, STATUS_NO_MEMORY, "no memory for a map of %zu bytes", len);
    }
    map->units = trie / 4;
    map->strings_len = strings_len;
    for (size_t i = 0; i < map->units; i++)
        map->unit[i] = word_at(p + 4 + 4 * i);
    memcpy(map->strings, strings, strings_len);
    return STATUS_OK;
}

void charsmap_free(struct charsmap *map)
{
    free(map->unit);
    free(map->strings);
    *map = (struct charsmap){0};
}

/* ---- Darts-clone's units ---- */

static size_t unit_offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1U << 9)) >> 6);
}

static const char *string_at(const struct charsmap *map, size_t offset)
{
    if (offset >= map->strings_len || ((unsigned char)map->strings[offset] & 0xC0) == 0x80)
        return NULL;
    return map->strings + offset;
}

const char *charsmap_find(const struct charsmap *map, const char *text, size_t len, size_t *key_len)
{
    const char *found = NULL;
    if (!map->unit)
        return NULL;
    size_t at = unit_offset(map->unit[0]);
    for (size_t i = 0; i < len; i++) {
        at ^= (unsigned char)text[i];
        if (at >= map->units || (map->unit[at] & (1U << 31 | 0xFF)) != (unsigned char)text[i])
            break;
        uint32_t unit = map->unit[at];
        at ^= unit_offset(unit);
        if (!(unit >> 8 & 1) || at >= map->units)
            continue;
        const char *string = string_at(map, map->unit[at] & ~(1U << 31));
        if (string) {
            found = string;
            *key_len = i + 1;
        }
    }
    return found;
}
