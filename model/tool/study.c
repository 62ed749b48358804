/* Trials that are remembered (study.h). */
#include "model/tool/study.h"
#include "api/base/clock.h"
#include "api/wire/json_out.h"
#include "model/tensor/weight.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RESULT_BYTES = 1 << 20, PATH_BYTES = 4096 };

const char *const MEASURE_NAMES[MEASURES] = {
    "target_mc",
    "target_da",
    "new_mc",
    "new_da",
    "source_mc",
    "source_da",
    "target_bleu",
    "target_cider",
    "near_bleu",
    "near_cider",
    "new_bleu",
    "new_cider",
    "source_bleu",
    "source_cider",
    "uploads",
    "uplink",
    "uplink_each",
    "downlink",
    "bits",
    "passed",
    "seconds",
    "uplink_plain",
    "uplink_png",
    "uplink_png_plain",
    "downlink_difference",
    "downlink_bsdiff",
    "sent",
    "sent_each",
    "sent_each_plain",
    "sent_bits",
    "seconds_1gbit",
    "seconds_10mbit",
    "seconds_256kbit",
};

static const char *const METHOD_NAMES[] = {"source", "tent", "cotta", "distill", "head", "teacher"};
static const char *const PICK_NAMES[] = {"ent2", "entropy", "random", "confidence"};
static const char *const SCORE_NAMES[] = {"attention", "variance", "norm", "random"};
static const char *const FEATURE_NAMES[] = {"mse", "pkd", "cwd"};
static const char *const FORM_NAMES[] = {"tokens", "f16", "pixels", "jpeg"};
static const char *const DELIVERY_NAMES[] = {"delta", "exact", "f16", "bf16", "bitdelta"};

/* ---- settings ---- */

static void param_name(struct hash_state *state, const struct param *p)
{
    const struct weight *w = p->packed;
    if (p->data)
        hash_update(state, p->data, param_count(p) * sizeof(float));
    if (!w)
        return;
    hash_update(state, weight_type_name(w->type), strlen(weight_type_name(w->type)));
    hash_update(state, w->codes, weight_code_bytes(w->type, w->rows, w->cols));
    if (w->scale)
        hash_update(state, w->scale,
                    weight_scale_count(w->type, w->rows, w->cols) * sizeof *w->scale);
}

static void model_name(const struct mllm *m, char out[13])
{
    struct hash_state state;
    struct hash hash;
    char hex[HASH_HEX];
    hash_start(&state);
    for (int i = 0; i < m->checkpoint_count; i++)
        param_name(&state, &m->params[i]);
    hash_finish(&state, &hash);
    hash_hex(&hash, hex);
    memcpy(out, hex, 12);
    out[12] = '\0';
}

enum status study_init(struct study *study, struct lab *lab, const char *dir, struct err *err)
{
    char path[PATH_BYTES];
    *study = (struct study){.lab = lab, .dir = dir};
    model_name(lab->teacher, study->models);
    model_name(lab->student, study->models + 13);
    TRY(io_join(path, sizeof path, dir, "trials", err));
    return io_make_dirs(io_posix(), path, err);
}

static void distill_settings(json *o, const struct trial_options *t)
{
    const struct distill_options *d = &t->distill;
    json_set_int(o, "cross", t->cross);
    json_set_string(o, "labels", d->labels == LABELS_SOFT ? "soft" : "hard");
    json_set_int(o, "steps", d->steps);
    json_set_int(o, "batch", d->batch);
    json_set_number(o, "lr", (double)d->lr);
    json_set_number(o, "clip", (double)d->clip);
    json_set_number(o, "query", (double)d->query);
    json_set_number(o, "repr", (double)d->repr);
    json_set_number(o, "wavelet", (double)d->wavelet);
    json_set_string(o, "features", FEATURE_NAMES[d->features]);
    json_set_number(o, "ce", (double)d->ce);
    json_set_number(o, "kl", (double)d->kl);
    json_set_number(o, "temperature", (double)d->temperature);
    json_set_number(o, "holdout", (double)d->holdout);
    json_set_number(o, "token_drop", (double)d->token_drop);
}

