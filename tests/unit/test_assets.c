// links: server
/* Files that are compiled in: found by their whole name alone, complete, with a tag of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "server/assets.h"
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void a_file_is_as_it_lies_in_the_source_tree(void **state)
{
    (void)state;
    const struct asset *asset = asset_find("app.js");
    char whole[65536];
    assert_non_null(asset);
    FILE *file = fopen(SOURCE_DIR "/web/app.js", "r");
    assert_non_null(file);
    size_t len = fread(whole, 1, sizeof whole, file);
    fclose(file);
    assert_int_equal(len, asset->end - asset->begin);
    assert_memory_equal(whole, asset->begin, len);
    assert_string_equal(asset->type, "text/javascript; charset=utf-8");
}

static void no_other_name_finds_one(void **state)
{
    static const char *const names[] = {"",       "app",       "app.jsx", "../web/app.js",
                                        "APP.JS", "web/app.js"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_null(asset_find(names[i]));
}

static void a_tag_is_quoted_and_follows_the_content(void **state)
{
    char first[ASSET_ETAG], second[ASSET_ETAG];
    (void)state;
    asset_etag((const unsigned char *)"a", 1, first);
    asset_etag((const unsigned char *)"b", 1, second);
    assert_int_equal(strlen(first), 66);
    assert_int_equal(first[0], '"');
    assert_int_equal(first[65], '"');
    assert_string_not_equal(first, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_as_it_lies_in_the_source_tree),
        cmocka_unit_test(no_other_name_finds_one),
        cmocka_unit_test(a_tag_is_quoted_and_follows_the_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
