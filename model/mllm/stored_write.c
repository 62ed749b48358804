/* Writing matrices in the layout of stored.h. The JSON of a quantized matrix is padded with spaces
 * to a fixed length, so that a file's header is known before its tensors are. */
#include "model/mllm/stored.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NESTED_BLOCK = 256, NESTED_CODES = 256 };

/* ---- which tensors ---- */

struct list {
    struct stored_names *names;
    struct safetensors_entry *entry;
    int count;
};

static void list_add(struct list *l, const char *name, const char *ending, enum dtype dtype,
                     const uint64_t *dim, int ndim)
{
    struct safetensors_entry *e = &l->entry[l->count];
    char *to = l->names->name[l->count++];
    snprintf(to, STORED_NAME, "%.1200s%s", name, ending);
    *e = (struct safetensors_entry){.name = to, .dtype = dtype, .ndim = ndim};
    memcpy(e->dim, dim, (size_t)ndim * sizeof *dim);
}

static void list_nf4(struct list *l, const char *name, int rows, int cols, bool nested)
{
    uint64_t scales = weight_scale_count(WEIGHT_NF4, rows, cols);
    uint64_t codes[2] = {weight_code_bytes(WEIGHT_NF4, rows, cols), 1};
    list_add(l, name, "", DTYPE_U8, codes, 2);
    list_add(l, name, ".absmax", nested ? DTYPE_U8 : DTYPE_F32, &scales, 1);
    list_add(l, name, ".quant_map", DTYPE_F32, (uint64_t[]){16}, 1);
    if (nested) {
        uint64_t outer = (scales + NESTED_BLOCK - 1) / NESTED_BLOCK;
        list_add(l, name, ".nested_absmax", DTYPE_F32, &outer, 1);
        list_add(l, name, ".nested_quant_map", DTYPE_F32, (uint64_t[]){NESTED_CODES}, 1);
    }
    list_add(l, name, ".quant_state.bitsandbytes__nf4", DTYPE_U8, (uint64_t[]){STORED_STATE}, 1);
}

int stored_entries(const char *name, enum weight_type type, int rows, int cols, bool nested,
                   struct stored_names *names, struct safetensors_entry out[STORED_ENTRIES])
{
    struct list l = {names, out, 0};
    uint64_t dim[2] = {(uint64_t)rows, (uint64_t)cols};
    char module[STORED_NAME];
    size_t len = strlen(name);
    snprintf(module, sizeof module, "%.*s", (int)(len > 7 ? len - 7 : 0), name); /* ".weight" */
    if (type == WEIGHT_NF4) {
        list_nf4(&l, name, rows, cols, nested);
    } else if (type == WEIGHT_Q8) {
        list_add(&l, name, "", DTYPE_I8, dim, 2);
        list_add(&l, module, ".SCB", DTYPE_F32, dim, 1);
        list_add(&l, module, ".weight_format", DTYPE_U8, dim, 0);
    } else {
        list_add(&l, name, "", type == WEIGHT_BF16 ? DTYPE_BF16 : DTYPE_F16, dim, 2);
    }
    return l.count;
}

/* ---- double quantization ---- */

/* The dynamic map of bitsandbytes (Dettmers 2016): for each power of ten 1e-6..1 twice as many
 * fractions as for the one below, both signs, 0 and 1; ascending. */
static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void dynamic_map(float map[NESTED_CODES])
{
    int n = 0;
    for (int power = 0; power < 7; power++) {
        int items = 1 << power;
        float scale = (float)pow(10, power - 6);
        for (int i = 0; i < items; i++) {
            double low = 0.1 + 0.9 * i / items, high = 0.1 + 0.9 * (i + 1) / items;
            float value = scale * ((float)low + (float)high) / 2;
            map[n++] = value;
            map[n++] = -value;
        }
    }
    map[n++] = 0;
    map[n++] = 1;
    qsort(map, NESTED_CODES, sizeof *map, compare_floats);
}

