/* Words of a raw caption as the COCO evaluation makes them: the Penn Treebank's rules of Stanford's
 * PTBTokenizer (-lowerCase), then punctuation dropped; brackets stay, as -lrb- and -rrb-, because
 * the evaluation drops them under their upper-case names alone.
 *
 * These are the rules that captions meet, not all of that tokenizer: abbreviations are a short
 * list, letters beyond ASCII keep their case, and addresses, dates and smileys are not recognised.
 * Texts tokenized before come out as they are. */
#ifndef CDCCA_CAPTION_TOKENS_H
#define CDCCA_CAPTION_TOKENS_H

#include "api/base/buf.h"

/* Replaces *out by the words, one blank between two, NUL-terminated. Bytes beyond ASCII are parts
 * of words, typographic quotes, dashes and dots aside; they need not be well-formed UTF-8.
 * STATUS_TOO_LARGE, STATUS_NO_MEMORY: as of struct buf. */
enum status caption_tokenize(const char *text, struct buf *out);

#endif
