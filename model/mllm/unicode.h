/* What the tokenizers ask about characters: classes, lower case, normal forms (UAX #15). The one
 * file that knows utf8proc. Texts are well-formed UTF-8 (api/base/utf8.h). Internal to model/mllm.
 */
#ifndef CDCCA_UNICODE_H
#define CDCCA_UNICODE_H

#include "api/base/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at the front of a well-formed text, len > 0; *size: its bytes, 1..4. */
uint32_t unicode_get(const char *text, size_t len, size_t *size);
enum status unicode_append(struct buf *out, uint32_t c);

/* BERT's classes: white space is tab, newline, carriage return and the separators (Z*); control is
 * everything else of C*, unassigned characters too; punctuation is P* and all ASCII symbols; an
 * ideograph is one of the blocks of CJK ideographs. */
bool unicode_is_space(uint32_t c);
bool unicode_is_control(uint32_t c);
bool unicode_is_punctuation(uint32_t c);
bool unicode_is_ideograph(uint32_t c);
bool unicode_is_nonspacing_mark(uint32_t c);
/* A letter, a number, a mark or an underscore: what a single-word token must not touch. */
bool unicode_is_word(uint32_t c);

enum unicode_form { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD };
/* Appends the text in the normal form. Linear time, also for runs of combining marks. */
enum status unicode_normalize(const char *text, size_t len, enum unicode_form form,
                              struct buf *out);
/* Appends the text with each character in lower case (no rule looks at its neighbours). */
enum status unicode_lower(const char *text, size_t len, struct buf *out);

#endif
