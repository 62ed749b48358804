/* cdcca-edge serve: answers where applications are, over the API that OpenAI's clients speak.
 *
 *   POST /v1/chat/completions   a question, a picture -> an answer
 *   GET  /v1/models             the version in force, its parents
 *   POST /v1/feedback           what would have been right: a label
 *
 * What is asked keeps the model learning: every answer about a picture goes through the window, UTS
 * and the spool that `run` has, and the same threads upload and update. One thread generates, for a
 * bounded queue of requests; an answer is of one version, whatever comes down meanwhile. A plain
 * LLaMA answers, too, but nothing is learned from text alone. */
#ifndef CDCCA_SERVE_H
#define CDCCA_SERVE_H

#include "api/base/status.h"

/* The command. CANCELLED after --help. */
enum status serve_run(int argc, char **argv, struct err *err);

#endif
