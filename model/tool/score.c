/* cdcca-model score --captions FILE.jsonl, or --aokvqa ANNOTATIONS --predictions FILE: outputs of
 * any model, scored as the official scorers do it, printed as JSON. Lines of FILE.jsonl:
 * {"candidate": "..", "refs": ["..", ..]}; "caption" and "references" will do, too; other fields
 * are ignored. Without "candidate", or with null, an empty one is scored. */
#include "model/tool/score.h"
#include "api/base/io.h"
#include "api/base/progress.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/task/caption_tokens.h"
#include "model/task/vqa_score.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX_BYTES = 1 << 30, REFERENCES_MAX = 64, CAPTION_MAX_BYTES = 1 << 14 };

struct score {
    const char *captions, *aokvqa, *predictions;
    bool each, tokenized, normalize, quiet;
};

/* ---- captions ---- */

struct line {
    struct buf words[1 + REFERENCES_MAX]; /* the candidate's, then the references' */
    const char *reference[REFERENCES_MAX];
    int references;
};

static enum status words_read(const struct score *s, const char *text, struct buf *out,
                              struct err *err)
{
    enum status status;
    out->max = 4 * CAPTION_MAX_BYTES;
    buf_clear(out);
    status = s->tokenized ? buf_append(out, text, strlen(text)) : caption_tokenize(text, out);
    return status == STATUS_OK ? status : err_set(err, status, "no memory for a caption");
}

static enum status references_read(const struct score *s, const json *value, struct line *line,
                                   struct err *err)
{
    const char *key = json_has(value, "refs") ? "refs" : "references";
    const json *list;
    TRY(json_get_array(value, key, REFERENCES_MAX, &list, err));
    line->references = (int)json_length(list);
    for (int i = 0; i < line->references; i++) {
        const char *text;
        if (json_string_at(list, (size_t)i, CAPTION_MAX_BYTES, &text, err) != STATUS_OK)
            return err_prefix(err, "\"%s\"", key);
        TRY(words_read(s, text, &line->words[1 + i], err));
        line->reference[i] = (const char *)line->words[1 + i].data;
    }
    return STATUS_OK;
}

static enum status line_add(const struct score *s, const char *text, size_t length,
                            struct line *line, struct caption_corpus *corpus, struct err *err)
{
    const char *candidate = "";
    json *value = NULL;
    enum status status = json_parse(text, length, &value, err);
    if (status == STATUS_OK)
        status = json_opt_string(value, json_has(value, "caption") ? "caption" : "candidate",
                                 CAPTION_MAX_BYTES, &candidate, err);
    if (status == STATUS_OK)
        status = words_read(s, candidate, &line->words[0], err);
    if (status == STATUS_OK)
        status = references_read(s, value, line, err);
    if (status == STATUS_OK)
        status = caption_corpus_add(corpus, (const char *)line->words[0].data, line->reference,
                                    line->references, err);
    json_free(value);
    return status;
}

static bool is_blank(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r", text[i]))
            return false;
    return true;
}

static enum status lines_add(const struct score *s, const struct buf *file,
                             struct caption_corpus *corpus, struct err *err)
{
    const char *at = (const char *)file->data, *end = at + file->len;
    struct line *line = calloc(1, sizeof *line);
    struct progress bar;
    enum status status = line ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for a line");
    progress_start(&bar, "read", "bytes", (int64_t)file->len, 0, s->quiet);
    for (int64_t number = 1; status == STATUS_OK && at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((newline ? newline : end) - at);
        if (!is_blank(at, length))
            status = line_add(s, at, length, line, corpus, err);
        if (status != STATUS_OK)
            err_prefix(err, "%s line %lld", s->captions, (long long)number);
        at += length + (newline != NULL);
        progress_update(&bar, (int64_t)(at - (const char *)file->data), NULL);
    }
    progress_finish(&bar, NULL);
    for (int i = 0; line && i <= REFERENCES_MAX; i++)
        buf_free(&line->words[i]);
    free(line);
    return status;
}

json *score_captions_json(const struct caption_scores *scores)
{
    json *value = json_object_new(), *bleu = json_array_new();
    bool whole = value && bleu && json_set_number(value, "cider", scores->cider) &&
                 json_set_number(value, "rouge_l", scores->rouge_l);
    for (int k = 0; k < CAPTION_ORDERS && whole; k++)
        whole = json_append_number(bleu, scores->bleu[k]);
    if (whole && json_set_take(value, "bleu", bleu))
        return value;
    if (!whole)
        json_free(bleu);
    json_free(value);
    return NULL;
}

static json *captions_json(const struct caption_corpus *corpus, const struct caption_scores *total,
                           const struct caption_scores *each)
{
    json *value = score_captions_json(total), *list = each ? json_array_new() : NULL;
    bool whole = value && (!each || list) && json_set_int(value, "captions", corpus->count);
    for (int i = 0; each && whole && i < corpus->count; i++)
        whole = json_append_take(list, score_captions_json(&each[i]));
    if (whole && (!each || json_set_take(value, "each", list)))
        return value;
    if (!whole)
        json_free(list);
    json_free(value);
    return NULL;
}

