/* Reading parameters (stored.h). Everything is checked before it is used: which parts there are,
 * their shapes and types, the code tables, that values are finite. */
#include "model/mllm/stored.h"

#include "api/wire/json.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 18, BLOCK_MAX = 1 << 20 };

/* ---- names ---- */

static const struct ending {
    const char *text;
    enum stored_part part;
    const char *by; /* in its place, the parameter's */
} endings[] = {
    {".weight.absmax", PART_ABSMAX, ".weight"},
    {".weight.quant_map", PART_QUANT_MAP, ".weight"},
    {".weight.nested_absmax", PART_NESTED_ABSMAX, ".weight"},
    {".weight.nested_quant_map", PART_NESTED_MAP, ".weight"},
    {".weight.quant_state.bitsandbytes__nf4", PART_STATE, ".weight"},
    {".SCB", PART_SCB, ".weight"},
    {".weight_format", PART_FORMAT, ".weight"},
    {".self_attn.q_bias", PART_Q_BIAS, ".self_attn.qkv.bias"},
    {".self_attn.v_bias", PART_V_BIAS, ".self_attn.qkv.bias"},
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

enum status stored_split(const char *name, char param[STORED_NAME], enum stored_part *part,
                         struct err *err)
{
    static const char *const others[] = {".qweight", ".qzeros", ".g_idx",
                                         ".quant_state.bitsandbytes__fp4", NULL};
    snprintf(param, STORED_NAME, "%s", name);
    *part = PART_WEIGHT;
    for (int i = 0; others[i]; i++)
        if (ends_with(name, others[i]))
            return err_set(err, STATUS_UNSUPPORTED,
                           "tensor %s is of another quantization; bitsandbytes' nf4 and LLM.int8 "
                           "are supported",
                           name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(name, endings[i].text)) {
            size_t at = strlen(name) - strlen(endings[i].text);
            snprintf(param + at, STORED_NAME - at, "%s", endings[i].by);
            *part = endings[i].part;
            return STATUS_OK;
        }
    return STATUS_OK;
}

/* ---- shapes ---- */

static void shape_text(char *out, size_t size, const uint64_t *dim, int ndim)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < ndim && at + 1 < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%llu", i ? ", " : "",
                               (unsigned long long)dim[i]);
}

static enum status check_shape(const struct param *p, const struct safetensors_entry *entry,
                               struct err *err)
{
    char is[192], want[96];
    uint64_t dim[TENSOR_DIMS] = {0};
    bool same = entry->ndim == p->ndim;
    for (int i = 0; i < p->ndim; i++) {
        dim[i] = (uint64_t)p->dim[i];
        same = same && entry->dim[i] == dim[i];
    }
    if (same)
        return STATUS_OK;
    shape_text(is, sizeof is, entry->dim, entry->ndim);
    shape_text(want, sizeof want, dim, p->ndim);
    return err_set(err, STATUS_SHAPE, "tensor %s is [%s]; config.json asks for [%s]", entry->name,
                   is, want);
}

static bool is_float(enum dtype dtype)
{
    return dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16;
}

static enum status check_float(const struct param *p, const struct checkpoint_tensor *t,
                               struct err *err)
{
    TRY(check_shape(p, t->entry, err));
    if (is_float(t->entry->dtype))
        return STATUS_OK;
    return err_set(err, STATUS_UNSUPPORTED,
                   "tensor %s is %s; F32, F16 and BF16 are supported, and NF4 and Q8 as "
                   "bitsandbytes writes them",
                   t->entry->name, dtype_name(t->entry->dtype));
}

/* A part that must be there, with so many values of a type. */
static enum status check_part(const struct stored *s, enum stored_part part, const struct param *p,
                              enum dtype dtype, size_t count, struct err *err)
{
    const struct checkpoint_tensor *t = s->part[part];
    if (!t)
        return err_set(err, STATUS_NOT_FOUND, "a part of the quantized %s is missing", p->name);
    if (t->entry->dtype == dtype && t->entry->size == count * dtype_size(dtype))
        return STATUS_OK;
    return err_set(err, STATUS_SHAPE, "tensor %s is %zu bytes of %s; %s needs %zu values of %s",
                   t->entry->name, t->entry->size, dtype_name(t->entry->dtype), p->name, count,
                   dtype_name(dtype));
}

