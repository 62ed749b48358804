/* Training through the code (coded.h). */
#include "model/learn/coded.h"
#include <stdlib.h>
#include <string.h>

/* Under a byte budget choosing takes as long as a step: the codecs are chosen anew at first, when
 * there is hardly an update to choose by, after twice as many steps each time, and then this often.
 */
enum { CHOICE_STEPS = 32 };

static bool is_choice_due(const struct coded *c)
{
    return !compress_is_budgeted(&c->options) || c->shown % CHOICE_STEPS == 0 ||
           (c->shown & (c->shown - 1)) == 0;
}

enum status coded_open(struct coded *c, const struct trainable *set, const float *edge,
                       const struct compress_options *options, struct err *err)
{
    *c = (struct coded){.set = set, .edge = edge, .options = *options};
    if (!edge)
        return STATUS_OK;
    c->master = calloc(2 * set->values + 1, sizeof *c->master);
    c->codecs = calloc((size_t)set->count + 1, 1);
    if (!c->master || !c->codecs) {
        coded_close(c);
        return err_set(err, STATUS_NO_MEMORY, "no memory to train through the code");
    }
    c->seen = c->master + set->values;
    return STATUS_OK;
}

void coded_close(struct coded *c)
{
    free(c->master);
    free(c->codecs);
    memset(c, 0, sizeof *c);
}

void coded_show_edge(struct coded *c)
{
    if (!c->edge)
        return;
    trainable_read(c->set, c->master);
    trainable_write(c->set, c->edge);
}

enum status coded_show(struct coded *c, struct err *err)
{
    if (!c->edge)
        return STATUS_OK;
    if (is_choice_due(c))
        c->codecs[0] = 0;
    c->shown++;
    trainable_read(c->set, c->master);
    TRY(compress_preview(c->set, c->edge, c->master, &c->options, c->codecs, c->seen, err));
    trainable_write(c->set, c->seen);
    return STATUS_OK;
}

enum status coded_show_release(struct coded *c, struct err *err)
{
    struct delta delta;
    if (!c->edge)
        return STATUS_OK;
    trainable_read(c->set, c->master);
    TRY(compress_encode(c->set, c->edge, c->master, 0, 1, &c->options, &delta, c->seen, err));
    delta_free(&delta);
    trainable_write(c->set, c->seen);
    return STATUS_OK;
}

void coded_move(struct coded *c)
{
    const float *seen = c->seen;
    float *master = c->master;
    for (int t = 0; c->edge && t < c->set->count; t++) {
        const float *now = c->set->params[t]->data;
        size_t n = param_count(c->set->params[t]);
        for (size_t i = 0; i < n; i++)
            master[i] += now[i] - seen[i];
        master += n;
        seen += n;
    }
}

void coded_hide(struct coded *c)
{
    if (c->edge)
        trainable_write(c->set, c->master);
}
