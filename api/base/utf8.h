/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef CDCCA_UTF8_H
#define CDCCA_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the well-formed sequence at the front of text, 0 if there is none. */
size_t utf8_sequence(const char *text, size_t len);
bool utf8_valid(const char *text, size_t len);
/* Replaces every byte that is part of no well-formed sequence by '?', in place. */
void utf8_clean(char *text);

#endif
