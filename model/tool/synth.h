/* cdcca-model synth: random weights in the shape of a real model, straight in the type they are
 * kept in, so that the largest need no more memory than a matrix. For measuring, not for answers.
 */
#ifndef CDCCA_SYNTH_H
#define CDCCA_SYNTH_H

#include "api/base/status.h"

enum status synth_run(int argc, char **argv, struct err *err);

#endif
