/* Line plots as SVG, for a browser and for a paper: series of (x, y) with error bars, axes with
 * round ticks, a legend at the right. */
#ifndef CDCCA_PLOT_H
#define CDCCA_PLOT_H

#include "api/base/buf.h"
#include <stdbool.h>

enum { PLOT_SERIES = 16, PLOT_POINTS = 32 };

struct plot_series {
    const char *label;
    int count;
    double x[PLOT_POINTS], y[PLOT_POINTS], error[PLOT_POINTS]; /* error 0: no bar */
    bool points_alone;                                         /* not joined by a line */
};

struct plot {
    const char *title, *x_title;
    bool log_x; /* every x above 0 */
    struct plot_series series[PLOT_SERIES];
    int count;
};

/* Appends the document. Points that are not finite are left out; STATUS_MALFORMED when no point is
 * left. */
enum status plot_svg(const struct plot *plot, struct buf *out, struct err *err);

#endif
