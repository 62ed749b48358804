/* Bad input as data: each folder of tests/data/{safetensors,image,config,preprocess,manifest,
 * envelope,keys} is a case, so that adding one needs no C.
 *   input   the file as it is, or
 *   recipe  a description of its bytes (recipe.h)
 *   expect  line 1: the status. Of a refusal each further line is a part of the error's text; of
 *           what is accepted, a fact: "tensor NAME", "size WxH", "at X Y RRGGBB", "tail N" (bytes
 *           at the end that may be cut off unnoticed), "signatures N", "payload BYTES"
 * A case of tests/data/model is a directory to load: files as they are, or NAME.recipe.
 * Every input, and every truncation of it, ends flush against an unreadable page; reading it takes
 * at most the file's size and 16 MiB. What is no plain file, shrinks or lies behind a link the
 * tests below make themselves. */
// links: task z
#include "api/wire/envelope.h"
#include "api/wire/keyring.h"
#include "api/wire/manifest.h"
#include "api/wire/safetensors.h"
#include "guard.h"
#include "model/mllm/mllm.h"
#include "model/task/image.h"
#include "recipe.h"

#include <dirent.h>
#include <limits.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CASES_MAX = 256, TRUNCATED_BYTES = 1 << 20, MEMORY_ABOVE_FILE = 16 << 20, IMAGE_SIDE = 224 };

/* ---- the parsers ---- */

/* A fact of an expect file, and the parsed thing it is about. */
typedef bool fact_check(const char *fact, const void *parsed);

static bool tensors_fact(const char *fact, const void *parsed)
{
    return strncmp(fact, "tensor ", 7) == 0 && safetensors_find(parsed, fact + 7);
}

static bool image_fact(const char *fact, const void *parsed)
{
    const struct image *image = parsed;
    char is[64];
    if (strncmp(fact, "size ", 5) == 0) {
        snprintf(is, sizeof is, "size %dx%d", image->width, image->height);
        return strcmp(fact, is) == 0;
    }
    char *at;
    long x = strtol(fact + (strncmp(fact, "at ", 3) == 0 ? 3 : 0), &at, 10),
         y = strtol(at, &at, 10);
    if (x < 0 || y < 0 || x >= image->width || y >= image->height)
        return false;
    const uint8_t *rgb = image->rgb + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
    snprintf(is, sizeof is, "at %ld %ld %02x%02x%02x", x, y, rgb[0], rgb[1], rgb[2]);
    return strcmp(fact, is) == 0;
}

static bool no_fact(const char *fact, const void *parsed)
{
    (void)parsed;
    return fact[0] == 0;
}

static bool facts_hold(const char *const *facts, fact_check *check, const void *parsed)
{
    for (; facts && *facts; facts++)
        if (strncmp(*facts, "tail ", 5) != 0 && !check(*facts, parsed)) {
            print_error("not so: %s\n", *facts);
            return false;
        }
    return true;
}

/* Parses, checks the facts of what was accepted (facts may be NULL), releases it. *fine: they hold.
 */
typedef enum status parse_fn(const void *data, size_t len, const char *const *facts, bool *fine,
                             struct err *err);

static enum status parse_tensors(const void *data, size_t len, const char *const *facts, bool *fine,
                                 struct err *err)
{
    struct safetensors file;
    enum status status = safetensors_parse(data, len, &file, err);
    *fine = status != STATUS_OK ? !file.entries && !file.meta_keys
                                : facts_hold(facts, tensors_fact, &file);
    safetensors_close(&file);
    return status;
}

static enum status parse_image(const void *data, size_t len, const char *const *facts, bool *fine,
                               struct err *err)
{
    struct image image;
    enum status status = image_decode(data, len, &image, err);
    *fine = status != STATUS_OK ? !image.rgb : facts_hold(facts, image_fact, &image);
    image_free(&image);
    return status;
}

static enum status parse_config(const void *data, size_t len, const char *const *facts, bool *fine,
                                struct err *err)
{
    struct mllm_config config;
    enum status status = mllm_config_parse(data, len, &config, err);
    *fine = status != STATUS_OK || facts_hold(facts, no_fact, &config);
    return status;
}

