/* cdcca-model verify on small models made here: what agrees passes, what differs fails and says
 * where, and directories that are wrong or incomplete are refused with a reason (tests/data/verify:
 * one folder per case, `expect` holds the status and words of the error). */
// links: tool
#include "model/tool/verify.h"

#include "tiny_llama.h"
#include <dirent.h>
#include <unistd.h>

enum { V = 30, T = 5 };

static char dir[64];
static struct mllm *model;
static struct verify_report report;
static const int32_t IDS[T] = {1, 7, 22, 3, 19};

static int setup(void **state)
{
    struct err err = {0};
    (void)state;
    model = tiny_llama(V, 3, 10);
    snprintf(dir, sizeof dir, "/tmp/cdcca-test-XXXXXX");
    if (!mkdtemp(dir) || mllm_save(io_posix(), model, dir, DTYPE_F32, &err) != STATUS_OK)
        return -1;
    return 0;
}

static void file_remove(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
}

static int teardown(void **state)
{
    static const char *const files[] = {"config.json", "preprocessor_config.json",
                                        "model.safetensors", "expected.json", "inputs.json"};
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        file_remove(files[i]);
    rmdir(dir);
    mllm_release(model);
    return 0;
}

static void file_put(const char *name, const void *data, size_t len)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(io_write_file(io_posix(), path, data, len, NULL), STATUS_OK);
}

/* ---- a directory that agrees, but for what a test moves ---- */

struct reference {
    float logits[T][V];
    double loss;
    int32_t greedy[3];
};

static void reference_compute(struct reference *r)
{
    int32_t ids[T + 3];
    float logits[V];
    memcpy(ids, IDS, sizeof IDS);
    for (int t = 0; t < T; t++)
        tiny_logits(model, IDS, t + 1, r->logits[t]);
    r->loss = 0;
    for (int t = 0; t + 1 < T; t++)
        r->loss -= tiny_log_probability(r->logits[t], V, IDS[t + 1]) / (T - 1);
    for (int i = 0; i < 3; i++) {
        tiny_logits(model, ids, T + i, logits);
        ids[T + i] = r->greedy[i] = sampling_largest(logits, V);
    }
}

__attribute__((format(printf, 2, 3))) static void text_add(struct buf *out, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_int_equal(buf_append(out, text, (size_t)n), STATUS_OK);
}

static void reference_write(const struct reference *r)
{
    static const char inputs[] = "{\"single\": {\"input_ids\": [[1, 7, 22, 3, 19]], "
                                 "\"labels\": [[1, 7, 22, 3, 19]]}}";
    struct buf out = {.max = 1 << 20};
    text_add(&out, "{\"single\": {\"loss\": %.9g, \"logits\": {\"values\": [", r->loss);
    for (int i = 0; i < T * V; i++)
        text_add(&out, "%s%.9g", i ? ", " : "", (double)r->logits[i / V][i % V]);
    text_add(&out, "]}}, \"greedy\": {\"new_token_ids\": [%d, %d, %d]}}", r->greedy[0],
             r->greedy[1], r->greedy[2]);
    file_put("expected.json", out.data, out.len);
    file_put("inputs.json", inputs, sizeof inputs - 1);
    buf_free(&out);
}

