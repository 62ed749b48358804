/* alloc_training [MOST]: a distiller made, and a round of two steps on tiny models, with each
 * allocation failing in turn. The round says so and changes nothing, or is as without faults. */
#include "tests/fault/alloc_fault.h"
#include "tests/unit/tiny_pair.h"

enum { UPLOADS = 6 };

struct lesson {
    struct tiny_pair pair;
    struct distill_instance uploads[UPLOADS];
    float visual[UPLOADS * TINY_TOKENS * TINY_WIDTH];
    float *edge; /* what devices have */
};

static enum status learn(struct lesson *lesson, struct mllm *student, struct err *err)
{
    struct distill_options options = distill_defaults();
    struct distill_report report;
    struct distiller *distiller = NULL;
    struct pool *pool = NULL;
    options.steps = 2;
    options.batch = 4;
    options.edge = lesson->edge;
    options.code = compress_defaults();
    TRY(pool_create(1, &pool, err));
    enum status status = distiller_create(lesson->pair.teacher, student, pool, &distiller, err);
    if (status == STATUS_OK)
        status = distiller_round(distiller, lesson->uploads, UPLOADS, &options, NULL, NULL, NULL,
                                 &report, err);
    if (distiller)
        distiller_destroy(distiller);
    pool_destroy(pool);
    return status;
}

static bool round_run(void *ctx, bool faulty)
{
    struct lesson *lesson = ctx;
    struct mllm *student = NULL;
    struct err err = {0};
    enum status status = mllm_clone(lesson->pair.student, &student, &err);
    if (status == STATUS_OK) {
        status = learn(lesson, student, &err);
        mllm_release(student);
    }
    if (status == STATUS_OK)
        return true;
    if (faulty && status == STATUS_NO_MEMORY && err.text[0])
        return true;
    printf("%s: \"%s\"\n", status_name(status), err.text);
    return false;
}

int main(int argc, char **argv)
{
    static struct lesson lesson;
    struct err err = {0};
    alloc_hooks();
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (tiny_pair_init(&lesson.pair, &err) != STATUS_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    tiny_uploads(lesson.uploads, lesson.visual, UPLOADS, 1);
    lesson.edge = malloc(lesson.pair.set.values * sizeof *lesson.edge);
    if (!lesson.edge)
        return 1;
    trainable_read(&lesson.pair.set, lesson.edge);
    bool fine = alloc_torture("a round", round_run, &lesson, argc > 1 ? atol(argv[1]) : 100);
    tiny_pair_deinit(&lesson.pair);
    free(lesson.edge);
    return !fine;
}
