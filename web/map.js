/* map.js: a round's visual tokens as the service has laid them out (t-SNE): who saw things alike.
 * The picture is for eyes; beside it stands, in words and numbers, how far devices lie apart in it. */
import {ask} from './api.js';
import {chart} from './charts.js';
import {el, section, table} from './dom.js';
import {count, percent} from './format.js';

const COLOURED = 8;

/* Points by what key says of them, the largest group first: {name, points, uploads, kin: how many
 * have their nearest neighbour, among other uploads' points, in the group; of: among how many, 0 for a
 * group of one upload, which has no such neighbour}. */
function groups(points, key) {
    const by = new Map();
    for (const point of points) {
        const name = key(point);
        if (!by.has(name)) by.set(name, {name, points: [], uploads: new Set(), kin: 0, of: 0});
        const group = by.get(name);
        group.points.push(point);
        group.uploads.add(point.upload);
        group.of += point.nearest ? 1 : 0;
        group.kin += point.nearest && key(point.nearest) === name ? 1 : 0;
    }
    for (const group of by.values()) if (group.uploads.size < 2) group.kin = group.of = 0;
    return [...by.values()].sort((a, b) => b.points.length - a.points.length);
}

/* Gives each point the nearest one of another upload: tokens of one image are alike anyway. */
function nearest(points) {
    for (const a of points) {
        let least = Infinity;
        for (const b of points) {
            const d = a.upload === b.upload ? Infinity : (a.x - b.x) ** 2 + (a.y - b.y) ** 2;
            if (d < least) [least, a.nearest] = [d, b];
        }
    }
}

/* The largest groups, each with a colour, and the others as one. */
function coloured(all, what) {
    const own = all.slice(0, COLOURED).map((g, i) => ({...g, colour: i + 1})), rest = all.slice(COLOURED);
    const sum = (pick) => rest.reduce((total, g) => total + pick(g), 0);
    return rest.length === 0 ? own : [...own, {name: `${count(rest.length)} other ${what}`, muted: true,
        points: rest.flatMap((g) => g.points), uploads: {size: sum((g) => g.uploads.size)},
        kin: sum((g) => g.kin), of: sum((g) => g.of)}];
}

const words = {device: ['device', 'devices'], class: ['class', 'classes']};
const keys = {device: (p) => p.device, class: (p) => p.class ?? 'no class'};
const pointWords = (p) => `${p.device}, upload ${p.upload}, ${p.position === undefined
    ? 'the mean of the tokens left behind' : `token ${p.position}`}`;

function summary(map, by, all) {
    const total = map.points.length, kin = all.reduce((sum, g) => sum + g.kin, 0), of = all.reduce((sum, g) => sum + g.of, 0);
    return `${count(total)} visual tokens${map.of > total ? `, evenly from ${count(map.of)},` : ''} of ${count(all.length)} ` +
        `${words[by][all.length === 1 ? 0 : 1]}.${of && all.length > 1 ? ` For ${percent(kin / of)} of them the nearest ` +
        `one of another upload is of the same ${words[by][0]}.` : ''}`;
}

const legend = (by, parts) => table(`Visual tokens by ${by}`, [
    {head: by === 'device' ? 'Device' : 'Class', cell: (g) => g.muted || by === 'class' ? g.name
        : el('a', {href: `#/fleet/${encodeURIComponent(g.name)}`}, g.name)},
    {head: 'Uploads', num: true, cell: (g) => count(g.uploads.size)},
    {head: 'Tokens', num: true, cell: (g) => count(g.points.length)},
    {head: 'Nearest is alike', num: true, cell: (g) => percent(g.of ? g.kin / g.of : undefined)},
], parts, {hideCaption: true});

/* The picture and its numbers, by device or by class; close() before another one is drawn. */
function picture(map, by, choose) {
    const all = groups(map.points, keys[by]), parts = coloured(all, words[by][1]), said = summary(map, by, all);
    const plot = chart({title: `Visual tokens by ${by}, alike ones near each other`, kind: 'scatter', series: parts,
        say: () => said, point: pointWords});
    plot.draw({labels: [], values: parts.map((s) => s.points)});
    const select = el('select', {id: 'map-by', onchange: () => choose(select.value)}, Object.keys(keys).map((k) =>
        el('option', {value: k, selected: k === by}, k)));
    return {close: plot.close, node: el('div', {class: 'pair'}, plot.node, el('div', null,
        el('div', {class: 'field'}, el('label', {for: 'map-by'}, 'Colour by'), select),
        el('p', null, said), legend(by, parts), el('p', {class: 'note'}, 'Laid out by t-SNE: what lies together looked ' +
        'alike to the encoder; distances between groups and their sizes mean little. Who keeps to one place ' +
        'sees a world of its own. Larger marks: the mean of an image\'s tokens that were not sent, mostly its ' +
        'background.')))};
}

/* Many devices have no colour of their own each; their classes may. */
function bestKey(points) {
    const many = (key, n) => new Set(points.map(keys[key])).size > n;
    return many('device', COLOURED) && many('class', 1) ? 'class' : 'device';
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
            nearest(map.points);
            const put = (by) => {
                const made = picture(map, by, put);
                say(made.node);
                plot = made;
            };
            put(bestKey(map.points));
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
