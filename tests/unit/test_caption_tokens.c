// Words of captions: what the COCO evaluation makes of raw text.
// links: task
#include "api/base/rng.h"
#include "model/task/caption_tokens.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *text, const char *words)
{
    struct buf out = {.max = 1 << 16};
    assert_int_equal(caption_tokenize(text, &out), STATUS_OK);
    assert_string_equal((const char *)out.data, words);
    buf_free(&out);
}

static void words_are_small_and_without_punctuation(void **state)
{
    (void)state;
    expect("A man, riding a wave.", "a man riding a wave");
    expect("  Two  dogs\tplay;\nthey run!  ", "two dogs play they run");
    expect("\"Stop\" sign: (red) 'here'?", "stop sign -lrb- red -rrb- here");
    expect("wait... what -- no - yes", "wait what no yes");
    expect("one,two", "one two");
}

static void words_keep_what_joins_them(void **state)
{
    (void)state;
    expect("a black-and-white cat", "a black-and-white cat");
    expect("1,000 people at 10:30 on a 3.5 ft board", "1,000 people at 10:30 on a 3.5 ft board");
    expect("the U.S. flag", "the u.s. flag");
    expect("Mr. Fox on 5th St. today.", "mr. fox on 5th st. today");
    expect("the end.", "the end");
    expect("salt & pepper, 50% and $5", "salt & pepper 50 % and $ 5");
}

static void contractions_are_two_words(void **state)
{
    (void)state;
    expect("don't", "do n't");
    expect("It's the man's dog", "it 's the man 's dog");
    expect("They\xe2\x80\x99re at the girls' house", "they 're at the girls house");
    expect("couldn't've cannot gonna", "could n't 've can not gon na");
    expect("o'clock", "o'clock");
}

static void other_letters_pass(void **state)
{
    (void)state;
    expect("un caf\xc3\xa9 \xe2\x80\x9c"
           "bleu\xe2\x80\x9d\xe2\x80\xa6",
           "un caf\xc3\xa9 bleu");
    expect("\xe7\x8c\xab \xff\xfe", "\xe7\x8c\xab \xff\xfe");
    expect("a\xc2\xa0"
           "b",
           "a b");
}

static void nothing_gives_nothing(void **state)
{
    (void)state;
    expect("", "");
    expect(" .,!?'\"`-- ", "");
}

static void tokenized_text_stays(void **state)
{
    (void)state;
    expect("it 's a man who do n't -lrb- look -rrb- like mr. fox",
           "it 's a man who do n't -lrb- look -rrb- like mr. fox");
    expect("she ca n't 've seen the u.s. dogs at 10:30",
           "she ca n't 've seen the u.s. dogs at 10:30");
}

/* Whatever goes in: small words, one blank between two, none of them a mark alone. */
static void random_text_gives_words(void **state)
{
    (void)state;
    static const char alphabet[] = "aAbntsl'. ,-(\xc3\xa9"
                                   "0";
    for (uint64_t i = 0; i < 20000; i++) {
        struct buf out = {.max = 1 << 12};
        char text[24], *rest = NULL;
        struct rng rng;
        rng_init(&rng, 5, i);
        for (size_t k = 0; k + 1 < sizeof text; k++)
            text[k] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        text[sizeof text - 1] = '\0';
        assert_int_equal(caption_tokenize(text, &out), STATUS_OK);
        char *words = (char *)out.data;
        assert_null(strpbrk(words, "A("));
        assert_null(strstr(words, "  "));
        assert_true(words[0] != ' ' && (out.len == 0 || words[out.len - 1] != ' '));
        for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
            assert_true(strspn(w, "'.,-") < strlen(w));
        buf_free(&out);
    }
}

/* The last word ends where the text does, whatever the size of the memory behind it. */
static void words_of_any_length_end_with_the_text(void **state)
{
    (void)state;
    char text[300] = "";
    for (size_t n = 0; n + 1 < sizeof text; n++) {
        expect(text, text);
        text[n] = n % 7 == 6 ? '-' : 'a';
        if (text[n] == '-')
            text[++n] = '0';
    }
}

static void long_text_is_bounded_by_the_buffer(void **state)
{
    (void)state;
    struct buf out = {.max = 16};
    assert_int_equal(caption_tokenize("a caption of more than sixteen bytes", &out),
                     STATUS_TOO_LARGE);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_small_and_without_punctuation),
        cmocka_unit_test(words_keep_what_joins_them),
        cmocka_unit_test(contractions_are_two_words),
        cmocka_unit_test(other_letters_pass),
        cmocka_unit_test(nothing_gives_nothing),
        cmocka_unit_test(tokenized_text_stays),
        cmocka_unit_test(random_text_gives_words),
        cmocka_unit_test(words_of_any_length_end_with_the_text),
        cmocka_unit_test(long_text_is_bounded_by_the_buffer),
    };
    return cmocka_run_group_tests_name("caption_tokens", tests, NULL, NULL);
}
