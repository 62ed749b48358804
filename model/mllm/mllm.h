/* The multimodal LLM of the BLIP-2 / InstructBLIP family: vision transformer -> Q-Former ->
 * projection -> LLaMA, one definition for training and inference (the tape decides). Names and
 * numerics are those of HF transformers; equations: see methods.md "Architecture".
 *
 * A model is immutable once loaded, apart from the data of trainable parameters while one owner
 * trains or patches a private copy (mllm_clone; publish with mllm_retain/release). Packed
 * parameters are never trained.
 */
#ifndef CDCCA_MLLM_H
#define CDCCA_MLLM_H

#include "api/base/hash.h"
#include "api/wire/safetensors.h"
#include "model/mllm/config.h"
#include "model/mllm/preprocess.h"
#include "model/mllm/tokenizer.h"
#include "model/tensor/ops.h"

struct vision_layer {
    struct param *norm1_w, *norm1_b, *norm2_w, *norm2_b;
    struct linear qkv, out, fc1, fc2;
};

/* Bottleneck adapter x + up(gelu(down(x))); absent (down.weight NULL) until adapters are attached.
 */
struct adapter {
    struct linear down, up;
};

struct qformer_layer {
    struct linear query, key, value, out; /* self-attention, post-LN */
    struct param *out_norm_w, *out_norm_b;
    bool cross;
    struct linear cross_query, cross_key, cross_value, cross_out;
    struct param *cross_norm_w, *cross_norm_b;
    struct linear ffn_in, ffn_out, ffn_query_in, ffn_query_out; /* text rows; query rows */
    struct param *ffn_norm_w, *ffn_norm_b, *ffn_query_norm_w, *ffn_query_norm_b;
    struct adapter query_adapter,
        cross_adapter; /* after the query rows' ffn; on the cross-attention output */
};

struct llama_layer {
    struct param *attn_norm, *ffn_norm;
    struct linear q, k, v, o, gate, up, down;
};

struct mllm {
    struct mllm_config config;
    struct preprocess preprocess;        /* how pictures become pixels; used if multimodal */
    struct tokenizer *tokenizer;         /* may be NULL (reference models have none) */
    struct tokenizer *qformer_tokenizer; /* == tokenizer unless DIR/qformer_tokenizer exists; each
                                            pointer holds a reference of its own */
    struct param *params; /* every parameter, in checkpoint order, then attached ones */
    int param_count, param_cap;
    int checkpoint_count; /* the first so many are the checkpoint's; the rest were attached */
    struct {
        struct param *class_embedding, *positions;
        struct linear patch;
        struct vision_layer *layer;
        struct param *post_norm_w, *post_norm_b;
    } vision;
    struct param *query_tokens; /* (1,Q,C) */
    struct {
        struct param *words, *positions;
        struct param *norm_w, *norm_b;
        struct qformer_layer *layer;
    } qformer;
    struct linear projection;
    struct {
        struct param *embed;
        struct llama_layer *layer;
        struct param *norm;
        struct linear head; /* weight == embed when tied */
    } llama;
    struct hash encoder; /* fingerprint of the vision encoder's weights: F32 bytes in name order,
                            of quantized ones codes and scales */
    struct arena memory;
    struct mllm_store *store; /* where packed parameters lie, shared by clones; NULL without any */
    int references;           /* atomic */
};

/* Reads a directory as Hugging Face writes it: config.json, model.safetensors (or sharded with its
 * index), tokenizer files, preprocessor_config.json (CLIP's values without it), under older names
 * too (names.h). Quantized matrices (bitsandbytes' NF4 and LLM.int8) stay packed; F16 and BF16
 * matrices do where the whole model in F32 would take more than 2 GiB; all else becomes F32.
 * Refuses by name: missing, mis-shaped or unknown tensors. *out has one reference. */
enum status mllm_load(struct io *io, const char *dir, struct mllm **out, struct err *err);
/* The same with another limit than 2 GiB of F32. */
enum status mllm_load_within(struct io *io, const char *dir, size_t f32_limit, struct mllm **out,
                             struct err *err);