static void uplink_settings(json *o, const struct trial_options *t)
{
    json_set_number(o, "budget", t->budget);
    json_set_string(o, "pick", PICK_NAMES[t->edge.pick]);
    if (t->edge.form != FORM_TOKENS)
        json_set_string(o, "form", FORM_NAMES[t->edge.form]);
    if (t->edge.form == FORM_JPEG)
        json_set_int(o, "quality", t->edge.quality);
    if (t->edge.form == FORM_JPEG || t->edge.form == FORM_PIXELS)
        return;
    json_set_string(o, "tokens", SCORE_NAMES[t->edge.uts.score]);
    json_set_int(o, "keep", t->edge.uts.keep);
    json_set_bool(o, "rest", t->edge.uts.rest);
    json_set_int(o, "passes", t->edge.uts.passes);
    json_set_number(o, "dropout", (double)t->edge.uts.dropout);
    if (t->edge.form == FORM_TOKENS)
        json_set_int(o, "token_bits", t->edge.bits);
}

static void downlink_settings(json *o, const struct trial_options *t)
{
    const char codec[2] = {t->codec, 0};
    if (t->delivery != DELIVERY_DELTA) {
        json_set_string(o, "delivery", DELIVERY_NAMES[t->delivery]);
        return;
    }
    json_set_string(o, "codec", t->codec ? codec : "auto");
    if (t->coded)
        json_set_bool(o, "coded", true);
    json_set_int(o, "delta_budget", (int64_t)t->delta_budget);
    if (t->codec == 'k')
        json_set_number(o, "selected_share", (double)t->selected_share);
}

static void adapt_settings(json *o, const struct trial_options *t)
{
    const struct adapt_options *a = &t->adapt;
    json_set_number(o, "lr", (double)a->lr);
    json_set_int(o, "batch", a->batch);
    if (t->method == TRIAL_TENT)
        return;
    json_set_number(o, "momentum", (double)a->momentum);
    json_set_number(o, "restore", (double)a->restore);
    json_set_number(o, "confidence", (double)a->confidence);
    json_set_int(o, "views", a->views);
    json_set_number(o, "view_drop", (double)a->view_drop);
}

/* What the method uses, and nothing else: settings that do not matter do not make another trial. */
static void method_settings(json *o, const struct trial_options *t)
{
    json_set_string(o, "method", METHOD_NAMES[t->method]);
    if (t->method == TRIAL_SOURCE || t->method == TRIAL_TEACHER)
        return;
    json_set_int(o, "seed", (int64_t)t->seed);
    json_set_int(o, "rounds", t->rounds);
    json_set_int(o, "window", t->window);
    json_set_bool(o, "every_round", t->every_round);
    json_set_int(o, "lora_rank", t->trainable.lora_rank);
    json_set_number(o, "lora_alpha", (double)t->trainable.lora_alpha);
    json_set_int(o, "adapter_width", t->trainable.adapter_width);
    if (t->method == TRIAL_TENT || t->method == TRIAL_COTTA) {
        adapt_settings(o, t);
        return;
    }
    uplink_settings(o, t);
    distill_settings(o, t);
    if (t->method == TRIAL_DISTILL)
        downlink_settings(o, t);
}

enum status study_settings(const struct study *study, const struct trial_options *options,
                           json **out, struct err *err)
{
    const struct lab_options *lab = &study->lab->options;
    json *o = json_object_new();
    if (!o)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a trial's settings");
    method_settings(o, options);
    json_set_string(o, "teacher", study->models);
    json_set_string(o, "student", study->models + 13);
    json_set_string(o, "stream", lab->stream);
    json_set_string(o, "target", lab->target);
    json_set_string(o, "source", lab->source);
    if (lab->near)
        json_set_string(o, "near", lab->near);
    json_set_int(o, "evaluation_seed", (int64_t)lab->seed);
    json_set_int(o, "evaluation_count", lab->count);
    *out = o;
    return STATUS_OK;
}

/* DIR/trials/METHOD-<16 digits>.json */
static enum status result_path(const struct study *study, const struct trial_options *options,
                               json *settings, char *path, struct err *err)
{
    struct buf text = {.max = RESULT_BYTES};
    struct hash hash;
    char hex[HASH_HEX], name[64];
    TRY(json_print(settings, false, &text));
    hash_bytes(text.data, text.len, &hash);
    buf_free(&text);
    hash_hex(&hash, hex);
    snprintf(name, sizeof name, "trials/%s-%.16s.json", METHOD_NAMES[options->method], hex);
    return io_join(path, PATH_BYTES, study->dir, name, err);
}

