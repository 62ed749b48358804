/* t-SNE: points of many dimensions laid out in the plane so that near ones stay near, for eyes and
 * not for measuring: distances between clusters, and their sizes, mean little. L. van der Maaten
 * and G. Hinton, Visualizing Data using t-SNE, JMLR 9 (2008): the exact method, n^2 a step, which
 * is a second or two for a thousand points. Started from the two leading principal components, so
 * that a point more or less changes the picture little (D. Kobak, P. Berens, The art of using t-SNE
 * for single-cell transcriptomics, 2019).
 *
 * Notation: n points, C channels; p: (n,n) f64, row-major, the joint affinities p_ij; y: (n,2) f64,
 * row-major, the picture. */
#ifndef CDCCA_TSNE_H
#define CDCCA_TSNE_H

#include "api/base/status.h"
#include <stdint.h>

enum { TSNE_POINTS_MAX = 1024 };

struct tsne_options {
    double perplexity; /* neighbours that a point counts as its own; fewer where n is small */
    int steps;
    uint64_t seed;
    const volatile int *cancel; /* polled between steps; NULL: nobody cancels */
};
struct tsne_options tsne_defaults(void);

/* The perplexity that n points can have: the wanted one, at most a third of the other points. */
double tsne_perplexity(double wanted, int n);

/* p from x: (n,C) f32: the conditional Gaussians whose perplexity is as given (by bisection of each
 * one's width), made symmetric (section 3.1). Sums to 1. n >= 2. */
enum status tsne_affinities(const float *x, int n, int C, double perplexity, double *p,
                            struct err *err);
/* KL(P || Q) of a picture (equation 2 with Student's t, section 3.3). */
double tsne_divergence(const double *p, const double *y, int n);
/* Its gradient (equation 5), with p scaled by `exaggeration` (1: as it is). work: (n,n). */
void tsne_gradient(const double *p, const double *y, int n, double exaggeration, double *work,
                   double *gradient);

/* x: (n,C) f32 -> y, centred; the same for the same seed. n may be 0 or 1. STATUS_TOO_LARGE: n;
 * STATUS_MALFORMED: a value that is not finite; STATUS_CANCELLED; STATUS_NO_MEMORY. */
enum status tsne_embed(const float *x, int n, int C, const struct tsne_options *options, double *y,
                       struct err *err);

#endif
