/* map.js: a round's visual tokens as the service has laid them out (t-SNE): who saw things alike.
 * The picture is for eyes; beside it stands, in words and numbers, how far devices lie apart in it. */
import {ask} from './api.js';
import {chart} from './charts.js';
import {el, section, table} from './dom.js';
import {count, percent} from './format.js';

const COLOURED = 8;

/* Devices by their number of points, the largest first: {device, points: [...], uploads}. */
function groups(points) {
    const by = new Map();
    for (const point of points) {
        if (!by.has(point.device)) by.set(point.device, {device: point.device, points: [], seen: new Set()});
        const group = by.get(point.device);
        group.points.push(point);
        group.seen.add(point.upload);
    }
    return [...by.values()].sort((a, b) => b.points.length - a.points.length);
}

/* Marks each point with whether the nearest one of another upload is of the same device. */
function neighbours(points) {
    for (const a of points) {
        let least = Infinity;
        a.kin = null;
        for (const b of points) {
            if (a.upload === b.upload) continue;
            const d = (a.x - b.x) ** 2 + (a.y - b.y) ** 2;
            if (d < least) {
                least = d;
                a.kin = a.device === b.device;
            }
        }
    }
}

function kinShare(points) {
    const known = points.filter((p) => p.kin !== null);
    return known.length ? known.filter((p) => p.kin).length / known.length : undefined;
}

/* The largest devices, and the others as one. */
function series(all) {
    const own = all.slice(0, COLOURED);
    const others = all.slice(own.length).flatMap((g) => g.points);
    return [...own.map((g, i) => ({name: g.device, colour: i + 1, points: g.points})),
        ...(others.length ? [{name: `${count(all.length - own.length)} other devices`, muted: true, points: others}] : [])];
}

const what = (p) => `${p.device}, upload ${p.upload}, ${p.position === undefined
    ? 'the mean of the tokens left behind' : `token ${p.position}`}`;

function words(map, all) {
    const share = kinShare(map.points);
    const part = map.of > map.points.length ? ` (evenly from ${count(map.of)})` : '';
    return `${count(map.points.length)} visual tokens${part} of ${count(all.length)} ` +
        `${all.length === 1 ? 'device' : 'devices'}.${share === undefined ? '' : ` For ${percent(share)} of them the ` +
        'nearest token of another upload is of the same device.'}`;
}

function numbers(all) {
    return table('Visual tokens by device', [
        {head: 'Device', cell: (g) => el('a', {href: `#/fleet/${encodeURIComponent(g.device)}`}, g.device)},
        {head: 'Uploads', num: true, wide: true, cell: (g) => count(g.seen.size)},
        {head: 'Tokens', num: true, cell: (g) => count(g.points.length)},
        {head: 'Nearest is its own', num: true, cell: (g) => percent(kinShare(g.points))},
    ], all, {hideCaption: true});
}

function picture(map) {
    neighbours(map.points);
    const all = groups(map.points), parts = series(all), said = words(map, all);
    const plot = chart({title: 'Visual tokens, alike ones near each other', kind: 'scatter', series: parts,
        say: () => said, point: what, numbers: () => numbers(all)});
    plot.draw({labels: [], values: parts.map((s) => s.points)});
    return {close: plot.close, nodes: [el('p', null, said), plot.node, el('p', {class: 'note'},
        'Laid out by t-SNE: what lies together looked alike to the encoder; distances between groups and their ' +
        'sizes mean little. Devices in places of their own see a world of their own. Larger marks: the mean of ' +
        'an image\'s tokens that were not sent, mostly its background.')]};
}

/* A panel for one round; set(round) after each reading of it. */
export function tokenMap(page, id) {
    const body = el('div'), panel = section('What its uploads show', body);
    let shown = null, plot = null;
    const say = (...content) => {
        plot?.close();
        plot = null;
        body.replaceChildren(...content);
    };
    async function load(key) {
        say(el('p', {class: 'note', role: 'status'}, 'The cloud lays out the tokens; a few seconds, once.'));
        try {
            const map = await ask(`distill/${id}/map`, {signal: page.signal});
            if (shown !== key) return;
            if (map.points.length === 0) {
                say(el('p', {class: 'empty'}, 'None of its uploads can be read any more.'));
                return;
            }
            const made = picture(map);
            say(...made.nodes);
            plot = made;
        } catch (error) {
            if (error.name === 'AbortError' || shown !== key) return;
            shown = null;
            say(el('p', {class: 'note'}, `No picture yet: ${error.message}`));
        }
    }
    return {
        node: panel, close: () => plot?.close(),
        set(round, open) {
            const ids = round?.upload_ids ?? [], key = open ? 'open' : ids.join();
            panel.hidden = !round || round.cause === 'rollback';
            if (panel.hidden || key === shown) return;
            shown = key;
            if (open) say(el('p', {class: 'empty'}, 'When the round is over, its visual tokens are laid out here: ' +
                'alike ones near each other, each in its device\'s colour.'));
            else if (ids.length === 0) say(el('p', {class: 'empty'}, 'None of its uploads is there any more: they ' +
                'were deleted, or given back when the round was cancelled. A picture of tokens goes with its uploads.'));
            else load(key);
        },
    };
}