static void run(void)
{
    struct err err = {0};
    if (verify_directory(io_posix(), dir, &report, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static enum status command(void)
{
    char program[] = "verify", json[] = "--json";
    char *argv[] = {program, dir, json, NULL};
    return verify_run(3, argv, NULL);
}

static const struct verify_check *check_of(const char *name)
{
    for (int i = 0; i < report.count; i++)
        if (strcmp(report.check[i].name, name) == 0)
            return &report.check[i];
    fail_msg("no check %s", name);
    return &report.check[0];
}

static void what_agrees_passes(void **state)
{
    struct reference r = {0};
    (void)state;
    reference_compute(&r);
    reference_write(&r);
    run();
    assert_int_equal(report.count, 3);
    for (int i = 0; i < report.count; i++)
        assert_true(verify_passes(&report.check[i], 1e-4));
    assert_int_equal(command(), STATUS_OK);
}

static void a_difference_fails_and_says_where(void **state)
{
    struct reference r = {0};
    (void)state;
    reference_compute(&r);
    r.logits[3][11] += 0.01F;
    reference_write(&r);
    run();
    const struct verify_check *c = check_of("single logits");
    assert_float_equal(c->difference, 0.01, 1e-4);
    assert_non_null(strstr(c->where, "[101]"));
    assert_false(verify_passes(c, 1e-4));
    assert_true(verify_passes(c, 0.02));
    assert_true(verify_passes(check_of("single loss"), 1e-4));
    assert_int_equal(command(), STATUS_DIFFERS);
}

static void other_ids_fail_at_any_tolerance(void **state)
{
    struct reference r = {0};
    (void)state;
    reference_compute(&r);
    r.greedy[1] = (r.greedy[1] + 1) % V;
    reference_write(&r);
    run();
    const struct verify_check *c = check_of("greedy ids");
    assert_true(c->difference >= 1);
    assert_false(verify_passes(c, 1e6));
    assert_non_null(strstr(c->where, "first at [1] of 3"));
}

static void what_is_no_number_fails(void **state)
{
    const struct verify_check c = {.difference = (double)NAN};
    (void)state;
    assert_false(verify_passes(&c, 1e6));
}

/* ---- directories that are wrong ---- */

static bool copy_file(const char *folder, const char *name)
{
    char path[8192];
    struct buf file = {.max = 1 << 20};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    bool there = io_exists(path);
    if (there) {
        assert_int_equal(io_read_file(io_posix(), path, &file, NULL), STATUS_OK);
        file_put(name, file.data, file.len);
    } else {
        file_remove(name);
    }
    buf_free(&file);
    return there;
}

static void bad_case(const char *folder)
{
    char path[8192], *words;
    struct buf expect = {.max = 4096};
    struct err err = {0};
    snprintf(path, sizeof path, "%s/expect", folder);
    assert_int_equal(io_read_file(io_posix(), path, &expect, NULL), STATUS_OK);
    assert_int_equal(buf_append(&expect, "", 1), STATUS_OK);
    copy_file(folder, "expected.json");
    copy_file(folder, "inputs.json");
    enum status status = verify_directory(io_posix(), dir, &report, &err);
    words = strstr((char *)expect.data, ": ");
    assert_non_null(words);
    *words = '\0';
    words += 2;
    words[strcspn(words, "\n")] = '\0';
    if (strcmp(status_name(status), (const char *)expect.data) != 0 || !strstr(err.text, words))
        fail_msg("%s: %s, \"%s\"; expected %s and \"%s\"", folder, status_name(status), err.text,
                 (const char *)expect.data, words);
    buf_free(&expect);
}

static void bad_directories_are_errors(void **state)
{
    DIR *cases = opendir(SOURCE_DIR "/tests/data/verify");
    int n = 0;
    (void)state;
    assert_non_null(cases);
    for (const struct dirent *e; (e = readdir(cases)) != NULL;) {
        char folder[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(folder, sizeof folder, SOURCE_DIR "/tests/data/verify/%s", e->d_name);
        bad_case(folder);
        n++;
    }
    closedir(cases);
    assert_true(n >= 15);
}

static void a_missing_model_is_an_error(void **state)
{
    struct err err = {0};
    (void)state;
    copy_file(SOURCE_DIR "/tests/data/verify/flat_ids", "expected.json");
    file_remove("config.json");
    assert_int_equal(verify_directory(io_posix(), dir, &report, &err), STATUS_NOT_FOUND);
    assert_non_null(strstr(err.text, "config.json"));
    assert_int_equal(verify_directory(io_posix(), "/nowhere", &report, &err), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_agrees_passes),
        cmocka_unit_test(a_difference_fails_and_says_where),
        cmocka_unit_test(other_ids_fail_at_any_tolerance),
        cmocka_unit_test(what_is_no_number_fails),
        cmocka_unit_test(bad_directories_are_errors),
        cmocka_unit_test(a_missing_model_is_an_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
