/* A model directory in the making: everything goes to DIR.partial, which takes DIR's name when it
 * is whole. So a DIR that is there is complete, whenever the program ended. */
#ifndef CDCCA_MODEL_DIR_H
#define CDCCA_MODEL_DIR_H

#include "api/base/io.h"

enum { MODEL_DIR_PATH = 4096 };

struct model_dir {
    struct io *io;
    char final[MODEL_DIR_PATH], partial[MODEL_DIR_PATH];
};

/* STATUS_CONFLICT: dir is there and not empty. What an earlier attempt left in DIR.partial goes. */
enum status model_dir_begin(struct io *io, const char *dir, struct model_dir *out, struct err *err);
/* Copies what lies beside the weights of a model: tokenizers, generation settings,
 * qformer_tokenizer/; not config.json and no weights of any format. */
enum status model_dir_copy_side(const struct model_dir *d, const char *from, struct err *err);
enum status model_dir_publish(const struct model_dir *d, struct err *err);
/* Removes DIR.partial. */
void model_dir_abandon(const struct model_dir *d);

#endif