/* The nearest code of an ascending map. */
static uint8_t nearest(const float map[NESTED_CODES], float x)
{
    int low = 0, high = NESTED_CODES - 1;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (map[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return (uint8_t)(x - map[low] <= map[high] - x ? low : high);
}

struct nested {
    float map[NESTED_CODES];
    float offset; /* mean of the scales */
    size_t count, outer;
    uint8_t *code;
    float *absmax;
};

static void nested_block(struct nested *q, const float *scale, size_t block)
{
    size_t from = block * NESTED_BLOCK;
    size_t end = from + NESTED_BLOCK < q->count ? from + NESTED_BLOCK : q->count;
    float most = 0;
    for (size_t i = from; i < end; i++)
        most = fmaxf(most, fabsf(scale[i] - q->offset));
    q->absmax[block] = most;
    for (size_t i = from; i < end; i++)
        q->code[i] = nearest(q->map, most > 0 ? (scale[i] - q->offset) / most : 0);
}

static enum status nested_make(const struct weight *w, struct nested *q, struct err *err)
{
    double sum = 0;
    q->count = weight_scale_count(w->type, w->rows, w->cols);
    q->outer = (q->count + NESTED_BLOCK - 1) / NESTED_BLOCK;
    q->code = malloc(q->count + 1);
    q->absmax = malloc((q->outer + 1) * sizeof *q->absmax);
    if (!q->code || !q->absmax)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu scales", q->count);
    for (size_t i = 0; i < q->count; i++)
        sum += (double)w->scale[i];
    q->offset = (float)(sum / (double)(q->count ? q->count : 1));
    dynamic_map(q->map);
    for (size_t b = 0; b < q->outer; b++)
        nested_block(q, w->scale, b);
    return STATUS_OK;
}

/* ---- bytes ---- */

static enum status state_write(struct safetensors_writer *to, const struct weight *w,
                               const struct nested *q, struct err *err)
{
    char text[STORED_STATE + 1], more[128] = "";
    if (q)
        snprintf(more, sizeof more,
                 ", \"nested_blocksize\": %d, \"nested_dtype\": \"float32\", "
                 "\"nested_offset\": %.9g",
                 NESTED_BLOCK, (double)q->offset);
    snprintf(text, sizeof text,
             "{\"quant_type\": \"nf4\", \"blocksize\": %d, \"dtype\": \"bfloat16\", "
             "\"shape\": [%d, %d]%s}",
             WEIGHT_BLOCK, w->rows, w->cols, more);
    size_t len = strlen(text);
    memset(text + len, ' ', STORED_STATE - len);
    return safetensors_writer_add(to, text, STORED_STATE, err);
}

static enum status scales_write(struct safetensors_writer *to, const struct weight *w,
                                struct err *err)
{
    size_t n = weight_scale_count(w->type, w->rows, w->cols);
    return safetensors_writer_add(to, w->scale, n * sizeof *w->scale, err);
}

static enum status nested_write(struct safetensors_writer *to, const struct weight *w,
                                struct err *err)
{
    struct nested q = {.count = 0};
    enum status status = nested_make(w, &q, err);
    if (status == STATUS_OK)
        status = safetensors_writer_add(to, q.code, q.count, err);
    if (status == STATUS_OK)
        status = safetensors_writer_add(to, weight_nf4, sizeof weight_nf4, err);
    if (status == STATUS_OK)
        status = safetensors_writer_add(to, q.absmax, q.outer * sizeof *q.absmax, err);
    if (status == STATUS_OK)
        status = safetensors_writer_add(to, q.map, sizeof q.map, err);
    if (status == STATUS_OK)
        status = state_write(to, w, &q, err);
    free(q.code);
    free(q.absmax);
    return status;
}

enum status stored_write(struct safetensors_writer *to, const struct weight *w, bool nested,
                         struct err *err)
{
    static const unsigned char row_format = 0;
    TRY(safetensors_writer_add(to, w->codes, weight_code_bytes(w->type, w->rows, w->cols), err));
    if (w->type == WEIGHT_Q8) {
        TRY(scales_write(to, w, err));
        return safetensors_writer_add(to, &row_format, 1, err);
    }
    if (w->type != WEIGHT_NF4)
        return STATUS_OK;
    if (nested)
        return nested_write(to, w, err);
    TRY(scales_write(to, w, err));
    TRY(safetensors_writer_add(to, weight_nf4, sizeof weight_nf4, err));
    return state_write(to, w, NULL, err);
}