/* The names and shapes of a configuration's parameters, without data: for what converts weights. */
enum status mllm_skeleton(const struct mllm_config *config, struct mllm **out, struct err *err);
/* Random weights for a configuration (normal 0.02 as HF initialises; norms 1/0). */
enum status mllm_create(const struct mllm_config *config, uint64_t seed, struct mllm **out,
                        struct err *err);
/* Same config, weights, attached parameters; own memory, but for packed parameters and tokenizers,
 * which are shared by reference count. */
enum status mllm_clone(const struct mllm *model, struct mllm **out, struct err *err);
/* More than 2 GiB in F32: its samples are few and each is much work, so threads share the products
 * of one (tape->pool) instead of having samples of their own. */
bool mllm_is_large(const struct mllm *model);
void mllm_retain(struct mllm *model);
void mllm_release(struct mllm *model);
/* config.json, preprocessor_config.json, model.safetensors: F32 parameters in dtype (F32, BF16,
 * F16), packed ones as they are; attached parameters are not saved. */
enum status mllm_save(struct io *io, const struct mllm *model, const char *dir, enum dtype dtype,
                      struct err *err);
/* Recomputes model->encoder after the vision encoder's weights changed. */
void mllm_fingerprint(struct mllm *model);
struct param *mllm_find(const struct mllm *model, const char *name); /* or NULL */
/* Adds a parameter (LoRA, adapter) with uninitialised data; its address is stable. */
struct param *mllm_attach(struct mllm *model, const char *name, int ndim, const int *dim);

/* ---- the forward pass ---- */

/* pixels (B,3,S,S) f32, normalised -> (B, 1 + (S/P)^2, C) after the post layer norm.
 * dropout: inside the network, for Monte-Carlo uncertainty; 0 otherwise. */
struct tensor vision_forward(struct tape *tape, const struct mllm *m, struct tensor pixels,
                             float dropout);

/* What other code wants to see of a forward pass. NULL pointers / zero counts: not wanted. */
struct mllm_taps {
    struct tensor query_output; /* (B,Q,C): phi's input, the Q-Former's output */
    struct tensor cross[16];    /* (B,Q,C): cross-attention outputs (after the adapter), in order */
    int cross_count;
    float *cross_probs[16];        /* set by the caller: (B,H,Q,L) room per cross layer, or NULL */
    struct tensor cross_value[16]; /* (B,L,C): the values, to weigh the probabilities by */
    float visual_dropout; /* set by the caller: dropout on the visual tokens coming in (UTS) */
};

struct mllm_batch {
    int B;
    struct tensor visual;      /* (B,L,Cv) encoder tokens, possibly a subset, any order */
    const int *visual_count;   /* (B) tokens that exist, from the front; NULL: all L */
    const int *visual_rest;    /* (B) how many tokens the last one stands for, 1: itself; NULL: 1 */
    int question_T;            /* Q-Former text; 0 for BLIP-2 */
    const int32_t *question;   /* (B,question_T), padded */
    const int *question_count; /* (B) */
    int text_T;                /* LLaMA text, right-padded: prompt ids then answer ids */
    const int32_t *text;       /* (B,text_T) */
    const uint8_t *text_mask;  /* (B,text_T) 0: padding; NULL: none (right padding needs none) */
};

/* -> (B,Q,C) */
struct tensor qformer_forward(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                              struct mllm_taps *taps);
/* Full pass: [projected queries][text] through LLaMA -> hidden (B, Q + text_T, C) after the final
 * norm. For plain LLaMA, Q = 0. */
struct tensor mllm_forward(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                           struct mllm_taps *taps);
/* Logits (n,V) of n rows of hidden seen as (B*(Q+T), C); rows NULL: every row. */
struct tensor mllm_logits(struct tape *tape, const struct mllm *m, struct tensor hidden,
                          const int32_t *rows, int n);

/* The same logits as mllm_logits(mllm_forward(...), rows), cheaper where few rows are wanted (the
 * answer's): what follows the last layer's attention is computed for those rows alone. */
struct tensor mllm_row_logits(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                              struct mllm_taps *taps, const int32_t *rows, int n);

#endif
