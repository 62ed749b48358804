/* cdcca-model tokenize: text to ids and back, to look at what a tokenizer does. */
#ifndef CDCCA_TOOL_TOKENIZE_H
#define CDCCA_TOOL_TOKENIZE_H

#include "api/base/status.h"

/* tokenize --model DIR [--special] [--wrap] [--pair TEXT] [--decode] [--json] TEXT|-: prints the
 * ids, or with --decode the text of ids. "-" reads standard input, up to 64 MiB. DIR needs no more
 * than the tokenizer's files; a Q-Former's are in DIR/qformer_tokenizer. */
enum status tokenize_run(int argc, char **argv, struct err *err);

#endif