/* ---- NF4 ---- */

static enum status state_shape(const json *state, const struct param *p, struct err *err)
{
    const json *shape = NULL;
    TRY(json_get_array(state, "shape", TENSOR_DIMS, &shape, err));
    bool same = json_length(shape) == (size_t)p->ndim;
    for (int i = 0; same && i < p->ndim; i++) {
        int64_t dim = 0;
        TRY(json_int_at(shape, (size_t)i, 0, INT64_MAX, &dim, err));
        same = dim == p->dim[i];
    }
    return same ? STATUS_OK
                : err_set(err, STATUS_SHAPE, "shape is not the [%d, %d] of config.json", p->dim[0],
                          p->dim[1]);
}

static enum status state_read(struct stored *s, const json *state, const struct param *p,
                              struct err *err)
{
    const char *type = "";
    int64_t block = 0, nested = 0;
    double offset = 0;
    TRY(json_get_string(state, "quant_type", 32, &type, err));
    TRY(json_get_int(state, "blocksize", 1, BLOCK_MAX, &block, err));
    if (strcmp(type, "nf4") != 0 || block != WEIGHT_BLOCK)
        return err_set(err, STATUS_UNSUPPORTED,
                       "quant_type %s in blocks of %lld; nf4 in blocks of %d is supported", type,
                       (long long)block, WEIGHT_BLOCK);
    TRY(state_shape(state, p, err));
    TRY(json_opt_int(state, "nested_blocksize", 1, BLOCK_MAX, &nested, err));
    if (nested > 0)
        TRY(json_get_number(state, "nested_offset", -1e30, 1e30, &offset, err));
    s->nested_block = (int)nested;
    s->nested_offset = (float)offset;
    return STATUS_OK;
}

static enum status state_load(struct stored *s, const struct param *p, struct err *err)
{
    char text[4096];
    json *state = NULL;
    const struct checkpoint_tensor *t = s->part[PART_STATE];
    if (!t)
        return err_set(err, STATUS_NOT_FOUND, "a part of the quantized %s is missing", p->name);
    if (t->entry->size > sizeof text)
        return err_set(err, STATUS_TOO_LARGE, "tensor %s has %zu bytes", t->entry->name,
                       t->entry->size);
    TRY(checkpoint_read(t, 0, t->entry->size, text, err));
    enum status status = json_parse(text, t->entry->size, &state, err);
    if (status == STATUS_OK)
        status = state_read(s, state, p, err);
    if (status != STATUS_OK)
        err_prefix(err, "tensor %s", t->entry->name);
    json_free(state);
    return status;
}

static enum status check_code_table(const struct stored *s, struct err *err)
{
    float table[16];
    const struct checkpoint_tensor *t = s->part[PART_QUANT_MAP];
    TRY(checkpoint_read(t, 0, sizeof table, table, err));
    for (int i = 0; i < 16; i++)
        if (!(fabsf(table[i] - weight_nf4[i]) < 1e-6F))
            return err_set(err, STATUS_UNSUPPORTED, "tensor %s is not the code table of NF4",
                           t->entry->name);
    return STATUS_OK;
}

static size_t blocks(size_t count, size_t block)
{
    return (count + block - 1) / block;
}

static enum status check_nf4(struct stored *s, const struct param *p, struct err *err)
{
    size_t n = param_count(p), scales = blocks(n, WEIGHT_BLOCK);
    if (p->ndim != 2)
        return err_set(err, STATUS_UNSUPPORTED, "%s is quantized, but no matrix", p->name);
    TRY(state_load(s, p, err));
    TRY(check_part(s, PART_WEIGHT, p, DTYPE_U8, (n + 1) / 2, err));
    TRY(check_part(s, PART_QUANT_MAP, p, DTYPE_F32, 16, err));
    if (s->nested_block == 0) {
        TRY(check_part(s, PART_ABSMAX, p, DTYPE_F32, scales, err));
    } else {
        TRY(check_part(s, PART_ABSMAX, p, DTYPE_U8, scales, err));
        TRY(check_part(s, PART_NESTED_MAP, p, DTYPE_F32, 256, err));
        TRY(check_part(s, PART_NESTED_ABSMAX, p, DTYPE_F32, blocks(scales, (size_t)s->nested_block),
                       err));
    }
    return check_code_table(s, err);
}

