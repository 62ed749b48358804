/* cdcca-model generate-world: samples of the built-in world as a directory that any stream reads.
 */
#ifndef CDCCA_GENERATE_WORLD_H
#define CDCCA_GENERATE_WORLD_H

#include "api/base/status.h"

enum status generate_world_run(int argc, char **argv, struct err *err);

#endif
