/* Range, If-Range and If-None-Match: the first line is the header's value, the second an entity
 * tag, the third the file's size. A part is always one of the file. */
#include "api/http/range.h"
#include "fuzz.h"

enum { TEXT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[TEXT_MAX];
    if (len >= sizeof text)
        return 0;
    memcpy(text, data, len);
    text[len] = '\0';
    char *rest = text, *header = strsep(&rest, "\n");
    const char *tag = rest ? strsep(&rest, "\n") : "\"a\"";
    uint64_t size = rest ? strtoull(rest, NULL, 10) : 1000, first = 0, last = 0;
    enum range_kind kind = range_parse(header, size, &first, &last);
    FUZZ_HOLDS(kind == RANGE_WHOLE || kind == RANGE_PART || kind == RANGE_UNSATISFIABLE);
    FUZZ_HOLDS(kind != RANGE_PART || (first <= last && last < size));
    FUZZ_HOLDS(size > 0 || kind != RANGE_PART);
    bool listed = etag_listed(header, tag);
    FUZZ_HOLDS(!listed || strchr(header, '*') || strstr(header, tag));
    FUZZ_HOLDS(etag_range_allowed(tag, tag) && etag_range_allowed(NULL, tag));
    return 0;
}
