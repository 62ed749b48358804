/* See secret.h. The alphabet is Crockford's base32. */
#include "api/base/secret.h"
#include <ctype.h>
#include <sodium.h>
#include <string.h>

enum { CODE_GROUP = 5, CODE_LETTERS = 20 };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void secret_make(struct hash *out)
{
    randombytes_buf(out->bytes, sizeof out->bytes);
}

/* The n-th letter of a code and its place between the dashes. */
static void code_put(char out[SECRET_CODE], int n, char letter)
{
    out[n + n / CODE_GROUP] = letter;
    if (n % CODE_GROUP == CODE_GROUP - 1)
        out[n + n / CODE_GROUP + 1] = n == CODE_LETTERS - 1 ? '\0' : '-';
}

void secret_code_make(char out[SECRET_CODE])
{
    for (int n = 0; n < CODE_LETTERS; n++)
        code_put(out, n, alphabet[randombytes_uniform(sizeof alphabet - 1)]);
}

static char letter_read(char c)
{
    c = (char)toupper((unsigned char)c);
    if (c == 'O')
        return '0';
    if (c == 'U')
        return 'V';
    return c == 'I' || c == 'L' ? '1' : c;
}

bool secret_code_read(const char *text, char out[SECRET_CODE])
{
    int n = 0;
    for (; *text; text++) {
        char c = letter_read(*text);
        if (c == ' ' || c == '-')
            continue;
        if (n == CODE_LETTERS || !strchr(alphabet, c))
            return false;
        code_put(out, n++, c);
    }
    return n == CODE_LETTERS;
}
