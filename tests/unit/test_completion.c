/* Completions: prompts of unequal lengths in one call give each row what it gets alone, streamed
 * pieces make the text, every way to end is told apart, and wrong prompts are refused. */
// links: mllm
#include "api/base/utf8.h"
#include "model/mllm/completion.h"
#include "tiny_llama.h"
#include <unistd.h>

enum { V = 300, NEW = 12, ROWS = 3 };

static struct mllm *model;
static const int32_t A[] = {5, 17, 200}, B[] = {9}, C[] = {44, 3, 120, 7, 260, 31};
static const struct prompt PROMPTS[ROWS] = {
    {.text = A, .text_count = 3}, {.text = B, .text_count = 1}, {.text = C, .text_count = 6}};

static int setup(void **state)
{
    static const char *const texts[] = {"what color is the circle?", "where is the red square"};
    static const char *const specials[] = {"<pad>", "<s>", "</s>"};
    char dir[] = "/tmp/cdcca-test-XXXXXX", path[64];
    (void)state;
    model = tiny_llama(V, 5, 12);
    if (!mkdtemp(dir) ||
        tokenizer_train(io_posix(), dir, texts, 2, V, specials, 3, NULL) != STATUS_OK ||
        tokenizer_load(io_posix(), dir, &model->tokenizer, NULL) != STATUS_OK)
        return -1;
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    unlink(path);
    return rmdir(dir);
}

static int teardown(void **state)
{
    (void)state;
    mllm_release(model);
    return 0;
}

struct heard {
    char text[ROWS][1024];
    int tokens[ROWS], ends[ROWS];
    int stop_row, stop_after;
};

static bool hear(void *ctx, int row, const struct token *token, const char *piece)
{
    struct heard *h = ctx;
    assert_true(utf8_valid(piece, strlen(piece)));
    strncat(h->text[row], piece, sizeof h->text[row] - strlen(h->text[row]) - 1);
    h->tokens[row] += token != NULL;
    h->ends[row] += token == NULL;
    return row != h->stop_row || h->tokens[row] < h->stop_after;
}