/* ---- results ---- */

static json *round_json(const double value[MEASURES])
{
    json *o = json_object_new();
    for (int m = 0; m < MEASURES; m++)
        if (!isnan(value[m]))
            json_set_number(o, MEASURE_NAMES[m], value[m]);
    return o;
}

static enum status result_write(const char *path, json *settings, const struct result *r,
                                struct err *err)
{
    json *o = json_object_new(), *rounds = json_array_new();
    for (int i = 0; i < r->rounds; i++)
        json_append_take(rounds, round_json(r->value[i]));
    json_set_take(o, "settings", settings);
    json_set_take(o, "rounds", rounds);
    json_set_number(o, "seconds", r->seconds);
    return json_save(io_posix(), path, o, true, err);
}

static enum status result_parse(const json *o, struct result *out, struct err *err)
{
    const json *rounds = NULL;
    TRY(json_get_array(o, "rounds", STUDY_ROUNDS, &rounds, err));
    TRY(json_get_number(o, "seconds", 0, 1e9, &out->seconds, err));
    out->rounds = (int)json_length(rounds);
    for (int i = 0; i < out->rounds; i++)
        for (int m = 0; m < MEASURES; m++) {
            out->value[i][m] = (double)NAN;
            TRY(json_opt_number(json_at(rounds, (size_t)i), MEASURE_NAMES[m], -1e15, 1e15,
                                &out->value[i][m], err));
        }
    if (out->rounds == 0)
        return err_set(err, STATUS_MALFORMED, "no rounds");
    return STATUS_OK;
}

static enum status result_read(const char *path, struct result *out, struct err *err)
{
    struct buf text = {.max = RESULT_BYTES};
    struct err why = {0};
    json *o = NULL;
    enum status s = io_read_file(io_posix(), path, &text, err);
    if (s != STATUS_OK)
        return s;
    s = json_parse(text.data, text.len, &o, &why);
    if (s == STATUS_OK)
        s = result_parse(o, out, &why);
    json_free(o);
    buf_free(&text);
    if (s == STATUS_OK)
        return s;
    return err_set(err, STATUS_CORRUPT, "%s: %s; remove it, and the trial runs again", path,
                   why.text);
}

static bool options_path(const struct study *study, const struct trial_options *options,
                         char path[PATH_BYTES])
{
    json *settings = NULL;
    bool fine = study_settings(study, options, &settings, NULL) == STATUS_OK &&
                result_path(study, options, settings, path, NULL) == STATUS_OK;
    json_free(settings);
    return fine;
}

bool study_has(const struct study *study, const struct trial_options *options)
{
    char path[PATH_BYTES];
    struct result ignored;
    return options_path(study, options, path) &&
           result_read(path, &ignored, NULL) != STATUS_NOT_FOUND;
}

bool study_same(const struct study *study, const struct trial_options *a,
                const struct trial_options *b)
{
    char path_a[PATH_BYTES], path_b[PATH_BYTES];
    return options_path(study, a, path_a) && options_path(study, b, path_b) &&
           strcmp(path_a, path_b) == 0;
}

/* ---- running ---- */

int study_rounds(const struct trial_options *options)
{
    return options->method == TRIAL_SOURCE || options->method == TRIAL_TEACHER ? 1
                                                                               : options->rounds;
}

struct running {
    struct study *study;
    struct result *out;
};

static void scores_take(double *value, const struct trial_round *r)
{
    const struct evaluation *t = &r->target, *s = &r->source;
    value[TARGET_MC] = t->five.choices ? t->five.mc : (double)NAN;
    value[TARGET_DA] = t->five.count ? t->five.da : (double)NAN;
    value[NEW_MC] = t->new_concepts.choices ? t->new_concepts.mc : (double)NAN;
    value[NEW_DA] = t->new_concepts.count ? t->new_concepts.da : (double)NAN;
    value[SOURCE_MC] = s->five.choices ? s->five.mc : (double)NAN;
    value[SOURCE_DA] = s->five.count ? s->five.da : (double)NAN;
    if (t->five.count == 0 && t->captions.count == 0) { /* a directory: kinds are not known */
        value[TARGET_MC] = t->all.choices ? t->all.mc : (double)NAN;
        value[TARGET_DA] = t->all.da;
    }
    if (s->five.count == 0 && s->captions.count == 0) {
        value[SOURCE_MC] = s->all.choices ? s->all.mc : (double)NAN;
        value[SOURCE_DA] = s->all.da;
    }
}

