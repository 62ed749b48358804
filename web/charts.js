/* charts.js: lines and bars by Chart.js, which the service hands out from Debian's libjs-chart.js;
 * the numbers lie beside each chart as a table, which is all there is when the library is not
 * installed. Colours come from the style sheet, and series differ by dash or mark as well. */
import {el, table} from './dom.js';

let library = null;
const drawn = new Set();

function load() {
    library ??= new Promise((resolve) => {
        const script = el('script', {src: 'vendor/chart.js'});
        script.onload = () => resolve(globalThis.Chart ?? null);
        script.onerror = () => resolve(null);
        document.head.append(script);
    });
    return library;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const marks = ['circle', 'triangle', 'rect', 'rectRot', 'star', 'cross', 'crossRot', 'rectRounded'];
const dashes = [[], [6, 4], [2, 3], [9, 3, 2, 3]];

function paint(series, i, kind) {
    const line = colour(series.muted ? '--idle' : `--series-${series.colour ?? i + 1}`);
    const dots = kind === 'scatter';
    return {
        label: series.name, borderColor: line, backgroundColor: dots ? `${line}b0` : line,
        borderDash: dots ? [] : dashes[i % dashes.length], borderWidth: kind === 'bar' ? 0 : 1.75,
        pointRadius: (c) => dots ? (c.raw?.position === undefined ? 5.5 : 3) :
            c.chart.data.labels.length > 40 ? 0 : 2.5,
        pointStyle: dots && !series.muted ? marks[i % marks.length] : 'circle', order: series.muted ? 1 : 0,
        maxBarThickness: 26, spanGaps: true, tension: 0,
    };
}

function axis(title, extra) {
    return {
        title: {display: Boolean(title), text: title, color: colour('--muted')},
        ticks: {color: colour('--muted'), maxRotation: 0, autoSkipPadding: 14, ...extra?.ticks},
        grid: {color: colour('--line'), drawBorder: false, tickLength: 4},
        ...extra?.axis,
    };
}

/* Of dots only who is near whom counts: no numbers and no lines along the axes. */
const field = {ticks: {display: false}, axis: {min: -1.05, max: 1.05, grid: {display: false, drawBorder: false}}};

function options(spec) {
    const small = {color: colour('--text'), usePointStyle: spec.kind !== 'bar', boxHeight: spec.kind === 'bar' ? 10 : undefined,
        boxWidth: spec.kind === 'bar' ? 10 : 26, ...(spec.kind === 'line' && {pointStyle: 'line'})};
    const number = spec.format ?? ((n) => n);
    const dots = spec.kind === 'scatter';
    return {
        animation: false, responsive: true, maintainAspectRatio: false, normalized: !dots,
        interaction: {mode: dots ? 'nearest' : 'index', intersect: dots},
        font: {family: getComputedStyle(document.body).fontFamily},
        plugins: {
            legend: {display: spec.series.length > 1, position: 'bottom', labels: small},
            tooltip: {callbacks: {label: (item) => dots ? spec.point(item.raw) :
                `${item.dataset.label}: ${number(item.parsed.y)}`}},
        },
        scales: {
            x: axis(spec.x, dots ? field : {}),
            y: axis(spec.y, dots ? field : {
                ticks: {callback: (n) => number(n), maxTicksLimit: 6},
                axis: {beginAtZero: spec.zero ?? false, suggestedMax: spec.most, type: spec.scale ?? 'linear'},
            }),
        },
    };
}

/* At most this many rows of a long curve, the last one included. */
function thin(labels, most = 24) {
    const step = Math.ceil(labels.length / most);
    return labels.map((_, i) => i).filter((i) => i % step === 0 || i === labels.length - 1);
}

function asTable(spec, data) {
    const columns = [{head: spec.x, cell: (i) => String(data.labels[i])},
        ...spec.series.map((s, k) => ({head: s.name, num: true, cell: (i) => {
            const value = data.values[k]?.[i];
            return value === null || value === undefined ? '–' : (spec.format ?? String)(value);
        }}))];
    return table(spec.title, columns, thin(data.labels), {hideCaption: true});
}

/* spec: {title, kind: 'line' | 'bar' | 'scatter', x, y, series: [{name, colour?}], format, zero, most,
 * scale, say(data): what the chart shows, in words}. draw({labels, values: one list a series}). Of dots
 * each value is {x, y, position: absent for a larger mark}, from -1 to 1, and point(value) its words;
 * a series may be muted; there is no table. */
export function chart(spec) {
    const canvas = el('canvas', {role: 'img', 'aria-label': spec.title});
    const plot = el('div', {class: spec.kind === 'scatter' ? 'plot square' : 'plot'}, canvas);
    const numbers = el('div');
    const more = el('details', null, el('summary', null, 'Numbers'), numbers);
    const node = el('figure', {class: 'chart'}, el('figcaption', null, spec.title), plot,
        spec.kind === 'scatter' ? null : more);
    const self = {node, draw, repaint, close};
    let made = null, data = {labels: [], values: []}, due = false, closed = false, absent = false;

    function table_() {
        if (more.open || absent) numbers.replaceChildren(asTable(spec, data));
    }
    more.addEventListener('toggle', table_);

    function put() {
        due = false;
        if (closed) return;
        canvas.setAttribute('aria-label', `${spec.title}. ${spec.say?.(data) ?? ''}`.trim());
        table_();
        if (!made) return;
        made.data.labels = data.labels;
        made.data.datasets.forEach((set, k) => { set.data = data.values[k] ?? []; });
        made.update('none');
    }

    function draw(next) {
        data = next;
        if (!due) {
            due = true;
            requestAnimationFrame(put);
        }
    }

    function repaint() {
        if (!made) return;
        spec.series.forEach((s, k) => Object.assign(made.data.datasets[k], paint(s, k, spec.kind)));
        made.options = options(spec);
        put();
    }

    function close() {
        closed = true;
        drawn.delete(self);
        made?.destroy();
    }

    load().then((Chart) => {
        if (closed) return;
        if (!Chart) {
            absent = true;
            plot.remove();
            node.append(el('p', {class: 'note'}, 'No charts: Debian\'s package libjs-chart.js is not ' +
                'installed on the server. The numbers:'), spec.kind === 'scatter' ? '' : numbers);
            more.remove();
        } else {
            made = new Chart(canvas, {type: spec.kind, options: options(spec), data: {labels: [],
                datasets: spec.series.map((s, k) => ({...paint(s, k, spec.kind), data: []}))}});
            drawn.add(self);
        }
        put();
    });
    return self;
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const one of drawn) one.repaint();
});