static void complete(const struct prompt *prompts, int n, struct completion_settings *how,
                     struct heard *heard, struct completion *out)
{
    struct err err = {0};
    *heard = (struct heard){.stop_row = -1};
    how->on_piece = hear;
    how->ctx = heard;
    if (completion_run(model, NULL, prompts, n, how, out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static void rows_equal_each_alone_and_pieces_make_the_text(void **state)
{
    struct completion_settings how = {.generation = {.max_new = NEW}};
    struct completion all[ROWS], one;
    struct heard heard, alone;
    (void)state;
    complete(PROMPTS, ROWS, &how, &heard, all);
    for (int r = 0; r < ROWS; r++) {
        complete(&PROMPTS[r], 1, &how, &alone, &one);
        assert_int_equal(one.made.taken, all[r].made.taken);
        assert_memory_equal(one.made.ids, all[r].made.ids, (size_t)one.made.count * 4);
        assert_string_equal(one.text, all[r].text);
        assert_string_equal(heard.text[r], all[r].text);
        assert_int_equal(heard.tokens[r], all[r].made.taken);
        assert_int_equal(heard.ends[r], 1);
        completion_free(&one, 1);
    }
    completion_free(all, ROWS);
}

static void beams_have_texts_too(void **state)
{
    struct completion_settings how = {.generation = {.max_new = NEW, .beams = 4}};
    struct completion out[ROWS];
    struct heard heard;
    (void)state;
    how.generation.length_penalty = 1;
    complete(PROMPTS, ROWS, &how, &heard, out);
    for (int r = 0; r < ROWS; r++) {
        assert_string_equal(heard.text[r], out[r].text);
        assert_int_equal(heard.tokens[r], out[r].made.taken);
    }
    completion_free(out, ROWS);
}

static void every_end_is_told(void **state)
{
    struct completion_settings how = {.generation = {.max_new = NEW}};
    struct completion plain[ROWS], out;
    struct heard heard;
    int32_t stop;
    char text[3] = "";
    (void)state;
    complete(PROMPTS, ROWS, &how, &heard, plain);
    assert_int_equal(plain[0].end, COMPLETION_LENGTH);
    /* a stop token */
    stop = plain[0].made.ids[3];
    how.generation.stop = &stop, how.generation.stop_count = 1;
    complete(PROMPTS, 1, &how, &heard, &out);
    assert_int_equal(out.end, COMPLETION_TOKEN);
    assert_true(out.made.count <= 3 && out.made.taken == out.made.count + 1);
    completion_free(&out, 1);
    /* a stop string: a character of the middle of the text */
    const char *at = strpbrk(plain[0].text + 2, "abcdefghijklmnopqrstuvwxyz");
    assert_non_null(at);
    text[0] = *at;
    how = (struct completion_settings){.generation = {.max_new = NEW}, .stop_count = 1};
    how.stop = &(const char *){text};
    complete(PROMPTS, 1, &how, &heard, &out);
    assert_int_equal(out.end, COMPLETION_STRING);
    assert_int_equal(strlen(out.text), strcspn(plain[0].text, text));
    assert_int_equal(strncmp(out.text, plain[0].text, strlen(out.text)), 0);
    completion_free(&out, 1);
    completion_free(plain, ROWS);
}

static void the_caller_may_end_a_row(void **state)
{
    struct completion_settings how = {.generation = {.max_new = NEW}};
    struct completion out[ROWS];
    struct heard heard = {.stop_row = 1, .stop_after = 2};
    (void)state;
    how.on_piece = hear;
    how.ctx = &heard;
    assert_int_equal(completion_run(model, NULL, PROMPTS, ROWS, &how, out, NULL), STATUS_OK);
    assert_int_equal(out[1].end, COMPLETION_CALLER);
    assert_int_equal(out[1].made.count, 2);
    assert_int_equal(out[0].end, COMPLETION_LENGTH);
    assert_int_equal(out[0].made.count, NEW);
    completion_free(out, ROWS);
}

/* Of each token taken: its log-probability, from the logits that were seen before it. */
struct seen {
    float log_probability[NEW];
    int32_t largest[NEW];
    int count;
};

static void see(void *ctx, int row, const float *logits)
{
    struct seen *s = ctx;
    assert_int_equal(row, 0);
    s->largest[s->count] = sampling_largest(logits, V);
    s->log_probability[s->count] = logits[s->largest[s->count]] - sampling_normaliser(logits, V);
    s->count++;
}

static void logits_are_seen_before_each_token(void **state)
{
    struct completion_settings how = {.generation = {.max_new = NEW}, .on_logits = see};
    struct completion out;
    struct seen seen = {0};
    (void)state;
    how.ctx = &seen;
    assert_int_equal(completion_run(model, NULL, PROMPTS, 1, &how, &out, NULL), STATUS_OK);
    assert_int_equal(seen.count, out.made.taken);
    for (int i = 0; i < seen.count; i++) {
        assert_int_equal(seen.largest[i], out.made.tokens[i].id); /* greedy */
        assert_true(fabsf(seen.log_probability[i] - out.made.tokens[i].log_probability) < 1e-5F);
    }
    completion_free(&out, 1);
}

static void wrong_prompts_are_refused(void **state)
{
    static const int32_t ids[200] = {1, V, 2};
    static const char *const empty[] = {""};
    struct completion_settings how = {.generation = {.max_new = 4}};
    struct completion out;
    (void)state;
    struct prompt prompt = {.text = ids, .text_count = 3};
    assert_int_equal(completion_run(model, NULL, &prompt, 1, &how, &out, NULL), STATUS_MALFORMED);
    prompt.text_count = 0;
    assert_int_equal(completion_run(model, NULL, &prompt, 1, &how, &out, NULL), STATUS_MALFORMED);
    prompt = (struct prompt){.text = ids + 3, .text_count = 95};
    assert_int_equal(completion_run(model, NULL, &prompt, 1, &how, &out, NULL), STATUS_TOO_LARGE);
    prompt.text_count = 3;
    how.stop = empty, how.stop_count = 1;
    assert_int_equal(completion_run(model, NULL, &prompt, 1, &how, &out, NULL), STATUS_USAGE);
    how = (struct completion_settings){.generation = {.max_new = 0}};
    assert_int_equal(completion_run(model, NULL, &prompt, 1, &how, &out, NULL), STATUS_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_equal_each_alone_and_pieces_make_the_text),
        cmocka_unit_test(beams_have_texts_too),
        cmocka_unit_test(every_end_is_told),
        cmocka_unit_test(the_caller_may_end_a_row),
        cmocka_unit_test(logits_are_seen_before_each_token),
        cmocka_unit_test(wrong_prompts_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
