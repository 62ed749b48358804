/* How a camera was held: the orientation in EXIF data, and turning pixels accordingly. EXIF is a
 * TIFF directory; the one entry wanted is looked up in its first directory. EXIF that is damaged or
 * says nothing means upright, because the pixels beside it are fine. */
#include "model/task/image_codec.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { UPRIGHT = 1, ENTRY = 12, TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3 };

/* n <= 4 bytes as one number */
static uint32_t number(const uint8_t *at, int n, bool big)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | at[big ? i : n - 1 - i];
    return v;
}

int image_exif_orientation(const uint8_t *tiff, size_t len)
{
    if (len < 8 || (memcmp(tiff, "MM\0*", 4) != 0 && memcmp(tiff, "II*\0", 4) != 0))
        return UPRIGHT;
    bool big = tiff[0] == 'M';
    size_t at = number(tiff + 4, 4, big);
    if (at > len - 2)
        return UPRIGHT;
    uint32_t entries = number(tiff + at, 2, big);
    at += 2;
    for (; entries > 0 && len - at >= ENTRY; entries--, at += ENTRY) {
        const uint8_t *entry = tiff + at;
        if (number(entry, 2, big) != TAG_ORIENTATION)
            continue;
        uint32_t value = number(entry + 8, 2, big);
        bool fits = number(entry + 2, 2, big) == TYPE_SHORT && number(entry + 4, 4, big) == 1;
        return fits && value >= 1 && value <= 8 ? (int)value : UPRIGHT;
    }
    return UPRIGHT;
}

/* Each orientation is a choice of three: exchange the axes, run backwards along either. */
enum status image_turn(struct image *image, int orientation, struct err *err)
{
    static const struct {
        bool exchange, back_x, back_y; /* of the stored image's axes */
    } turns[] = {{0, 0, 0}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1},
                 {1, 0, 0}, {1, 0, 1}, {1, 1, 1}, {1, 1, 0}};
    if (orientation <= UPRIGHT || orientation > 8)
        return STATUS_OK;
    bool exchange = turns[orientation].exchange;
    int w = image->width, h = image->height;
    struct image out = {exchange ? h : w, exchange ? w : h, malloc((size_t)w * (size_t)h * 3)};
    if (!out.rgb)
        return err_set(err, STATUS_NO_MEMORY, "no memory to turn an image");
    uint8_t *to = out.rgb;
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++, to += 3) {
            int u = exchange ? y : x, v = exchange ? x : y;
            u = turns[orientation].back_x ? w - 1 - u : u;
            v = turns[orientation].back_y ? h - 1 - v : v;
            memcpy(to, image->rgb + ((size_t)v * (size_t)w + (size_t)u) * 3, 3);
        }
    image_free(image);
    *image = out;
    return STATUS_OK;
}
