/* The model sizes that benches and `synth` make from random weights, by name. */
#ifndef CDCCA_SHAPE_H
#define CDCCA_SHAPE_H

#include "model/mllm/config.h"

/* "llama-5m|llama-110m|...": for help texts and errors */
#define SHAPE_NAMES                                                                                \
    "llama-5m|llama-110m|llama-1.1b|llama-7b|instructblip-vicuna-7b|instructblip-vicuna-13b"

/* STATUS_USAGE names the sizes there are. */
enum status shape_config(const char *name, struct mllm_config *out, struct err *err);

#endif