/* ---- Q8 ---- */

static enum status check_q8(const struct stored *s, const struct param *p, struct err *err)
{
    unsigned char format = 0;
    if (p->ndim != 2 || !s->part[PART_WEIGHT])
        return err_set(err, STATUS_UNSUPPORTED, "%s is quantized, but no matrix", p->name);
    TRY(check_shape(p, s->part[PART_WEIGHT]->entry, err));
    TRY(check_part(s, PART_WEIGHT, p, DTYPE_I8, param_count(p), err));
    TRY(check_part(s, PART_SCB, p, DTYPE_F32, (size_t)p->dim[0], err));
    if (!s->part[PART_FORMAT])
        return STATUS_OK;
    TRY(check_part(s, PART_FORMAT, p, DTYPE_U8, 1, err));
    TRY(checkpoint_read(s->part[PART_FORMAT], 0, 1, &format, err));
    if (format != 0)
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s: weight_format is %d; only 0 (row) is supported", p->name, format);
    return STATUS_OK;
}

/* ---- all kinds ---- */

static enum status check_biases(const struct stored *s, const struct param *p, struct err *err)
{
    struct param third = *p;
    if (!s->part[PART_Q_BIAS] || !s->part[PART_V_BIAS] || s->part[PART_WEIGHT])
        return err_set(err, STATUS_CONFLICT,
                       "%s: either qkv.bias, or q_bias and v_bias, must be there", p->name);
    third.dim[0] = p->dim[0] / 3;
    TRY(check_float(&third, s->part[PART_Q_BIAS], err));
    return check_float(&third, s->part[PART_V_BIAS], err);
}

enum status stored_check(struct stored *s, const struct param *p, struct err *err)
{
    bool nf4 = s->part[PART_STATE] || s->part[PART_ABSMAX] || s->part[PART_QUANT_MAP] ||
               s->part[PART_NESTED_ABSMAX] || s->part[PART_NESTED_MAP];
    bool q8 = s->part[PART_SCB] || s->part[PART_FORMAT];
    s->kind = nf4 ? STORED_NF4 : q8 ? STORED_Q8 : STORED_FLOAT;
    if (nf4 && q8)
        return err_set(err, STATUS_CONFLICT, "%s is quantized in two ways", p->name);
    if (nf4)
        return check_nf4(s, p, err);
    if (q8)
        return check_q8(s, p, err);
    if (s->part[PART_Q_BIAS] || s->part[PART_V_BIAS])
        return check_biases(s, p, err);
    return check_float(p, s->part[PART_WEIGHT], err);
}

bool stored_type(const struct stored *s, enum weight_type *out)
{
    enum dtype dtype = s->part[PART_WEIGHT] ? s->part[PART_WEIGHT]->entry->dtype : DTYPE_F32;
    *out = s->kind == STORED_NF4  ? WEIGHT_NF4
           : s->kind == STORED_Q8 ? WEIGHT_Q8
           : dtype == DTYPE_BF16  ? WEIGHT_BF16
                                  : WEIGHT_F16;
    return s->kind != STORED_FLOAT || dtype != DTYPE_F32;
}

/* ---- reading ---- */

static enum status check_finite(const char *name, const float *values, size_t n, size_t from,
                                struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return err_set(err, STATUS_MALFORMED, "tensor %s: value %zu is not finite", name,
                           from + i);
    return STATUS_OK;
}

/* n values of a tensor as F32, converted piece by piece. */
static enum status floats_read(const struct checkpoint_tensor *t, size_t from, size_t n, float *out,
                               struct err *err)
{
    size_t unit = dtype_size(t->entry->dtype), room = n < CHUNK ? n : CHUNK;
    void *piece = malloc(room * unit + 1);
    enum status status = piece ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory to load");
    for (size_t at = 0; at < n && status == STATUS_OK; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;
        status = checkpoint_read(t, (from + at) * unit, count * unit, piece, err);
        if (status == STATUS_OK)
            status = dtype_to_f32(t->entry->dtype, piece, count, out + at);
        if (status == STATUS_UNSUPPORTED)
            err_set(err, status, "tensor %s is %s; F32, F16 and BF16 are supported", t->entry->name,
                    dtype_name(t->entry->dtype));
        if (status == STATUS_OK)
            status = check_finite(t->entry->name, out + at, count, from + at, err);
    }
    free(piece);
    return status;
}

