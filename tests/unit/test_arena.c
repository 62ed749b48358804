// Arena: alignment, the cap, marks, and what an overflowing count gets.
// links: base
#include "api/base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void allocations_are_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    assert_true(arena_init(&arena, 1 << 16));
    unsigned char *last = NULL;
    for (size_t size = 1; size < 200; size += 7) {
        unsigned char *p = arena_alloc(&arena, size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        assert_true(!last || p > last);
        memset(p, 0xab, size);
        last = p + size - 1;
    }
    arena_deinit(&arena);
}

static void the_cap_holds(void **state)
{
    (void)state;
    struct arena arena;
    assert_true(arena_init(&arena, 8192));
    assert_null(arena_alloc(&arena, 8193));
    assert_non_null(arena_alloc(&arena, 8192));
    assert_null(arena_alloc(&arena, 1));
    assert_null(arena_alloc(&arena, 0));
    arena_deinit(&arena);
}

static void overflowing_sizes_are_refused(void **state)
{
    (void)state;
    struct arena arena;
    assert_false(arena_init(&arena, SIZE_MAX));
    assert_false(arena_init(&arena, SIZE_MAX / 2));
    assert_true(arena_init(&arena, 4096));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 63));
    assert_null(arena_zalloc(&arena, SIZE_MAX / 2, 4));
    assert_int_equal(arena.used, 0);
    arena_deinit(&arena);
}

static void a_reset_frees_what_came_after_the_mark(void **state)
{
    (void)state;
    struct arena arena;
    assert_true(arena_init(&arena, 1 << 16));
    char *kept = arena_strdup(&arena, "kept");
    size_t mark = arena.used;
    unsigned char *first = arena_alloc(&arena, 1000);
    memset(first, 0xff, 1000);
    size_t peak = arena.used;
    arena_reset(&arena, mark);
    unsigned char *again = arena_zalloc(&arena, 10, 50);
    assert_ptr_equal(first, again);
    for (int i = 0; i < 500; i++)
        assert_int_equal(again[i], 0);
    assert_string_equal(kept, "kept");
    assert_int_equal(arena.peak, peak);
    arena_reset(&arena, arena.used + 100);
    assert_string_equal(kept, "kept");
    arena_deinit(&arena);
}

static void a_large_cap_costs_nothing(void **state)
{
    (void)state;
    struct arena arena;
    assert_true(arena_init(&arena, (size_t)1 << 36));
    char *text = arena_strdup(&arena, "text");
    assert_non_null(text);
    assert_string_equal(text, "text");
    arena_deinit(&arena);
    assert_null(arena.base);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(the_cap_holds),
        cmocka_unit_test(overflowing_sizes_are_refused),
        cmocka_unit_test(a_reset_frees_what_came_after_the_mark),
        cmocka_unit_test(a_large_cap_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