static enum status parse_preprocess(const void *data, size_t len, const char *const *facts,
                                    bool *fine, struct err *err)
{
    struct preprocess p;
    enum status status = preprocess_parse(data, len, IMAGE_SIDE, &p, err);
    *fine = status != STATUS_OK || facts_hold(facts, no_fact, &p);
    return status;
}

static enum status parse_manifest(const void *data, size_t len, const char *const *facts,
                                  bool *fine, struct err *err)
{
    struct manifest manifest;
    enum status status = manifest_parse(data, len, &manifest, err);
    *fine = status != STATUS_OK || facts_hold(facts, no_fact, &manifest);
    return status;
}

static enum status parse_keys(const void *data, size_t len, const char *const *facts, bool *fine,
                              struct err *err)
{
    struct keyring keyring;
    enum status status = keyring_parse(data, len, &keyring, err);
    *fine = status != STATUS_OK || facts_hold(facts, no_fact, &keyring);
    return status;
}

static bool envelope_fact(const char *fact, const void *parsed)
{
    const struct envelope *envelope = parsed;
    char signatures[64], payload[64];
    snprintf(signatures, sizeof signatures, "signatures %d", envelope->signatures);
    snprintf(payload, sizeof payload, "payload %zu", envelope->payload.len);
    return strcmp(fact, signatures) == 0 || strcmp(fact, payload) == 0;
}

static enum status parse_envelope(const void *data, size_t len, const char *const *facts,
                                  bool *fine, struct err *err)
{
    struct envelope envelope;
    enum status status = envelope_parse(data, len, ENVELOPE_MANIFEST, &envelope, err);
    *fine =
        status != STATUS_OK ? !envelope.payload.data : facts_hold(facts, envelope_fact, &envelope);
    envelope_free(&envelope);
    return status;
}

/* ---- one case ---- */

struct bad_case {
    char folder[PATH_MAX];
    struct buf input;
    char *expect;         /* the file; its lines are cut apart */
    const char *line[16]; /* after the status, NULL at the end */
    const char *status;
    size_t tail;
};

static struct buf file_read(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct buf bytes = {.max = RECIPE_MAX};
    struct err err = {0};
    if (io_join(path, sizeof path, folder, name, &err) != STATUS_OK ||
        io_read_file(io_posix(), path, &bytes, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return bytes;
}

/* Without io_write_file's syncing: there is nothing here to keep. */
static void file_write(const char *to, const struct buf *bytes)
{
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->len, file), bytes->len);
    assert_int_equal(fclose(file), 0);
}

static char *file_text(const char *folder, const char *name)
{
    struct buf bytes = file_read(folder, name);
    assert_int_equal(buf_append(&bytes, "", 1), STATUS_OK);
    for (size_t n = bytes.len - 1; n > 0 && bytes.data[n - 1] == '\n'; n--)
        bytes.data[n - 1] = 0;
    return (char *)bytes.data;
}

static void expect_read(struct bad_case *c)
{
    size_t n = 0;
    c->expect = file_text(c->folder, "expect");
    c->status = c->expect;
    for (char *at = c->expect; (at = strchr(at, '\n')) != NULL && n < 15;) {
        *at++ = 0;
        c->line[n++] = at;
    }
    for (size_t i = 0; i < n; i++)
        if (strncmp(c->line[i], "tail ", 5) == 0)
            c->tail = strtoul(c->line[i] + 5, NULL, 10);
}

/* The last newlines of a text may be missing. */
static void input_read(struct bad_case *c)
{
    c->input = file_read(c->folder, "input");
    for (size_t n = c->input.len; n > 0 && c->input.data[n - 1] == '\n'; n--)
        c->tail++;
}

