/* Checkpoints that are like ours but for something: a list of tensors made from a small model,
 * which a test renames, replaces, drops or adds to before it is written and loaded. */
#ifndef CDCCA_TEST_CHECKPOINT_CASE_H
#define CDCCA_TEST_CHECKPOINT_CASE_H

#include "model/mllm/mllm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CASE_TENSORS = 512, CASE_NAME = 160 };

struct checkpoint_case {
    char dir[64];
    struct mllm *model;
    struct safetensors_entry entry[CASE_TENSORS];
    char name[CASE_TENSORS][CASE_NAME];
    size_t count;
};

/* Widths that are no multiples of a block, grouped heads, all three parts. */
static inline struct mllm_config case_config(void)
{
    struct mllm_config c = {.multimodal = true, .queries = 2, .prompt = "{question}"};
    c.vision.hidden = 8, c.vision.layers = 2, c.vision.heads = 2, c.vision.ffn = 12;
    c.vision.image = 8, c.vision.patch = 4, c.vision.eps = 1e-6F, c.vision.qkv_bias = true;
    c.qformer.hidden = 8, c.qformer.layers = 2, c.qformer.heads = 2, c.qformer.ffn = 8;
    c.qformer.vocab = 11, c.qformer.positions = 6, c.qformer.encoder_hidden = 8;
    c.qformer.cross_every = 2, c.qformer.eps = 1e-12F, c.qformer.text = true;
    c.text.hidden = 24, c.text.layers = 2, c.text.heads = 4, c.text.kv_heads = 2, c.text.ffn = 20;
    c.text.vocab = 11, c.text.positions = 32, c.text.eps = 1e-6F, c.text.theta = 10000;
    c.text.bos = c.text.eos = c.text.pad = -1;
    return c;
}

/* Every value random, biases and norms too, so that nothing can be mistaken for something else. */
static inline void case_init(struct checkpoint_case *c, const struct mllm_config *config)
{
    struct rng rng;
    memset(c, 0, sizeof *c);
    snprintf(c->dir, sizeof c->dir, "/tmp/cdcca-test-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    assert_int_equal(mllm_create(config, 5, &c->model, NULL), STATUS_OK);
    rng_init(&rng, 3, 1);
    for (int i = 0; i < c->model->param_count; i++) {
        const struct param *p = &c->model->params[i];
        struct safetensors_entry *e = &c->entry[c->count];
        for (size_t j = 0; j < param_count(p); j++)
            p->data[j] = rng_normal(&rng);
        snprintf(c->name[c->count], CASE_NAME, "%s", p->name);
        *e = (struct safetensors_entry){
            .name = c->name[c->count], .dtype = DTYPE_F32, .ndim = p->ndim, .data = p->data};
        for (int d = 0; d < p->ndim; d++)
            e->dim[d] = (uint64_t)p->dim[d];
        c->count++;
    }
    mllm_fingerprint(c->model);
}

static inline void case_deinit(struct checkpoint_case *c)
{
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "preprocessor_config.json", "pytorch_model.bin"};
    char path[128];
    mllm_release(c->model);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", c->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(c->dir), 0);
}

static inline struct safetensors_entry *case_find(struct checkpoint_case *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->name[i], name) == 0)
            return &c->entry[i];
    fail_msg("no tensor %s", name);
    return c->entry; /* not reached */
}

static inline void case_drop(struct checkpoint_case *c, const char *name)
{
    struct safetensors_entry *e = case_find(c, name);
    size_t last = --c->count, at = (size_t)(e - c->entry);
    memcpy(c->name[at], c->name[last], CASE_NAME);
    c->entry[at] = c->entry[last];
    c->entry[at].name = c->name[at];
}

static inline void case_add(struct checkpoint_case *c, const char *name, enum dtype dtype, int ndim,
                            const uint64_t *dim, const void *data)
{
    struct safetensors_entry *e = &c->entry[c->count];
    snprintf(c->name[c->count], CASE_NAME, "%s", name);
    *e = (struct safetensors_entry){
        .name = c->name[c->count], .dtype = dtype, .ndim = ndim, .data = data};
    for (int d = 0; d < ndim; d++)
        e->dim[d] = dim[d];
    c->count++;
}

/* Replaces the first `from` in every name that has one. */
static inline void case_rename(struct checkpoint_case *c, const char *from, const char *to)
{
    int renamed = 0;
    for (size_t i = 0; i < c->count; i++) {
        char old[CASE_NAME];
        memcpy(old, c->name[i], CASE_NAME);
        const char *at = strstr(old, from);
        if (!at)
            continue;
        snprintf(c->name[i], CASE_NAME, "%.*s%s%s", (int)(at - old), old, to, at + strlen(from));
        renamed++;
    }
    assert_true(renamed > 0);
}

static inline void case_write(struct checkpoint_case *c)
{
    struct buf file = {.max = 1 << 22};
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors", c->dir);
    assert_int_equal(mllm_config_save(io_posix(), c->dir, &c->model->config, NULL), STATUS_OK);
    assert_int_equal(safetensors_write(c->entry, c->count, NULL, NULL, 0, &file, NULL), STATUS_OK);
    assert_int_equal(io_write_file(io_posix(), path, file.data, file.len, NULL), STATUS_OK);
    buf_free(&file);
}

static inline void case_refused(struct checkpoint_case *c, enum status code, const char *says)
{
    struct mllm *m = NULL;
    struct err err = {0};
    case_write(c);
    enum status status = mllm_load(io_posix(), c->dir, &m, &err);
    if (status != code || !strstr(err.text, says))
        fail_msg("%s, not %s with \"%s\": %s", status_name(status), status_name(code), says,
                 err.text);
    assert_null(m);
}

/* Loads, and every value is the model's. */
static inline void case_same(struct checkpoint_case *c)
{
    struct mllm *m = NULL;
    struct err err = {0};
    case_write(c);
    if (mllm_load(io_posix(), c->dir, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < m->param_count; i++)
        assert_memory_equal(m->params[i].data, c->model->params[i].data,
                            param_count(&m->params[i]) * sizeof(float));
    mllm_release(m);
}

#endif
