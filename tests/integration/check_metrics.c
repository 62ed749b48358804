/* Reads metrics from stdin; 0 when they are well formed (exposition.h). */
#include "tests/unit/exposition.h"

int main(void)
{
    static struct exposition e;
    static char text[1 << 20];
    size_t len = fread(text, 1, sizeof text - 1, stdin);
    text[len] = '\0';
    if (exposition_check(&e, text))
        return 0;
    fprintf(stderr, "%s, near %s\n", e.problem,
            e.series_count ? e.series[e.series_count - 1] : "the start");
    return 1;
}