static void case_open(struct bad_case *c, const char *folder, const char *name)
{
    char path[PATH_MAX];
    *c = (struct bad_case){.input.max = RECIPE_MAX};
    assert_int_equal(io_join(c->folder, sizeof c->folder, folder, name, NULL), STATUS_OK);
    assert_int_equal(io_join(path, sizeof path, c->folder, "recipe", NULL), STATUS_OK);
    expect_read(c);
    if (!io_exists(path)) {
        input_read(c);
        return;
    }
    char *text = file_text(c->folder, "recipe");
    if (!recipe_make(text, &c->input))
        fail_msg("%s: no recipe", c->folder);
    free(text);
}

static void case_close(struct bad_case *c)
{
    buf_free(&c->input);
    free(c->expect);
}

/* Goes on, so that one run shows every case that differs. */
static int complaints;

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s\n", text);
    complaints++;
}

static void expect_whole(const struct bad_case *c, const unsigned char *data, parse_fn *parse)
{
    struct err err = {0};
    bool fine = true;
    enum status status = parse(data, c->input.len, c->line, &fine, &err);
    if (strcmp(status_name(status), c->status) != 0 || !fine)
        complain("%s: %s (%s), expected %s", c->folder, status_name(status), err.text, c->status);
    for (size_t i = 0; status != STATUS_OK && c->line[i]; i++)
        if (!strstr(err.text, c->line[i]))
            complain("%s: '%s' does not say '%s'", c->folder, err.text, c->line[i]);
    if (parse(data, c->input.len, NULL, &fine, NULL) != status)
        complain("%s: without a struct err the status is another one", c->folder);
}

static void expect_truncated(const struct bad_case *c, struct guard *guard, parse_fn *parse)
{
    size_t times = TRUNCATED_BYTES / (c->input.len + 1) + 20, step = c->input.len / times + 1;
    for (size_t len = 0; len < c->input.len; len += step) {
        bool fine;
        enum status status = parse(guard_put(guard, c->input.data, len), len, NULL, &fine, NULL);
        if (!fine ||
            (status == STATUS_OK && len + c->tail < c->input.len && strcmp(c->status, "ok") == 0))
            complain("%s: cut to %zu bytes it is accepted", c->folder, len);
    }
}

/* The address space this process has, in bytes. */
static size_t memory_mapped(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The same status with 16 MiB and the file's size of new memory at most. */
static void expect_frugal(const struct bad_case *c, const unsigned char *data, parse_fn *parse)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        malloc_trim(0);
        rlim_t most = memory_mapped() + c->input.len + MEMORY_ABOVE_FILE;
        bool fine;
        setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
        enum status status = parse(data, c->input.len, NULL, &fine, NULL);
        _exit(strcmp(status_name(status), c->status) == 0 ? 0 : 1);
    }
    int exit_status = 0;
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    if (exit_status != 0)
        complain("%s: it takes more than its size and 16 MiB", c->folder);
#else
    (void)c, (void)data, (void)parse, (void)memory_mapped;
#endif
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void run_folder(const char *topic, parse_fn *parse)
{
    static char names[CASES_MAX][NAME_MAX + 1];
    char folder[PATH_MAX];
    size_t n = 0;
    complaints = 0;
    snprintf(folder, sizeof folder, "%s/tests/data/%s", SOURCE_DIR, topic);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') {
            assert_true(n < CASES_MAX);
            strcpy(names[n++], entry->d_name);
        }
    closedir(dir);
    assert_true(n > 0);
    qsort(names, n, sizeof *names, name_compare);
    for (size_t i = 0; i < n; i++) {
        struct bad_case c;
        struct guard guard;
        case_open(&c, folder, names[i]);
        assert_int_equal(guard_init(&guard, c.input.len), 0);
        const unsigned char *data = guard_put(&guard, c.input.data, c.input.len);
        expect_whole(&c, data, parse);
        expect_frugal(&c, data, parse);
        expect_truncated(&c, &guard, parse);
        guard_deinit(&guard);
        case_close(&c);
    }
    print_message("%zu cases of %s\n", n, topic);
    assert_int_equal(complaints, 0);
}

static void safetensors_cases(void **state)
{
    (void)state;
    run_folder("safetensors", parse_tensors);
}

static void image_cases(void **state)
{
    (void)state;
    run_folder("image", parse_image);
}

