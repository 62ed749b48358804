/* SVG plots (plot.h). One coordinate system of WIDTH x HEIGHT; the legend stands beside it. Colours
 * are told apart by people who are colour-blind (Okabe and Ito 2008), and series by their marks. */
#include "model/tool/plot.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 760, HEIGHT = 420, LEFT = 56, RIGHT = 250, TOP = 40, BOTTOM = 52, TICKS = 6 };

static const char *const COLORS[] = {"#000000", "#E69F00", "#56B4E9", "#009E73",
                                     "#8B7D00", "#0072B2", "#D55E00", "#CC79A7"};
enum { COLOR_COUNT = sizeof COLORS / sizeof *COLORS };

struct axis {
    double low, high, step;
    bool log;
};

struct drawing {
    const struct plot *plot;
    struct buf *out;
    struct axis x, y;
    enum status status;
};

static void put(struct drawing *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct drawing *d, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (d->status == STATUS_OK)
        d->status = buf_append(d->out, text, len);
}

/* Text of a label, with what XML keeps for itself replaced. */
static void put_text(struct drawing *d, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            put(d, "&lt;");
        else if (*text == '&')
            put(d, "&amp;");
        else
            put(d, "%c", *text);
    }
}

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten, at least `raw`. */
static double round_step(double raw)
{
    double power = pow(10, floor(log10(raw)));
    double share = raw / power;
    return power * (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10);
}

static void axis_round(struct axis *a)
{
    if (a->log) {
        a->low = floor(log10(a->low) * 2) / 2;
        a->high = ceil(log10(a->high) * 2) / 2;
        a->step = 0.5;
        if (a->high <= a->low)
            a->high = a->low + a->step;
        return;
    }
    double span = a->high - a->low > 1e-6 ? a->high - a->low : 1;
    a->step = round_step(span / TICKS);
    a->low = floor(a->low / a->step) * a->step;
    a->high = ceil(a->high / a->step) * a->step;
    if (a->high <= a->low)
        a->high = a->low + a->step;
}

/* The low end has a tick, and so many behind it. */
static int axis_ticks(const struct axis *a)
{
    return (int)lround((a->high - a->low) / a->step);
}

static void axis_take(struct axis *a, double value, bool *any)
{
    a->low = *any ? fmin(a->low, value) : value;
    a->high = *any ? fmax(a->high, value) : value;
    *any = true;
}

static bool point_ok(const struct plot *p, const struct plot_series *s, int i)
{
    return isfinite(s->x[i]) && isfinite(s->y[i]) && isfinite(s->error[i]) &&
           (!p->log_x || s->x[i] > 0);
}

static bool axes_fit(struct drawing *d)
{
    const struct plot *p = d->plot;
    bool any_x = false, any_y = false;
    d->x.log = p->log_x;
    for (int s = 0; s < p->count; s++)
        for (int i = 0; i < p->series[s].count; i++) {
            const struct plot_series *series = &p->series[s];
            if (!point_ok(p, series, i))
                continue;
            axis_take(&d->x, series->x[i], &any_x);
            axis_take(&d->y, series->y[i] - series->error[i], &any_y);
            axis_take(&d->y, series->y[i] + series->error[i], &any_y);
        }
    if (!any_x)
        return false;
    axis_round(&d->x);
    axis_round(&d->y);
    return true;
}

static double at_x(const struct drawing *d, double x)
{
    double v = d->x.log ? log10(x) : x;
    return LEFT + (v - d->x.low) / (d->x.high - d->x.low) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct drawing *d, double y)
{
    return HEIGHT - BOTTOM - (y - d->y.low) / (d->y.high - d->y.low) * (HEIGHT - TOP - BOTTOM);
}

/* 1500 -> "1.5k" */
static void tick_text(double value, char *out, size_t size)
{
    if (fabs(value) >= 1e6)
        snprintf(out, size, "%.3gM", value / 1e6);
    else if (fabs(value) >= 1e4)
        snprintf(out, size, "%.3gk", value / 1e3);
    else
        snprintf(out, size, "%.4g", value);
}

