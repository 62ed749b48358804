/* Table 5 (table_bytes.h): its rows and their bytes. Rows of lossless forms differ in bytes alone
 * and share one trial. */
#include "model/tool/table_bytes.h"
#include <math.h>

static const double RATES[] = {1e9, 10e6, 256e3}; /* bits a second: TIME_FAST and the next two */

/* ---- rows ---- */

/* The row just added sends these bytes. */
static void row_sends(struct table *t, enum measure sent, enum measure plain)
{
    t->row[t->rows - 1].sent = sent;
    t->row[t->rows - 1].plain = plain;
}

static void picture_rows(struct table *t, const struct trial_options *from)
{
    static const int qualities[] = {85, 75, 50};
    struct trial_options o = *from;
    o.edge.form = FORM_PIXELS;
    table_row_add(t, &o, "up: raw pixels");
    row_sends(t, UPLINK, UPLINK_PLAIN);
    table_row_add(t, &o, "up: PNG");
    row_sends(t, UPLINK_PNG, UPLINK_PNG_PLAIN);
    o.edge.form = FORM_JPEG;
    for (size_t i = 0; i < sizeof qualities / sizeof *qualities; i++) {
        table_row_add(t, &o, "up: JPEG, quality %d", qualities[i])->edge.quality = qualities[i];
        row_sends(t, UPLINK, UPLINK_PLAIN);
    }
}

static void token_rows(struct table *t, const struct table_plan *p,
                       const struct trial_options *from, int tokens)
{
    struct trial_options all = *from;
    int keep = from->edge.uts.keep;
    all.edge.uts.keep = tokens;
    table_row_add(t, &all, "up: all %d tokens, F16", tokens)->edge.form = FORM_F16;
    row_sends(t, UPLINK, UPLINK_PLAIN);
    table_row_add(t, &all, "up: all %d tokens, 8 bit", tokens)->edge.bits = 8;
    row_sends(t, UPLINK, UPLINK_PLAIN);
    table_row_add(t, &all, "up: all %d tokens, 4 bit", tokens)->edge.bits = 4;
    row_sends(t, UPLINK, UPLINK_PLAIN);
    table_row_add(t, from, "up: %d tokens, %d bit", tokens / 2, from->edge.bits)->edge.uts.keep =
        tokens / 2;
    row_sends(t, UPLINK, UPLINK_PLAIN);
    table_row_add(t, from, "up: %d tokens, 8 bit", keep)->edge.bits = 8;
    row_sends(t, UPLINK, UPLINK_PLAIN);
    table_row_add(t, &p->cdcca, "up: %d tokens, %d bit = CD-CCA", keep, p->cdcca.edge.bits);
    row_sends(t, UPLINK, UPLINK_PLAIN);
}

