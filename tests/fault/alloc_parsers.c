/* alloc_parsers CORPUS [MOST]: each parser on each file of the fuzz targets' corpora, with each
 * allocation failing in turn. A parser then says so, with a text, or does without; nothing leaks
 * (LeakSanitizer at the end). */
#include "api/base/buf.h"
#include "api/base/io.h"
#include "api/wire/delta.h"
#include "api/wire/json.h"
#include "api/wire/limits.h"
#include "api/wire/payload.h"
#include "api/wire/problem.h"
#include "api/wire/safetensors.h"
#include "model/mllm/config.h"
#include "model/mllm/preprocess.h"
#include "model/mllm/tokenizer_parts.h"
#include "model/task/image.h"
#include "tests/fault/alloc_fault.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
    const char *name;
    struct buf bytes;
    enum status (*parse)(const struct input *input, struct err *err);
    enum status expected; /* without faults */
};

static enum status parse_json(const struct input *input, struct err *err)
{
    json *value = NULL;
    struct buf out = {.max = 1 << 24};
    TRY(json_parse(input->bytes.data, input->bytes.len, &value, err));
    enum status status = json_print(value, true, &out);
    json_free(value);
    buf_free(&out);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "cannot print");
}

static enum status parse_payload(const struct input *input, struct err *err)
{
    bool text = input->bytes.data[0] == '{';
    struct buf first = {.max = LIMIT_UPLOAD_RAW_BYTES}, second = first;
    struct payload payload;
    TRY(payload_decode(text ? "application/json" : "application/x-safetensors", input->bytes.data,
                       input->bytes.len, &payload, err));
    enum status status = payload_encode(&payload, &first, err);
    if (status == STATUS_OK)
        status = payload_encode_json(&payload, &second, err);
    payload_free(&payload);
    buf_free(&first);
    buf_free(&second);
    return status;
}

static enum status parse_delta(const struct input *input, struct err *err)
{
    struct buf out = {.max = LIMIT_DELTA_BYTES};
    struct delta delta;
    TRY(delta_decode(input->bytes.data, input->bytes.len, &delta, err));
    enum status status = delta_encode(&delta, &out, err);
    delta_free(&delta);
    buf_free(&out);
    return status;
}

static enum status parse_safetensors(const struct input *input, struct err *err)
{
    struct safetensors file;
    TRY(safetensors_parse(input->bytes.data, input->bytes.len, &file, err));
    safetensors_close(&file);
    return STATUS_OK;
}

static enum status parse_config(const struct input *input, struct err *err)
{
    struct mllm_config config;
    struct preprocess preprocess;
    TRY(preprocess_parse(input->bytes.data, input->bytes.len, 224, &preprocess, err));
    return mllm_config_parse(input->bytes.data, input->bytes.len, &config, err);
}

static enum status parse_image(const struct input *input, struct err *err)
{
    struct image image, small;
    TRY(image_decode(input->bytes.data, input->bytes.len, &image, err));
    enum status status = image_resize(&image, 8, 8, &small, err);
    if (status == STATUS_OK)
        image_free(&small);
    image_free(&image);
    return status;
}

static enum status tokenizer_use(const struct tokenizer *tokenizer, struct err *err)
{
    static const char from[] = "ab abc  hello, World! 12 345";
    int32_t ids[256];
    size_t n = 0;
    struct tokenizer_text text = {.text = from, .len = sizeof from - 1};
    struct buf out = {.max = 1 << 20};
    TRY(tokenizer_encode_as(tokenizer, &text, 0, ids, 256, &n, err));
    enum status status = tokenizer_decode(tokenizer, ids, n, &out);
    buf_free(&out);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "cannot decode");
}

static enum status parse_tokenizer(const struct input *input, struct err *err)
{
    struct tokenizer_settings settings = {
        .add_bos = true, .legacy = true, .lower = true, .ideographs = true, .strip_accents = -1};
    const unsigned char *data = input->bytes.data;
    size_t len = input->bytes.len;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    t->references = 1;
    enum status status = data[0] == 'j' ? tokenizer_read_json(t, data + 1, len - 1, &settings, err)
                         : data[0] == 'm'
                             ? tokenizer_read_model(t, data + 1, len - 1, &settings, err)
                             : tokenizer_read_vocab(t, data + 1, len - 1, &settings, err);
    if (status == STATUS_OK)
        status = added_tokens_index(&t->added, err);
    if (status == STATUS_OK)
        status = tokenizer_use(t, err);
    tokenizer_settings_free(&settings);
    tokenizer_destroy(t);
    return status;
}

static bool parse(void *ctx, bool faulty)
{
    struct input *input = ctx;
    struct err err = {0};
    enum status status = input->parse(input, &err);
    if (!faulty)
        input->expected = status;
    bool fine = status == input->expected || (faulty && status == STATUS_NO_MEMORY);
    if (status != STATUS_OK && err.text[0] == '\0')
        fine = false;
    if (!fine)
        printf("%s: %s: \"%s\"\n", input->name, status_name(status), err.text);
    return fine;
}

static bool file_torture(const char *folder, const char *name, struct input *input, long most)
{
    char path[1024];
    struct err err;
    input->bytes = (struct buf){.max = 16 << 20};
    input->name = name;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (io_read_file(io_posix(), path, &input->bytes, &err) != STATUS_OK || !input->bytes.len) {
        buf_free(&input->bytes);
        return true;
    }
    bool fine = alloc_torture(path, parse, input, most);
    buf_free(&input->bytes);
    return fine;
}

static bool folder_torture(const char *corpus, const char *format, struct input *input, long most)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s/%s", corpus, format);
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    bool fine = true;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            fine &= file_torture(folder, entry->d_name, input, most);
    closedir(dir);
    return fine;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *format;
        enum status (*parse)(const struct input *input, struct err *err);
    } parsers[] = {{"json", parse_json},          {"payload", parse_payload},
                   {"delta", parse_delta},        {"safetensors", parse_safetensors},
                   {"config", parse_config},      {"image", parse_image},
                   {"tokenizer", parse_tokenizer}};
    bool fine = argc > 1;
    alloc_hooks();
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof parsers / sizeof *parsers; i++) {
        struct input input = {.parse = parsers[i].parse};
        fine &= folder_torture(argv[1], parsers[i].format, &input, argc > 2 ? atol(argv[2]) : 100);
    }
    return !fine;
}