static void config_cases(void **state)
{
    (void)state;
    run_folder("config", parse_config);
}

static void preprocess_cases(void **state)
{
    (void)state;
    run_folder("preprocess", parse_preprocess);
}

static void manifest_cases(void **state)
{
    (void)state;
    run_folder("manifest", parse_manifest);
}

static void envelope_cases(void **state)
{
    (void)state;
    run_folder("envelope", parse_envelope);
}

static void key_document_cases(void **state)
{
    (void)state;
    run_folder("keys", parse_keys);
}

/* ---- whole model directories: tests/data/model ---- */

static void recipe_write(const char *folder, const char *name, const char *to)
{
    char *text = file_text(folder, name);
    struct buf bytes = {.max = RECIPE_MAX};
    if (!recipe_make(text, &bytes))
        fail_msg("%s/%s: no recipe", folder, name);
    file_write(to, &bytes);
    buf_free(&bytes);
    free(text);
}

/* Makes, or removes, the files that a case describes: NAME as it is, NAME.recipe made. */
static void model_files(const char *folder, const char *dir, bool make)
{
    char name[NAME_MAX + 1], to[PATH_MAX];
    DIR *files = opendir(folder);
    assert_non_null(files);
    for (struct dirent *entry; (entry = readdir(files)) != NULL;) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "expect") == 0)
            continue;
        strcpy(name, entry->d_name);
        char *recipe = strstr(name, ".recipe");
        if (recipe)
            *recipe = 0;
        assert_int_equal(io_join(to, sizeof to, dir, name, NULL), STATUS_OK);
        if (!make) {
            unlink(to);
        } else if (recipe) {
            recipe_write(folder, entry->d_name, to);
        } else {
            struct buf bytes = file_read(folder, name);
            file_write(to, &bytes);
            buf_free(&bytes);
        }
    }
    closedir(files);
}

static void expect_model(const struct bad_case *c)
{
    char dir[] = "/tmp/cdcca-model-XXXXXX";
    struct mllm *m = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    model_files(c->folder, dir, true);
    enum status status = mllm_load(io_posix(), dir, &m, &err);
    if (strcmp(status_name(status), c->status) != 0 || (m != NULL) != (status == STATUS_OK))
        complain("%s: %s (%s), expected %s", c->folder, status_name(status), err.text, c->status);
    for (size_t i = 0; status != STATUS_OK && c->line[i]; i++)
        if (!strstr(err.text, c->line[i]))
            complain("%s: '%s' does not say '%s'", c->folder, err.text, c->line[i]);
    if (status != STATUS_OK && !strstr(err.text, dir))
        complain("%s: '%s' does not say where", c->folder, err.text);
    mllm_release(m);
    model_files(c->folder, dir, false);
    assert_int_equal(rmdir(dir), 0);
}

static void model_cases(void **state)
{
    (void)state;
    const char *topic = SOURCE_DIR "/tests/data/model";
    size_t n = 0;
    DIR *dir = opendir(topic);
    assert_non_null(dir);
    complaints = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct bad_case c = {.input.max = RECIPE_MAX};
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(io_join(c.folder, sizeof c.folder, topic, entry->d_name, NULL), STATUS_OK);
        expect_read(&c);
        expect_model(&c);
        case_close(&c);
        n++;
    }
    closedir(dir);
    print_message("%zu cases of model\n", n);
    assert_true(n > 0 && complaints == 0);
}

/* ---- what is no plain file ---- */

typedef enum status open_fn(struct io *io, const char *path, struct err *err);

static enum status open_tensors(struct io *io, const char *path, struct err *err)
{
    struct safetensors file;
    enum status status = safetensors_open(io, path, 1 << 20, &file, err);
    safetensors_close(&file);
    return status;
}

static enum status open_image(struct io *io, const char *path, struct err *err)
{
    struct image image;
    enum status status = image_load(io, path, &image, err);
    image_free(&image);
    return status;
}

/* path: .../config.json */
static enum status open_config(struct io *io, const char *path, struct err *err)
{
    struct mllm_config config;
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    return mllm_config_load(io, dir, &config, err);
}