static void axes_draw(struct drawing *d)
{
    char text[32];
    int right = WIDTH - RIGHT, bottom = HEIGHT - BOTTOM;
    for (int i = 0; i <= axis_ticks(&d->y); i++) {
        double v = d->y.low + i * d->y.step, y = at_y(d, v);
        tick_text(fabs(v) < d->y.step / 2 ? 0 : v, text, sizeof text);
        put(d, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT, y,
            right, y);
        put(d, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", LEFT - 8, y + 4, text);
    }
    for (int i = 0; i <= axis_ticks(&d->x); i++) {
        double v = d->x.low + i * d->x.step;
        double value = d->x.log ? pow(10, v) : v, x = at_x(d, value);
        tick_text(fabs(value) < 1e-12 ? 0 : value, text, sizeof text);
        put(d, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#666\"/>\n", x, bottom,
            x, bottom + 5);
        put(d, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, bottom + 20,
            text);
    }
    put(d, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#666\"/>\n", LEFT, bottom, right,
        bottom);
    put(d, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + right) / 2, HEIGHT - 12);
    put_text(d, d->plot->x_title);
    put(d, "</text>\n<text x=\"%d\" y=\"22\" font-size=\"15\" font-weight=\"bold\">", LEFT);
    put_text(d, d->plot->title);
    put(d, "</text>\n");
}

/* ---- series ---- */

/* Filled and open marks of four forms. */
static void mark_draw(struct drawing *d, int s, double x, double y)
{
    const char *color = COLORS[s % COLOR_COUNT], *fill = s < COLOR_COUNT ? color : "white";
    if (s % 2 == 0)
        put(d, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\" stroke=\"%s\"/>\n", x, y, fill,
            color);
    else
        put(d, "<rect x=\"%.1f\" y=\"%.1f\" width=\"7\" height=\"7\" fill=\"%s\" stroke=\"%s\"/>\n",
            x - 3.5, y - 3.5, fill, color);
}

static void series_line(struct drawing *d, int s)
{
    const struct plot_series *series = &d->plot->series[s];
    put(d, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s points=\"",
        COLORS[s % COLOR_COUNT], s < COLOR_COUNT ? "" : " stroke-dasharray=\"6 4\"");
    for (int i = 0; i < series->count; i++)
        if (point_ok(d->plot, series, i))
            put(d, "%.1f,%.1f ", at_x(d, series->x[i]), at_y(d, series->y[i]));
    put(d, "\"/>\n");
}

static void series_draw(struct drawing *d, int s)
{
    const struct plot_series *series = &d->plot->series[s];
    if (!series->points_alone)
        series_line(d, s);
    for (int i = 0; i < series->count; i++) {
        if (!point_ok(d->plot, series, i))
            continue;
        double x = at_x(d, series->x[i]), e = series->error[i];
        if (e > 0)
            put(d, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x,
                at_y(d, series->y[i] - e), x, at_y(d, series->y[i] + e), COLORS[s % COLOR_COUNT]);
        mark_draw(d, s, x, at_y(d, series->y[i]));
    }
    int legend = TOP + 10 + 20 * s;
    mark_draw(d, s, WIDTH - RIGHT + 24, legend);
    put(d, "<text x=\"%d\" y=\"%d\">", WIDTH - RIGHT + 36, legend + 4);
    put_text(d, series->label);
    put(d, "</text>\n");
}

enum status plot_svg(const struct plot *plot, struct buf *out, struct err *err)
{
    struct drawing d = {.plot = plot, .out = out};
    if (!axes_fit(&d))
        return err_set(err, STATUS_MALFORMED, "plot \"%s\" has no points", plot->title);
    put(&d,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\""
        " font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        WIDTH, HEIGHT);
    axes_draw(&d);
    for (int s = 0; s < plot->count; s++)
        series_draw(&d, s);
    put(&d, "</svg>\n");
    return d.status == STATUS_OK ? STATUS_OK
                                 : err_set(err, d.status, "no memory for plot \"%s\"", plot->title);
}
