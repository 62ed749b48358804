/* cdcca-model score: the scores of answers or captions that someone has, whatever made them. */
#ifndef CDCCA_SCORE_H
#define CDCCA_SCORE_H

#include "api/base/status.h"

enum status score_run(int argc, char **argv, struct err *err);

#endif
