/* One table-free decoder step; the two other functions walk with it. */
#include "api/base/utf8.h"
#include <stdint.h>
#include <string.h>

size_t utf8_sequence(const char *text, size_t len)
{
    if (len == 0)
        return 0;
    unsigned char lead = (unsigned char)text[0];
    if (lead < 0x80)
        return 1;
    size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || need > len)
        return 0;
    uint32_t point = lead & (0xffu >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (c & 0x3fu);
    }
    bool overlong = (need == 3 && point < 0x800) || (need == 4 && point < 0x10000);
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return overlong || surrogate || point > 0x10ffff ? 0 : need;
}

bool utf8_valid(const char *text, size_t len)
{
    size_t step;
    for (size_t i = 0; i < len; i += step)
        if ((step = utf8_sequence(text + i, len - i)) == 0)
            return false;
    return true;
}

void utf8_clean(char *text)
{
    size_t len = strlen(text), step;
    for (size_t i = 0; i < len; i += step) {
        step = utf8_sequence(text + i, len - i);
        if (step == 0) {
            text[i] = '?';
            step = 1;
        }
    }
}
