/* All kernels and their table. Included once per instruction set, by kernels_<set>.c, which defines
 * KERNELS_NAME (the table's symbol) and KERNELS_TEXT (its name). */
#include "model/tensor/kernels_activation.h"
#include "model/tensor/kernels_attention.h"
#include "model/tensor/kernels_norm.h"
#include "model/tensor/kernels_packed_gemm.h"
#include "model/tensor/kernels_softmax.h"
#include "model/tensor/kernels_vector.h"

const struct kernels KERNELS_NAME = {
    .name = KERNELS_TEXT,
    .dot = kernel_dot,
    .square_sum = kernel_square_sum,
    .add = kernel_add,
    .accumulate = kernel_accumulate,
    .scale = kernel_scale,
    .select = kernel_select,
    .select_back = kernel_select_back,
    .column_sum = kernel_column_sum,
    .gelu = kernel_gelu,
    .gelu_back = kernel_gelu_back,
    .swiglu = kernel_swiglu,
    .swiglu_back = kernel_swiglu_back,
    .rope_tables = kernel_rope_tables,
    .rope = kernel_rope,
    .layernorm = kernel_layernorm,
    .layernorm_back = kernel_layernorm_back,
    .rmsnorm = kernel_rmsnorm,
    .rmsnorm_back = kernel_rmsnorm_back,
    .log_sum_exp = kernel_log_sum_exp,
    .softmax = kernel_softmax,
    .softmax_accumulate = kernel_softmax_accumulate,
    .kl_row = kernel_kl_row,
    .attention_probs = kernel_attention_probs,
    .attention_mix = kernel_attention_mix,
    .attention_dP = kernel_attention_dP,
    .attention_back = kernel_attention_back,
    .attention_dv = kernel_attention_dv,
    .gemm = kernel_gemm,
    .gemv = kernel_gemv,
    .gevm = kernel_gevm,
    .adamw = kernel_adamw,
};
