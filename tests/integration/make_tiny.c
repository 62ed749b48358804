/* make_tiny DIR: DIR/teacher, DIR/student, DIR/sure, DIR/stranger and DIR/talker, model directories
 * of a few thousand random parameters. Teacher and student share a vision encoder; the stranger has
 * one of its own; the sure one is the student with larger logits; the talker is a plain LLaMA. */
#include "tests/unit/tiny_pair.h"
#include <sys/stat.h>

static enum status model_write(const struct mllm *model, const char *dir, const char *name,
                               struct err *err)
{
    static const char *const texts[] = {"what color is the cat", "red", "green", "is it night"};
    static const char *const specials[] = {"<pad>", "</s>"};
    char path[512];
    TRY(io_join(path, sizeof path, dir, name, err));
    TRY(io_make_dirs(io_posix(), path, err));
    TRY(tokenizer_train(io_posix(), path, texts, 4, TINY_VOCAB, specials, 2, err));
    return mllm_save(io_posix(), model, path, DTYPE_F32, err);
}

static enum status talker_write(const char *dir, struct err *err)
{
    struct mllm_config config = tiny_config(2);
    struct mllm *talker;
    config.multimodal = false;
    TRY(mllm_create(&config, 4, &talker, err));
    tiny_stir(talker, 4);
    enum status status = model_write(talker, dir, "talker", err);
    mllm_release(talker);
    return status;
}

static enum status models_write(const char *dir, struct err *err)
{
    struct mllm_config large = tiny_config(4), small = tiny_config(2);
    struct mllm *teacher, *student, *stranger;
    TRY(mllm_create(&large, 1, &teacher, err));
    TRY(mllm_create(&small, 2, &student, err));
    TRY(mllm_create(&small, 3, &stranger, err));
    tiny_stir(teacher, 1);
    tiny_stir(student, 2);
    tiny_stir(stranger, 3);
    tiny_share_encoder(student, teacher);
    enum status status = model_write(teacher, dir, "teacher", err);
    if (status == STATUS_OK)
        status = model_write(student, dir, "student", err);
    if (status == STATUS_OK)
        status = model_write(stranger, dir, "stranger", err);
    if (status == STATUS_OK)
        status = talker_write(dir, err);
    struct param *head = student->llama.head.weight;
    for (size_t i = 0; i < param_count(head); i++)
        head->data[i] *= 30;
    if (status == STATUS_OK)
        status = model_write(student, dir, "sure", err);
    mllm_release(teacher);
    mllm_release(student);
    mllm_release(stranger);
    return status;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    if (argc != 2)
        return fprintf(stderr, "usage: make_tiny DIR\n"), 2;
    if (models_write(argv[1], &err) != STATUS_OK)
        return fprintf(stderr, "make_tiny: %s\n", err.text), 1;
    return 0;
}