static void whole_rows(struct table *t, const struct trial_options *from)
{
    static const struct {
        const char *label;
        enum delivery_way way;
        enum measure sent;
    } rows[] = {
        {"down: whole model, BF16", DELIVERY_BF16, DOWNLINK},
        {"down: trainable set, F32", DELIVERY_EXACT, DOWNLINK},
        {"down: trainable set, F16", DELIVERY_F16, DOWNLINK},
        {"down: lossless, zstd", DELIVERY_EXACT, DOWNLINK_DIFFERENCE},
        {"down: lossless, bsdiff", DELIVERY_EXACT, DOWNLINK_BSDIFF},
        {"down: BitDelta", DELIVERY_BITDELTA, DOWNLINK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        table_row_add(t, from, "%s", rows[i].label)->delivery = rows[i].way;
        row_sends(t, rows[i].sent, MEASURES);
    }
}

/* A delta of the service's own; coded: it is trained through. */
static struct trial_options *delta_row(struct table *t, const struct trial_options *from,
                                       const char *label, char codec, bool coded)
{
    struct trial_options *o =
        table_row_add(t, from, "down: %s%s", label, coded ? "" : ", coded after training");
    o->codec = codec;
    o->coded = coded;
    row_sends(t, DOWNLINK, MEASURES);
    return o;
}

static void codec_rows(struct table *t, const struct table_plan *p,
                       const struct trial_options *from, size_t parameters)
{
    delta_row(t, from, "int8", '8', true);
    delta_row(t, from, "NF4", 'n', true);
    delta_row(t, from, "2 bit", '2', true);
    delta_row(t, from, "2 bit", '2', false);
    delta_row(t, from, "sign, scales of blocks", 's', true);
    delta_row(t, &p->cdcca, "sign, 90% of the blocks = CD-CCA", p->cdcca.codec, true);
    delta_row(t, from, "sign, 90% of the blocks", p->cdcca.codec, false);
    delta_row(t, from, "sign, 42% of the blocks", 'h', true);
    delta_row(t, from, "sign, 42% of the blocks", 'h', false);
    delta_row(t, from, "NF4, 10% of the blocks", 'k', true)->selected_share = 0.1f;
    delta_row(t, from, "DWC within 0.25 bit", 0, true)->delta_budget = parameters / 32;
}

static void columns_put(struct table *t)
{
    table_column_add(t, "target, last", TARGET_MC, TARGET_DA, AT_LAST);
    table_column_add(t, "new concepts, last", NEW_MC, NEW_DA, AT_LAST);
    table_column_add(t, "bytes an instance", SENT_EACH, MEASURES, AT_MEAN);
    table_column_add(t, "before zstd", SENT_PLAIN, MEASURES, AT_MEAN);
    table_column_add(t, "bits a parameter", SENT_BITS, MEASURES, AT_MEAN);
    table_column_add(t, "bytes a round", SENT, MEASURES, AT_MEAN);
    table_column_add(t, "s at 1 Gbit/s", TIME_FAST, MEASURES, AT_MEAN);
    table_column_add(t, "s at 10 Mbit/s", TIME_MIDDLE, MEASURES, AT_MEAN);
    table_column_add(t, "s at 256 kbit/s", TIME_SLOW, MEASURES, AT_MEAN);
}

/* Direct answers against bytes, of the rows from `first` to the last one so far. */
static void rows_plot(struct table *t, const char *title, const char *name, int first)
{
    struct table_plot *plot = table_plot_add(t, title, "bytes a round", TARGET_DA, SENT);
    plot->name = name;
    plot->first_row = first;
    plot->rows = t->rows - first;
}

void table_bytes_make(struct table *t, const struct table_plan *plan, int tokens, size_t parameters)
{
    struct trial_options o = plan->cdcca;
    t->title = "Bytes and time, up and down";
    t->about =
        "One direction is changed at a time, the other stays CD-CCA's. Up: the same choice of "
        "instances in each form, fewer tokens by UTS, with questions, answers and entropies, a "
        "round's as one upload under zstd; the cloud learns from what it can decode. Down: "
        "trained through the code, or coded after training with error feedback; every parameter of "
        "the trainable set counts as updated. A dash in the row "
        "of bsdiff: the program was not there. Times: bytes over the rate, 1,514 on the wire for "
        "each 1,448, and 400 of HTTP; no latency, nothing that is computed at either end.";
    o.every_round = false;
    picture_rows(t, &o);
    token_rows(t, plan, &o, tokens);
    rows_plot(t, "Up: target after the last round, direct answers (%)", "-up", 0);
    int down = t->rows;
    whole_rows(t, &o);
    codec_rows(t, plan, &o, parameters);
    rows_plot(t, "Down: target after the last round, direct answers (%)", "-down", down);
    columns_put(t);
}

/* ---- measures ---- */

double transfer_seconds(double bytes, double bits_per_second)
{
    return (bytes + TRANSFER_HEADERS) / TRANSFER_SEGMENT * TRANSFER_FRAME * 8 / bits_per_second;
}

static void round_fill(const struct table_row *row, double value[MEASURES])
{
    bool down = row->plain == MEASURES;
    if (down && value[PASSED] == 0) /* turned down by the gate: nothing is sent */
        value[row->sent] = value[DOWNLINK] = value[BITS] = 0;
    double sent = value[row->sent];
    value[SENT] = sent;
    if (!down) {
        value[SENT_EACH] = sent / value[UPLOADS];
        value[SENT_PLAIN] = value[row->plain] / value[UPLOADS];
    } else {
        value[SENT_BITS] = sent > 0 ? value[BITS] * sent / value[DOWNLINK] : sent;
    }
    for (int i = 0; i < 3; i++)
        value[TIME_FAST + i] = sent == 0 ? 0 : transfer_seconds(sent, RATES[i]);
}

void table_bytes_fill(const struct table_row *row, struct result *result)
{
    for (int i = 0; i < result->rounds && row->sent != TARGET_MC; i++)
        round_fill(row, result->value[i]);
}
