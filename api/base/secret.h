/* Secrets: random bits from the kernel, and codes that people type. A code is 100 random bits as
 * four groups of five letters and digits, without I, L, O and U, which are read as 1, 1, 0 and V.
 */
#ifndef CDCCA_SECRET_H
#define CDCCA_SECRET_H

#include "api/base/hash.h"

enum { SECRET_CODE = 24 }; /* "7K3QM-WZ9TX-41HNB-EJ8R5" and its NUL */

/* 256 random bits. */
void secret_make(struct hash *out);
/* A fresh code. */
void secret_code_make(char out[SECRET_CODE]);
/* What was typed, in the form that secret_code_make gives: any case, blanks and dashes anywhere.
 * False when it is no code. */
bool secret_code_read(const char *text, char out[SECRET_CODE]);

#endif