static const struct {
    const char *name, *topic;
    open_fn *open;
} files[] = {
    {"model.safetensors", "safetensors/two_tensors", open_tensors},
    {"picture.png", "image/png_rgb", open_image},
    {"config.json", "config/llama", open_config},
};

static char place[PATH_MAX / 2], target[PATH_MAX], path[PATH_MAX];
static struct bad_case good;

static void file_prepare(size_t i)
{
    snprintf(place, sizeof place, "/tmp/cdcca-bad-XXXXXX");
    assert_non_null(mkdtemp(place));
    snprintf(path, sizeof path, "%s/%s", place, files[i].name);
    snprintf(target, sizeof target, "%s/blob", place);
    case_open(&good, SOURCE_DIR "/tests/data", files[i].topic);
}

static void file_forget(void)
{
    unlink(path);
    unlink(target);
    rmdir(path);
    rmdir(place);
    case_close(&good);
}

static void expect_opened(size_t i, struct io *io, enum status status)
{
    struct err err = {0};
    enum status is = files[i].open(io, path, &err);
    if (is != status || (is != STATUS_OK && !strstr(err.text, place)))
        fail_msg("%s: %s (%s), expected %s", files[i].name, status_name(is), err.text,
                 status_name(status));
}

static void pipes_and_directories_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        file_prepare(i);
        assert_int_equal(mkfifo(path, 0600), 0);
        expect_opened(i, io_posix(), STATUS_UNSUPPORTED);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        expect_opened(i, io_posix(), STATUS_UNSUPPORTED);
        assert_int_equal(rmdir(path), 0);
        expect_opened(i, io_posix(), STATUS_NOT_FOUND);
        file_forget();
    }
}

/* Hugging Face's cache is a folder of links to blobs. */
static void links_lead_to_files_and_nowhere_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        file_prepare(i);
        assert_int_equal(symlink(target, path), 0);
        expect_opened(i, io_posix(), STATUS_NOT_FOUND);
        assert_int_equal(mkfifo(target, 0600), 0);
        expect_opened(i, io_posix(), STATUS_UNSUPPORTED);
        assert_int_equal(unlink(target), 0);
        assert_int_equal(symlink(path, target), 0); /* and back */
        expect_opened(i, io_posix(), STATUS_IO);
        assert_int_equal(unlink(target), 0);
        file_write(target, &good.input);
        expect_opened(i, io_posix(), STATUS_OK);
        file_forget();
    }
}

/* What the file had when it was opened, and what is still there when it is read. */
static size_t still_there;

static ssize_t read_shrunk(struct io *io, int fd, void *data, size_t len)
{
    (void)io;
    ssize_t n = read(fd, data, len < still_there ? len : still_there);
    still_there -= n > 0 ? (size_t)n : 0;
    return n;
}

static void a_file_that_shrinks_while_it_is_read_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct io io = *io_posix();
        io.read = read_shrunk;
        file_prepare(i);
        file_write(path, &good.input);
        for (size_t left = 0; left < good.input.len - good.tail; left++) {
            struct err err = {0};
            still_there = left;
            assert_int_not_equal(files[i].open(&io, path, &err), STATUS_OK);
            assert_non_null(strstr(err.text, path));
        }
        still_there = good.input.len;
        expect_opened(i, &io, STATUS_OK);
        file_forget();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_cases),
        cmocka_unit_test(image_cases),
        cmocka_unit_test(config_cases),
        cmocka_unit_test(preprocess_cases),
        cmocka_unit_test(manifest_cases),
        cmocka_unit_test(envelope_cases),
        cmocka_unit_test(key_document_cases),
        cmocka_unit_test(model_cases),
        cmocka_unit_test(pipes_and_directories_are_refused),
        cmocka_unit_test(links_lead_to_files_and_nowhere_else),
        cmocka_unit_test(a_file_that_shrinks_while_it_is_read_is_refused),
    };
    return cmocka_run_group_tests_name("bad input", tests, NULL, NULL);
}
