/* cdcca-cloud's commands beside serve. argv[0] is the command's name; each prints to stdout, its
 * errors to stderr, and returns the program's exit status. */
#ifndef CDCCA_COMMANDS_H
#define CDCCA_COMMANDS_H

int keys_command(int argc, char **argv); /* keys init|rotate|show */
int sign_command(int argc, char **argv); /* sign */

#endif
