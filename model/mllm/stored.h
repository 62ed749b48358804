/* How one parameter lies in a checkpoint: as floats, or quantized in bitsandbytes' serialized
 * layout, where a matrix X.weight (O,I) is several tensors:
 *
 *   NF4   X.weight U8 (n/2,1), X.weight.absmax F32 (n/64), X.weight.quant_map F32 (16),
 *         X.weight.quant_state.bitsandbytes__nf4 U8: JSON with shape, blocksize and dtype;
 *         double quantization: absmax U8, codes of X.weight.nested_quant_map F32 (256), one
 *         X.weight.nested_absmax F32 a block of 256, and nested_offset in the JSON
 *   Q8    X.weight I8 (O,I), X.SCB F32 (O), X.weight_format U8: 0, row by row
 *
 * n = O*I. Sources: QuantState.as_dict and from_dict of bitsandbytes 0.41 to 0.45; Dettmers et al.
 * 2022, 2023. Internal to model/mllm and the tools that write checkpoints. */
#ifndef CDCCA_STORED_H
#define CDCCA_STORED_H

#include "model/mllm/checkpoint.h"
#include "model/tensor/tensor.h"
#include "model/tensor/weight.h"

enum stored_part {
    PART_WEIGHT,
    PART_ABSMAX,
    PART_QUANT_MAP,
    PART_NESTED_ABSMAX,
    PART_NESTED_MAP,
    PART_STATE,
    PART_SCB,
    PART_FORMAT,
    PART_Q_BIAS, /* of a qkv.bias whose middle third is 0, as LAVIS keeps it */
    PART_V_BIAS,
    STORED_PARTS
};

enum stored_kind { STORED_FLOAT, STORED_Q8, STORED_NF4 };

struct stored {
    const struct checkpoint_tensor *part[STORED_PARTS]; /* NULL: not there */
    enum stored_kind kind;                              /* this and the rest: by stored_check */
    int nested_block;                                   /* 0: absmax is F32 */
    float nested_offset;
};

enum { STORED_NAME = 1280, STORED_ENTRIES = 6, STORED_STATE = 256 };

/* Splits the name of a part into the parameter's name and what it is of it: PART_WEIGHT and the
 * name itself for all that is no part of something else. STATUS_UNSUPPORTED: of another
 * quantization. */
enum status stored_split(const char *name, char param[STORED_NAME], enum stored_part *part,
                         struct err *err);
/* The parts that are there make a whole of p's shape. Reads the JSON. */
enum status stored_check(struct stored *s, const struct param *p, struct err *err);
/* As F32, all finite, of a STORED_FLOAT: every value, and count values from `from` on. */
enum status stored_read_floats(const struct stored *s, const struct param *p, float *out,
                               struct err *err);
enum status stored_read_some(const struct stored *s, const struct param *p, size_t from,
                             size_t count, float *out, struct err *err);
/* Codes and scales as they are, into w's, whose type, rows and cols are set: of a matrix that is
 * quantized, or of F16 or BF16. Scales and 16-bit values are finite. */
enum status stored_read_packed(const struct stored *s, const struct param *p, struct weight *w,
                               void *codes, float *scale, struct err *err);
/* The type that stored_read_packed keeps; false: F32 */
bool stored_type(const struct stored *s, enum weight_type *out);

/* ---- writing ---- */

/* What stored_entries names; the entries point into it. */
struct stored_names {
    char name[STORED_ENTRIES][STORED_NAME];
};
/* The tensors that a matrix `name` of this type is written as, in order; data NULL. Returns how
 * many. nested: NF4 with double quantization. */
int stored_entries(const char *name, enum weight_type type, int rows, int cols, bool nested,
                   struct stored_names *names, struct safetensors_entry out[STORED_ENTRIES]);
/* Their bytes, in that order. */
enum status stored_write(struct safetensors_writer *to, const struct weight *w, bool nested,
                         struct err *err);

#endif
