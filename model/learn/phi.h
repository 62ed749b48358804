/* phi: the learned linear maps that carry the student's features to the teacher's width (CD-CCA
 * Eq. 5), one per feature (exemplar.h). They start as the ridge regression of the teacher's
 * features on the student's, so that the first step's feature loss already speaks about content,
 * and are trained with the student from then on. They never leave the cloud. */
#ifndef CDCCA_PHI_H
#define CDCCA_PHI_H

#include "model/learn/exemplar.h"

struct phi {
    int maps, in, out; /* (out,in) each */
    struct param weight[EXEMPLAR_FEATURES], bias[EXEMPLAR_FEATURES];
    struct linear map[EXEMPLAR_FEATURES];
    float *memory;
};

enum status phi_init(struct phi *phi, int maps, int in, int out, struct err *err);
void phi_deinit(struct phi *phi);
/* The 2 * maps parameters, weight and bias in turn; returns how many. */
int phi_params(struct phi *phi, struct param **out);
/* Least squares with ridge 0.01 * n: map k from x (n,in) to y (n,out). In double. */
enum status phi_fit(struct phi *phi, int k, const float *x, const float *y, size_t n,
                    struct err *err);

#endif
