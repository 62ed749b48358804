/* cdcca-model export --peft --model DIR [--state PATH] --out DIR: the adapters of a model, at the
 * version that a device or the cloud has come to, as Hugging Face PEFT stores them. */
#ifndef CDCCA_TOOL_EXPORT_H
#define CDCCA_TOOL_EXPORT_H

#include "api/base/io.h"
#include "model/learn/peft.h"

enum status export_run(int argc, char **argv, struct err *err);

/* The trainable set's file that PATH means: PATH itself, or in an edge's or cloud's data folder
 * that of `version`; -1: the one in use (edge), the newest (cloud). NOT_FOUND says where it looked.
 */
enum status export_state_path(struct io *io, const char *path, int64_t version, char *out,
                              size_t size, struct err *err);
/* The lines, or the object, that tell what an export or import held; hash NULL: none. */
enum status export_report(const struct peft_report *report, const struct hash *hash,
                          int64_t version, bool as_json, struct err *err);

#endif