static enum status corpus_report(const struct score *s, const struct caption_corpus *corpus,
                                 struct err *err)
{
    struct caption_scores total, *each = NULL;
    if (s->each && corpus->count && !(each = calloc((size_t)corpus->count, sizeof *each)))
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d scores", corpus->count);
    enum status status = caption_score(corpus, &total, each, err);
    if (status == STATUS_OK)
        status = json_say(captions_json(corpus, &total, each), true, err);
    else
        err_prefix(err, "%s", s->captions);
    free(each);
    return status;
}

static enum status captions_score(const struct score *s, struct err *err)
{
    struct buf file = {.max = FILE_MAX_BYTES};
    struct caption_corpus corpus = {0};
    enum status status = io_read_file(io_posix(), s->captions, &file, err);
    if (status == STATUS_OK)
        status = lines_add(s, &file, &corpus, err);
    if (status == STATUS_OK)
        status = corpus_report(s, &corpus, err);
    caption_corpus_free(&corpus);
    buf_free(&file);
    return status;
}

/* ---- answers ---- */

static enum status json_load(const char *path, json **out, struct err *err)
{
    struct buf file = {.max = FILE_MAX_BYTES};
    enum status status = io_read_file(io_posix(), path, &file, err);
    if (status == STATUS_OK && (status = json_parse(file.data, file.len, out, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    buf_free(&file);
    return status;
}

static bool group_set(json *object, const char *key, double percent, int questions, int missing,
                      const int *invalid)
{
    json *group = json_object_new();
    if (group && json_set_number(group, "percent", percent) &&
        json_set_int(group, "questions", questions) && json_set_int(group, "missing", missing) &&
        (!invalid || json_set_int(group, "none_of_the_choices", *invalid)))
        return json_set_take(object, key, group);
    json_free(group);
    return false;
}

/* A kind that no prediction names is left out, as the official scorer does. */
static json *answers_json(const struct vqa_scores *v)
{
    json *value = json_object_new();
    if (value && json_set_int(value, "questions", v->questions) &&
        (!v->has_mc || group_set(value, "multiple_choice", v->mc, v->mc_questions, v->mc_missing,
                                 &v->mc_invalid)) &&
        (!v->has_da ||
         group_set(value, "direct_answer", v->da, v->da_questions, v->da_missing, NULL)))
        return value;
    json_free(value);
    return NULL;
}

static enum status answers_score(const struct score *s, struct err *err)
{
    json *annotations = NULL, *predictions = NULL;
    struct vqa_scores scores;
    enum status status = json_load(s->aokvqa, &annotations, err);
    if (status == STATUS_OK)
        status = json_load(s->predictions, &predictions, err);
    if (status == STATUS_OK)
        status = vqa_score(annotations, predictions, s->normalize, &scores, err);
    if (status == STATUS_OK)
        status = json_say(answers_json(&scores), true, err);
    json_free(annotations);
    json_free(predictions);
    return status;
}

/* ---- the command ---- */

enum status score_run(int argc, char **argv, struct err *err)
{
    struct score s = {0};
    int positional = 0;
    const struct option table[] = {
        {"captions", OPTION_STRING, &s.captions, 0, 0, "FILE",
         "lines of {\"candidate\": \"..\", \"refs\": [\"..\"]}: BLEU, CIDEr, ROUGE-L"},
        {"tokenized", OPTION_FLAG, &s.tokenized, 0, 0, NULL,
         "captions are words and blanks already; else as the COCO evaluation splits them"},
        {"each", OPTION_FLAG, &s.each, 0, 0, NULL, "the scores of each caption, too"},
        {"aokvqa", OPTION_STRING, &s.aokvqa, 0, 0, "FILE", "A-OKVQA annotations"},
        {"predictions", OPTION_STRING, &s.predictions, 0, 0, "FILE",
         "{ID: {\"multiple_choice\": \"..\", \"direct_answer\": \"..\"}, ..}"},
        {"normalize", OPTION_FLAG, &s.normalize, 0, 0, NULL,
         "compare direct answers as VQA-v2 does, not letter by letter"},
        {"quiet", OPTION_FLAG, &s.quiet, 0, 0, NULL, "no progress"},
        {0}};
    const struct options options = {
        "cdcca-model score", "score captions or answers that any model gave", NULL, table, 0, 0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!s.captions == !s.aokvqa)
        return err_set(err, STATUS_USAGE,
                       "either --captions FILE, or --aokvqa FILE and --predictions FILE");
    if (s.aokvqa && !s.predictions)
        return err_set(err, STATUS_USAGE, "--aokvqa wants --predictions FILE");
    return s.captions ? captions_score(&s, err) : answers_score(&s, err);
}
