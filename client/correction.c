/* See correction.h. */
#include "client/correction.h"
#include "api/base/log.h"

/* Counted as sampled: the budget holds for uploads of all kinds. */
static void correction_count(struct agent *a, const struct window_record *record)
{
    struct err err = {0};
    struct spool_counts counts;
    bool open = window_drop(a->window, record->id);
    spool_count(a->spool, &counts);
    struct board_fields *f = board_lock(&a->board);
    f->seen += open;
    f->sampled++;
    f->sampled_raw_bytes += (int64_t)a->image_bytes;
    f->sampled_jpeg_bytes += (int64_t)record->jpeg_bytes;
    f->spool_files = (int64_t)counts.files;
    f->spool_bytes = (int64_t)counts.bytes;
    if (board_commit(&a->board, &err) != STATUS_OK)
        log_line(LOG_WARN, "agent", "%s", err.text);
}

enum status agent_correct(struct agent *a, const struct recent *recent, const char *id,
                          const char *correction, struct err *err)
{
    const float *visual;
    int64_t version;
    const struct window_record *found = recent_find(recent, id, &visual);
    if (!found)
        return err_set(err, STATUS_NOT_FOUND,
                       "no answer \"%.60s\" about a picture is remembered; the last %d are", id,
                       recent_capacity(recent));
    struct window_record record = *found;
    record.correction = correction;
    struct mllm *m = slots_acquire(a->slots, &version);
    enum status status = window_pack_one(a->window, m, visual, &record, agent_emit, a, err);
    mllm_release(m);
    if (status == STATUS_OK)
        correction_count(a, &record);
    return status;
}