enum status stored_read_floats(const struct stored *s, const struct param *p, float *out,
                               struct err *err)
{
    size_t n = param_count(p), third = n / 3;
    if (s->part[PART_WEIGHT])
        return floats_read(s->part[PART_WEIGHT], 0, n, out, err);
    TRY(floats_read(s->part[PART_Q_BIAS], 0, third, out, err));
    memset(out + third, 0, third * sizeof *out);
    return floats_read(s->part[PART_V_BIAS], 0, third, out + 2 * third, err);
}

enum status stored_read_some(const struct stored *s, const struct param *p, size_t from,
                             size_t count, float *out, struct err *err)
{
    if (s->part[PART_WEIGHT])
        return floats_read(s->part[PART_WEIGHT], from, count, out, err);
    float *whole = malloc(param_count(p) * sizeof *whole);
    enum status status = whole ? stored_read_floats(s, p, whole, err)
                               : err_set(err, STATUS_NO_MEMORY, "no memory to load %s", p->name);
    if (status == STATUS_OK)
        memcpy(out, whole + from, count * sizeof *out);
    free(whole);
    return status;
}

/* absmax = map[code] * nested_absmax[block] + offset */
static enum status nested_read(const struct stored *s, float *scale, struct err *err)
{
    float map[256];
    const struct checkpoint_tensor *code = s->part[PART_ABSMAX],
                                   *absmax = s->part[PART_NESTED_ABSMAX];
    size_t n = code->entry->size;
    float *outer = malloc(absmax->entry->size + 1);
    uint8_t *codes = malloc(n + 1);
    enum status status = outer && codes
                             ? checkpoint_read(s->part[PART_NESTED_MAP], 0, sizeof map, map, err)
                             : err_set(err, STATUS_NO_MEMORY, "no memory for %zu scales", n);
    if (status == STATUS_OK)
        status = checkpoint_read(absmax, 0, absmax->entry->size, outer, err);
    if (status == STATUS_OK)
        status = checkpoint_read(code, 0, n, codes, err);
    for (size_t i = 0; i < n && status == STATUS_OK; i++)
        scale[i] = map[codes[i]] * outer[i / (size_t)s->nested_block] + s->nested_offset;
    free(outer);
    free(codes);
    return status;
}

/* The exponent's bits all set: infinite or no number. */
static enum status check_finite_halves(const char *name, enum weight_type type,
                                       const uint16_t *values, size_t n, struct err *err)
{
    uint16_t exponent = type == WEIGHT_BF16 ? 0x7F80 : 0x7C00;
    for (size_t i = 0; i < n; i++)
        if ((values[i] & exponent) == exponent)
            return err_set(err, STATUS_MALFORMED, "tensor %s: value %zu is not finite", name, i);
    return STATUS_OK;
}

enum status stored_read_packed(const struct stored *s, const struct param *p, struct weight *w,
                               void *codes, float *scale, struct err *err)
{
    const struct checkpoint_tensor *t = s->part[PART_WEIGHT];
    size_t scales = weight_scale_count(w->type, w->rows, w->cols);
    TRY(checkpoint_read(t, 0, t->entry->size, codes, err));
    if (scales == 0)
        TRY(check_finite_halves(p->name, w->type, codes, param_count(p), err));
    else if (s->nested_block > 0)
        TRY(nested_read(s, scale, err));
    else
        TRY(checkpoint_read(s->part[s->kind == STORED_NF4 ? PART_ABSMAX : PART_SCB], 0,
                            scales * sizeof *scale, scale, err));
    TRY(check_finite(p->name, scale, scales, 0, err));
    w->codes = codes;
    w->scale = scales ? scale : NULL;
    return STATUS_OK;
}
