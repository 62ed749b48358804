/* A teacher and a student of a few thousand parameters with one vision encoder and a tokenizer,
 * made from nothing, and random uploads for them. */
#ifndef CDCCA_TEST_TINY_PAIR_H
#define CDCCA_TEST_TINY_PAIR_H

#include "api/base/io.h"
#include "model/learn/distill.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TINY_TOKENS = 17, TINY_WIDTH = 16, TINY_VOCAB = 272 };

struct tiny_pair {
    struct mllm *teacher, *student; /* student: a trainable set attached */
    struct trainable set;           /* of the student */
    char dir[64];
};

static inline struct mllm_config tiny_config(int qformer_layers)
{
    struct mllm_config c = {.multimodal = true, .queries = 4, .prompt = "{question}"};
    c.vision.hidden = TINY_WIDTH, c.vision.layers = 1, c.vision.heads = 2, c.vision.ffn = 32;
    c.vision.image = 16, c.vision.patch = 4, c.vision.eps = 1e-6f, c.vision.qkv_bias = true;
    c.qformer.hidden = 16, c.qformer.layers = qformer_layers, c.qformer.heads = 2;
    c.qformer.ffn = 32, c.qformer.vocab = TINY_VOCAB, c.qformer.positions = 64;
    c.qformer.encoder_hidden = TINY_WIDTH, c.qformer.cross_every = 2, c.qformer.eps = 1e-6f;
    c.qformer.text = true;
    c.text.hidden = 16, c.text.layers = 2, c.text.heads = 2, c.text.kv_heads = 2;
    c.text.ffn = 32, c.text.vocab = TINY_VOCAB, c.text.positions = 128;
    c.text.eps = 1e-6f, c.text.theta = 10000, c.text.bos = -1, c.text.eos = 1, c.text.pad = 0;
    return c;
}

static inline struct tokenizer *tiny_tokenizer(char *dir, size_t size)
{
    static const char *const texts[] = {"what color is the cat", "red", "green", "is it night"};
    static const char *const specials[] = {"<pad>", "</s>"};
    struct tokenizer *tokenizer = NULL;
    struct err err = {0};
    snprintf(dir, size, "/tmp/cdcca-tiny-XXXXXX");
    if (!mkdtemp(dir) ||
        tokenizer_train(io_posix(), dir, texts, 4, TINY_VOCAB, specials, 2, &err) != STATUS_OK ||
        tokenizer_load(io_posix(), dir, &tokenizer, &err) != STATUS_OK)
        fprintf(stderr, "tiny tokenizer: %s\n", err.text);
    return tokenizer;
}

/* Larger than HF's 0.02, the output head most of all, so that adapters alone can teach it. */
static inline void tiny_stir(struct mllm *m, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed, 77);
    for (int i = 0; i < m->param_count; i++) {
        float deviation = &m->params[i] == m->llama.head.weight ? 1 : 0.3f;
        for (size_t j = 0; m->params[i].ndim >= 2 && j < param_count(&m->params[i]); j++)
            m->params[i].data[j] = deviation * rng_normal(&rng);
    }
    mllm_fingerprint(m);
}

static inline void tiny_share_encoder(struct mllm *to, const struct mllm *from)
{
    for (int i = 0; i < from->param_count; i++)
        if (strncmp(from->params[i].name, "vision_model.", 13) == 0)
            memcpy(mllm_find(to, from->params[i].name)->data, from->params[i].data,
                   param_count(&from->params[i]) * sizeof(float));
    mllm_fingerprint(to);
}

static inline enum status tiny_pair_init(struct tiny_pair *p, struct err *err)
{
    struct mllm_config teacher = tiny_config(4), student = tiny_config(2);
    struct trainable_options options = {.lora_rank = 2, .lora_alpha = 4, .adapter_width = 4};
    TRY(mllm_create(&teacher, 1, &p->teacher, err));
    TRY(mllm_create(&student, 2, &p->student, err));
    tiny_stir(p->teacher, 1);
    tiny_stir(p->student, 2);
    tiny_share_encoder(p->student, p->teacher);
    p->teacher->tokenizer = tiny_tokenizer(p->dir, sizeof p->dir);
    p->teacher->qformer_tokenizer = tokenizer_retain(p->teacher->tokenizer);
    p->student->tokenizer = tokenizer_retain(p->teacher->tokenizer);
    p->student->qformer_tokenizer = tokenizer_retain(p->teacher->tokenizer);
    return trainable_attach(p->student, &options, &p->set, err);
}

static inline void tiny_pair_deinit(struct tiny_pair *p)
{
    char path[96];
    trainable_free(&p->set);
    mllm_release(p->teacher);
    mllm_release(p->student);
    snprintf(path, sizeof path, "%s/tokenizer.json", p->dir);
    unlink(path);
    rmdir(p->dir);
}

/* n uploads of random tokens; their count of tokens varies. visual: n * TINY_TOKENS * TINY_WIDTH */
static inline void tiny_uploads(struct distill_instance *out, float *visual, int n, uint64_t seed)
{
    static const char *const questions[] = {"what color is the cat", "is it night", "red",
                                            "is the cat green"};
    struct rng rng;
    rng_init(&rng, seed, 3);
    for (int i = 0; i < n * TINY_TOKENS * TINY_WIDTH; i++)
        visual[i] = rng_normal(&rng);
    for (int i = 0; i < n; i++)
        out[i] = (struct distill_instance){.question = questions[i % 4],
                                           .visual = visual + i * TINY_TOKENS * TINY_WIDTH,
                                           .count = TINY_TOKENS - i % 3};
}

/* A teacher that says something: *out is a copy of p->teacher whose adapters learned one short
 * answer for each of tiny_uploads' questions. */
static inline enum status tiny_taught_teacher(struct tiny_pair *p, struct mllm **out,
                                              struct err *err)
{
    enum { N = 40 };
    static const char *const answers[] = {"green", "night", "red", "cat"};
    static float visual[N * TINY_TOKENS * TINY_WIDTH];
    struct distill_instance uploads[N];
    struct trainable_options adapters = {.lora_rank = 4, .lora_alpha = 8, .adapter_width = 8};
    struct distill_options o = distill_defaults();
    struct distill_report report;
    struct distiller *d;
    struct trainable set;
    TRY(mllm_clone(p->teacher, out, err));
    TRY(trainable_attach(*out, &adapters, &set, err));
    TRY(distiller_create(p->teacher, *out, NULL, &d, err));
    tiny_uploads(uploads, visual, N, 99);
    for (int i = 0; i < N; i++)
        uploads[i].correction = answers[i % 4];
    o.labels = LABELS_HARD;
    o.query = o.repr = o.holdout = 0;
    o.steps = 200;
    o.lr = 1e-2f;
    enum status s = distiller_round(d, uploads, N, &o, NULL, NULL, NULL, &report, err);
    distiller_destroy(d);
    trainable_free(&set);
    return s;
}

#endif