static void captions_take(double *value, const struct trial_round *r)
{
    const struct {
        enum measure bleu, cider;
        const struct caption_result *from;
    } parts[] = {{TARGET_BLEU, TARGET_CIDER, &r->target.captions},
                 {NEAR_BLEU, NEAR_CIDER, &r->near.captions},
                 {NEW_BLEU, NEW_CIDER, &r->target.captions_new},
                 {SOURCE_BLEU, SOURCE_CIDER, &r->source.captions}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].from->count == 0)
            continue;
        value[parts[i].bleu] = 100 * parts[i].from->scores.bleu[3];
        value[parts[i].cider] = 100 * parts[i].from->scores.cider;
    }
}

static void bytes_take(double *value, const struct trial_round *r)
{
    const struct {
        enum measure measure;
        size_t bytes;
    } sizes[] = {{UPLINK_PLAIN, r->uplink_plain},
                 {UPLINK_PNG, r->png_bytes},
                 {UPLINK_PNG_PLAIN, r->png_plain},
                 {DOWNLINK_DIFFERENCE, r->delivered.difference_bytes},
                 {DOWNLINK_BSDIFF, r->delivered.bsdiff_bytes}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].bytes)
            value[sizes[i].measure] = (double)sizes[i].bytes;
    if (r->instances) {
        value[UPLOADS] = r->instances;
        value[UPLINK] = (double)r->uplink_bytes;
        value[UPLINK_EACH] = (double)r->uplink_bytes / r->instances;
        value[PASSED] = r->report.passed;
    }
    if (r->delta_bytes) {
        value[DOWNLINK] = (double)r->delta_bytes;
        value[BITS] = r->bits;
    }
}

static void round_take(void *ctx, const struct trial_round *r)
{
    struct running *run = ctx;
    struct study *study = run->study;
    char note[64];
    if (run->out->rounds == STUDY_ROUNDS)
        return;
    double *value = run->out->value[run->out->rounds++];
    for (int m = 0; m < MEASURES; m++)
        value[m] = (double)NAN;
    if (r->scored) {
        scores_take(value, r);
        captions_take(value, r);
    }
    bytes_take(value, r);
    value[SECONDS] = r->seconds;
    snprintf(note, sizeof note, "target %.1f", value[TARGET_MC]);
    progress_update(&study->progress, ++study->rounds_done, r->scored ? note : NULL);
}

static enum status trial_make(struct study *study, const struct trial_options *options,
                              const volatile int *cancel, struct result *out, struct err *err)
{
    struct running run = {study, out};
    int64_t start = clock_monotonic_ms();
    if (options->rounds > STUDY_ROUNDS)
        return err_set(err, STATUS_USAGE, "%d rounds; a study keeps at most %d", options->rounds,
                       STUDY_ROUNDS);
    memset(out, 0, sizeof *out);
    TRY(trial_run(study->lab, options, cancel, round_take, &run, err));
    out->seconds = (double)(clock_monotonic_ms() - start) / 1000;
    return STATUS_OK;
}

enum status study_trial(struct study *study, const struct trial_options *options,
                        const volatile int *cancel, struct result *out, struct err *err)
{
    char path[PATH_BYTES];
    json *settings = NULL;
    TRY(study_settings(study, options, &settings, err));
    enum status s = result_path(study, options, settings, path, err);
    if (s == STATUS_OK)
        s = result_read(path, out, err);
    if (s != STATUS_NOT_FOUND) {
        json_free(settings);
        return s;
    }
    s = trial_make(study, options, cancel, out, err);
    if (s != STATUS_OK) {
        json_free(settings);
        return s;
    }
    return result_write(path, settings, out, err); /* takes the settings */
}

struct spread spread_of(const double *values, int n)
{
    struct spread s = {0, 0, n};
    double squares = 0;
    for (int i = 0; i < n; i++)
        s.mean += values[i] / n;
    for (int i = 0; i < n; i++)
        squares += (values[i] - s.mean) * (values[i] - s.mean);
    s.deviation = n > 1 ? sqrt(squares / (n - 1)) : 0;
    return s;
}
