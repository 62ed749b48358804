/* What the edge's tests share: a temporary folder, and a student so small that it loads in no time
 * (random weights, a byte-level tokenizer). */
#ifndef CDCCA_TEST_EDGE_TINY_H
#define CDCCA_TEST_EDGE_TINY_H

#include "client/infer.h"
#include "model/mllm/mllm.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TINY_PATH = 512, TINY_VOCAB = 320 };

static inline void tiny_folder(char out[TINY_PATH])
{
    snprintf(out, TINY_PATH, "/tmp/cdcca-edge-XXXXXX");
    assert_non_null(mkdtemp(out));
}

static inline void tiny_remove(const char *path)
{
    struct stat info;
    DIR *dir = lstat(path, &info) == 0 && S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    if (dir) {
        for (struct dirent *entry; (entry = readdir(dir));) {
            char child[8 * TINY_PATH];
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            if (snprintf(child, sizeof child, "%s/%s", path, entry->d_name) < (int)sizeof child)
                tiny_remove(child);
        }
        closedir(dir);
    }
    remove(path);
}

/* Files in a folder whose name ends so. */
static inline int tiny_count(const char *path, const char *end)
{
    int count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        if (len >= strlen(end) && strcmp(entry->d_name + len - strlen(end), end) == 0 &&
            entry->d_name[0] != '.')
            count++;
    }
    closedir(dir);
    return count;
}

static inline struct mllm_config tiny_config(void)
{
    struct mllm_config c = {.multimodal = true, .queries = 4, .prompt = "{question}"};
    c.vision.hidden = 16, c.vision.layers = 1, c.vision.heads = 2, c.vision.ffn = 32;
    c.vision.image = 32, c.vision.patch = 8, c.vision.eps = 1e-6f, c.vision.qkv_bias = true;
    c.qformer.hidden = 16, c.qformer.layers = 2, c.qformer.heads = 2, c.qformer.ffn = 32;
    c.qformer.vocab = TINY_VOCAB, c.qformer.positions = 128, c.qformer.encoder_hidden = 16;
    c.qformer.cross_every = 2, c.qformer.eps = 1e-12f, c.qformer.text = true;
    c.text.hidden = 16, c.text.layers = 1, c.text.heads = 2, c.text.kv_heads = 2, c.text.ffn = 32;
    c.text.vocab = TINY_VOCAB, c.text.positions = 256, c.text.eps = 1e-6f, c.text.theta = 10000;
    c.text.bos = 1, c.text.eos = 2, c.text.pad = 0;
    return c;
}

/* A model directory at dir, from a seed; its logits times `sharp`: how sure it is of its answers.
 */
static inline void tiny_sharp_student(const char *dir, uint64_t seed, float sharp)
{
    static const char *const specials[] = {"<pad>", "<s>", "</s>"};
    static const char *const texts[] = {"what color is the circle?",
                                        "how many objects are there?",
                                        "is there a square?",
                                        "red",
                                        "blue",
                                        "two",
                                        "yes"};
    struct mllm_config config = tiny_config();
    struct mllm *m = NULL;
    struct err err = {0};
    mkdir(dir, 0700);
    if (tokenizer_train(io_posix(), dir, texts, 7, TINY_VOCAB, specials, 3, &err) != STATUS_OK ||
        mllm_create(&config, seed, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    struct param *head = m->llama.head.weight;
    for (size_t i = 0; i < param_count(head); i++)
        head->data[i] *= sharp;
    if (mllm_save(io_posix(), m, dir, DTYPE_F32, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    mllm_release(m);
}

static inline void tiny_student(const char *dir, uint64_t seed)
{
    tiny_sharp_student(dir, seed, 1);
}

static inline struct mllm *tiny_load(const char *dir)
{
    struct mllm *m = NULL;
    struct err err = {0};
    if (infer_load(dir, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return m;
}

#endif
