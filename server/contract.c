/* See contract.h. The assembler includes the file's bytes; CMake names it and rebuilds when it
 * changes. */
#include "server/contract.h"

__asm__(".section .rodata\n"
        ".global contract_begin\n"
        "contract_begin:\n"
        ".incbin \"" CDCCA_CONTRACT_FILE "\"\n"
        ".byte 0\n"
        ".previous\n");

extern const char contract_begin[];

const char *contract_text(void)
{
    return contract_begin;
}
