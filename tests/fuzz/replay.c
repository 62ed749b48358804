/* Runs a fuzz target without libFuzzer: every file of a corpus, then a fixed number of mutations of
 * them from a fixed seed. The same inputs on every machine, so that it is a test; each input ends
 * flush against an unreadable page. usage: TARGET CORPUS_DIR MUTATIONS */
#include "api/base/io.h"
#include "api/base/rng.h"
#include "fuzz.h"
#include "tests/unit/guard.h"
#include <dirent.h>
#include <limits.h>

enum { FILES_MAX = 256, INPUT_MAX = 64 << 10 };

struct corpus {
    struct buf file[FILES_MAX];
    uint32_t count;
};

static int name_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Sorted by name: readdir's order differs between file systems. */
static int corpus_load(struct corpus *corpus, const char *folder)
{
    static char names[FILES_MAX][NAME_MAX + 1];
    DIR *dir = opendir(folder);
    struct err err;
    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL && corpus->count < FILES_MAX;)
        if (entry->d_name[0] != '.')
            strcpy(names[corpus->count++], entry->d_name);
    closedir(dir);
    qsort(names, corpus->count, sizeof *names, name_compare);
    for (uint32_t i = 0; i < corpus->count; i++) {
        char path[PATH_MAX];
        corpus->file[i].max = INPUT_MAX;
        if (io_join(path, sizeof path, folder, names[i], &err) != STATUS_OK ||
            io_read_file(io_posix(), path, &corpus->file[i], &err) != STATUS_OK) {
            fprintf(stderr, "%s\n", err.text);
            return -1;
        }
    }
    return corpus->count ? 0 : -1;
}

static void run(struct guard *guard, const void *data, size_t len)
{
    LLVMFuzzerTestOneInput(guard_put(guard, data, len), len);
}

/* Moves what is behind `at` by inserting or removing n bytes; returns the new length. */
static size_t splice(unsigned char *data, size_t len, size_t at, size_t n, bool insert)
{
    if (insert) {
        n = n < INPUT_MAX - len ? n : INPUT_MAX - len;
        memmove(data + at + n, data + at, len - at);
        return len + n;
    }
    n = n < len - at ? n : len - at;
    memmove(data + at, data + at + n, len - at - n);
    return len - n;
}

static size_t mutate(struct rng *rng, unsigned char *data, size_t len, const struct corpus *corpus)
{
    static const unsigned char odd[] = {0,   1,   0x7f, 0x80, 0xff, '"', '{',
                                        '}', '[', ']',  ',',  '-',  '9'};
    if (len == 0)
        return len;
    size_t at = rng_below(rng, (uint32_t)len);
    const struct buf *other = &corpus->file[rng_below(rng, corpus->count)];
    switch (rng_below(rng, 7)) {
    case 0:
        data[at] ^= (unsigned char)(1u << rng_below(rng, 8));
        return len;
    case 1:
        data[at] = odd[rng_below(rng, sizeof odd)];
        return len;
    case 2:
        data[at] = (unsigned char)rng_below(rng, 256);
        return len;
    case 3:
        return splice(data, len, at, 1 + rng_below(rng, 8), false);
    case 4:
        return splice(data, len, at, 1 + rng_below(rng, 8), true);
    case 5:
        return at;
    default:
        if (at < other->len) { /* the same place of another file */
            size_t n = 1 + rng_below(rng, 32);
            n = n < other->len - at ? n : other->len - at;
            n = n < len - at ? n : len - at;
            memcpy(data + at, other->data + at, n);
        }
        return len;
    }
}

int main(int argc, char **argv)
{
    static struct corpus corpus;
    static unsigned char input[INPUT_MAX];
    struct guard guard;
    struct rng rng;
    if (argc != 3 || corpus_load(&corpus, argv[1]) != 0 || guard_init(&guard, INPUT_MAX) != 0) {
        fprintf(stderr, "usage: %s CORPUS_DIR MUTATIONS\n", argv[0]);
        return 2;
    }
    long mutations = strtol(argv[2], NULL, 10);
    for (uint32_t i = 0; i < corpus.count; i++)
        run(&guard, corpus.file[i].data, corpus.file[i].len);
    rng_init(&rng, 20260101, 0);
    for (long i = 0; i < mutations; i++) {
        const struct buf *file = &corpus.file[rng_below(&rng, corpus.count)];
        size_t len = file->len;
        memcpy(input, file->data, len);
        for (uint32_t times = 1 + rng_below(&rng, 4); times > 0; times--)
            len = mutate(&rng, input, len, &corpus);
        run(&guard, input, len);
    }
    for (uint32_t i = 0; i < corpus.count; i++)
        buf_free(&corpus.file[i]);
    guard_deinit(&guard);
    printf("%u files and %ld mutations of them\n", corpus.count, mutations);
    return 0;
}
