/* What comes in (intake.h): screened, copied, crossed, labelled. */
#include "model/learn/intake.h"
#include "model/learn/screen.h"
#include <stdlib.h>
#include <string.h>

enum {
    BUFFER_MAX = 8192,
    CROSS_MAX = 32,
    CROSS_WINDOW = 256 /* earlier uploads whose questions may be asked */
};
static const size_t BUFFER_BYTES_MAX = (size_t)192 << 20;
static const float CROSS_ENTROPY = 0.5f; /* the teacher's, up to which a crossed answer is kept */

void intake_init(struct intake *in, struct mllm *teacher, struct mllm *student, struct pool *pool)
{
    *in = (struct intake){
        .teacher = teacher, .student = student, .pool = pool, .cross = DISTILL_CROSS};
    exemplar_match_init(&in->match, student, teacher);
}

void intake_deinit(struct intake *in)
{
    exemplars_truncate(&in->buffer, 0);
}

void intake_cross(struct intake *in, int questions)
{
    in->cross = questions < 0 ? 0 : questions < CROSS_MAX ? questions : CROSS_MAX;
}

struct intake_mark intake_mark(const struct intake *in)
{
    return (struct intake_mark){in->buffer.count, in->uploads};
}

void intake_back(struct intake *in, struct intake_mark mark)
{
    exemplars_truncate(&in->buffer, mark.count);
    in->uploads = mark.uploads;
}

void intake_trim(struct intake *in)
{
    exemplars_trim(&in->buffer, BUFFER_MAX, BUFFER_BYTES_MAX);
}

/* The exemplar behind the last; counted when it could be made. */
static enum status exemplar_add(struct intake *in, const struct distill_instance *instance,
                                uint64_t origin, bool crossed, struct err *err)
{
    struct exemplar *e = &in->buffer.item[in->buffer.count];
    TRY(exemplar_init(e, in->student, instance, err));
    e->origin = origin;
    e->crossed = crossed;
    in->buffer.count++;
    return STATUS_OK;
}

/* Which earlier upload's question to ask: drawn from (upload, k) alone, so that it does not matter
 * in how many calls the uploads came. -1: there is none, or it is the same question. */
static int question_draw(const struct intake *in, int upload, int k)
{
    const struct exemplar *item = in->buffer.item;
    struct rng rng;
    int candidates[CROSS_WINDOW], n = 0;
    for (int i = upload - 1; i >= 0 && n < CROSS_WINDOW; i--)
        if (!item[i].crossed)
            candidates[n++] = i;
    if (n == 0)
        return -1;
    rng_init(&rng, item[upload].origin, (uint64_t)k);
    int drawn = candidates[rng_below(&rng, (uint32_t)n)];
    return strcmp(item[drawn].question, item[upload].question) == 0 ? -1 : drawn;
}

static enum status upload_cross(struct intake *in, struct err *err)
{
    int upload = in->buffer.count - 1;
    for (int k = 0; k < in->cross; k++) {
        int other = question_draw(in, upload, k);
        if (other < 0)
            continue;
        const struct exemplar *e = &in->buffer.item[upload];
        struct distill_instance instance = {.question = in->buffer.item[other].question,
                                            .visual = e->visual,
                                            .count = e->visual_count,
                                            .rest = e->visual_rest};
        TRY(exemplar_add(in, &instance, e->origin, true, err));
    }
    return STATUS_OK;
}

/* Copies what can be used and is not left out into the buffer, crossed. */
static enum status uploads_copy(struct intake *in, const struct distill_instance *instances, int n,
                                const bool *out, struct distill_report *report, struct err *err)
{
    TRY(exemplars_reserve(&in->buffer, n * (1 + in->cross), err));
    for (int i = 0; i < n; i++) {
        enum status s =
            out[i] ? STATUS_OK : exemplar_add(in, &instances[i], in->uploads, false, err);
        if (s == STATUS_NO_MEMORY)
            return s;
        report->left_out.unusable += s != STATUS_OK;
        if (s != STATUS_OK || out[i])
            continue;
        in->uploads++;
        TRY(upload_cross(in, err));
    }
    return STATUS_OK;
}

/* Has the teacher label what came in; of corrections it is asked what it thinks of them. */
static enum status uploads_teach(struct intake *in, int first, struct distill_report *report,
                                 struct err *err)
{
    struct exemplars *b = &in->buffer;
    TRY(exemplar_teach(in->teacher, in->pool, &in->match, b->item + first, b->count - first, err));
    if (report->devices >= SCREEN_DEVICES) {
        TRY(screen_corrections(b, first, report->devices, in->teacher->config.text.vocab,
                               &report->corrections, err));
        TRY(exemplar_reteach(in->teacher, in->pool, &in->match, b->item + first, b->count - first,
                             err));
    } else {
        for (int i = first; i < b->count; i++)
            report->corrections.believed += b->item[i].corrected;
    }
    exemplars_doubtful_drop(b, first, CROSS_ENTROPY);
    return STATUS_OK;
}

enum status intake_add(struct intake *in, const struct distill_instance *instances, int n,
                       struct distill_report *report, struct err *err)
{
    int first = in->buffer.count;
    bool *out = calloc((size_t)n + 1, sizeof *out);
    if (!out)
        return err_set(err, STATUS_NO_MEMORY, "no memory to screen %d uploads", n);
    enum status s = screen_devices(instances, n, &report->devices, err);
    if (s == STATUS_OK && report->devices >= SCREEN_DEVICES)
        s = screen_uploads(instances, n, in->student->config.vision.hidden, out, &report->left_out,
                           err);
    if (s == STATUS_OK)
        s = uploads_copy(in, instances, n, out, report, err);
    free(out);
    return s == STATUS_OK ? uploads_teach(in, first, report, err) : s;
}

enum status intake_recall(struct intake *in, const struct distill_instance *instances, int n,
                          struct err *err)
{
    for (int at = 0, end; at < n; at = end) {
        struct distill_report report = {0};
        for (end = at + 1; end < n && instances[end].round == instances[at].round;)
            end++;
        TRY(intake_add(in, instances + at, end - at, &report, err));
    }
    return STATUS_OK;
}
