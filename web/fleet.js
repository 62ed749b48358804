/* fleet.js: the devices, a page at a time, by health, version and channel; one device with its last
 * update. However many there are, one page of rows is on the screen. */
import {ask, askOrNull} from './api.js';
import {badge, el, facts, hint, region, section, shares, table} from './dom.js';
import {count, duration, state, when} from './format.js';

export const title = 'Fleet', events = ['device', 'release'];
const ROWS = 50;

const link = (id) => el('a', {href: `#/fleet/${encodeURIComponent(id)}`}, id);

export const runAgent = (origin) =>
    `cdcca-edge run --cloud ${origin} --model models/student --data run/edge --source DIR`;

/* ---- groups ---- */

/* The groups of /fleet, added up by a field: [{name, ok, failing, silent, devices}]. */
export function groupsBy(fleet, field) {
    const rows = new Map();
    for (const group of fleet.groups) {
        const row = rows.get(group[field]) ?? {name: group[field], ok: 0, failing: 0, silent: 0, devices: 0};
        row[group.health] += group.devices;
        row.devices += group.devices;
        rows.set(group[field], row);
    }
    return [...rows.values()].sort((a, b) => b.name > a.name ? 1 : -1);
}

export const healthParts = (row) => [
    {label: 'ok', count: row.ok, tone: 'good'}, {label: 'failing', count: row.failing, tone: 'bad'},
    {label: 'silent', count: row.silent, tone: 'warn'}];

export function groupTable(caption, head, rows, name) {
    return table(caption, [
        {head, cell: (r) => name(r.name)},
        {head: 'Devices', num: true, cell: (r) => count(r.devices)},
        {head: 'Health', wide: true, cell: (r) => shares(`${head} ${r.name}`, healthParts(r))},
        {head: 'ok', num: true, cell: (r) => count(r.ok)},
        {head: 'failing', num: true, cell: (r) => count(r.failing)},
        {head: 'silent', num: true, cell: (r) => count(r.silent)},
    ], rows, {hideCaption: true});
}

/* ---- the list ---- */

const columns = [
    {head: 'Device', cell: (d) => link(d.id)},
    {head: 'Health', cell: (d) => state(d.health)},
    {head: 'Version', num: true, cell: (d) => String(d.version)},
    {head: 'Channel', cell: (d) => d.channel},
    {head: 'Class', wide: true, cell: (d) => d.class ?? '–'},
    {head: 'Program', wide: true, cell: (d) => d.program ?? '–'},
    {head: 'Last update', wide: true, cell: (d) => d.update
        ? [state(d.update.outcome), ` ${d.update.version}`] : '–'},
    {head: 'Heard of', cell: (d) => when(d.last_seen)},
];

/* The address of the list with other filters; from the start unless after is given. */
function address(query, changes) {
    const next = new URLSearchParams(query);
    for (const [name, value] of Object.entries({after: '', ...changes}))
        if (value === '') next.delete(name);
        else next.set(name, value);
    const text = next.toString();
    return text ? `#/fleet?${text}` : '#/fleet';
}

/* The cursors of the pages before this one, for the way back. */
const trail = {filter: null, cursors: []};

function trailKeep(query) {
    const filter = address(query, {}), after = query.get('after') ?? '';
    if (trail.filter !== filter) Object.assign(trail, {filter, cursors: []});
    const place = trail.cursors.indexOf(after);
    if (place >= 0) trail.cursors.length = place;
    trail.cursors.push(after);
    return trail.cursors.length > 1 ? trail.cursors[trail.cursors.length - 2] : null;
}

function choice(name, label, value, choices, query) {
    const field = el('select', {id: `by-${name}`, onchange: () => {
        location.hash = address(query, {[name]: field.value});
    }}, choices.map((c) => el('option', {value: c[0], selected: String(c[0]) === (value ?? '')}, c[1])));
    return el('div', {class: 'field'}, el('label', {for: `by-${name}`}, label), field);
}

function filters(query, fleet) {
    const versions = groupsBy(fleet, 'version').map((g) => [g.name, `${g.name} (${count(g.devices)})`]);
    const channels = groupsBy(fleet, 'channel').map((g) => [g.name, `${g.name} (${count(g.devices)})`]);
    const health = ['ok', 'failing', 'silent'].map((h) => [h, `${h} (${count(fleet.health[h])})`]);
    const any = ['', `any (${count(fleet.devices)})`];
    return [choice('health', 'Health', query.get('health'), [any, ...health], query),
        choice('version', 'Version', query.get('version'), [any, ...versions], query),
        choice('channel', 'Channel', query.get('channel'), [any, ...channels], query)];
}

function finder() {
    const field = el('input', {id: 'find', type: 'search', placeholder: 'its whole id', pattern: '[A-Za-z0-9._\\-]{1,64}'});
    return el('form', {class: 'field', role: 'search', onsubmit: (event) => {
        event.preventDefault();
        if (field.value) location.hash = `#/fleet/${encodeURIComponent(field.value)}`;
    }}, el('label', {for: 'find'}, 'Device'), field);
}

function pager(query, back, next) {
    const go = (key, text, after) => after === null || after === undefined
        ? el('span', {class: 'off'}, text)
        : el('a', {'data-key': key, href: address(query, {after})}, text);
    return el('nav', {class: 'pager', 'aria-label': 'Pages of devices'},
        go('back', '‹ Back', back), go('next', 'Next ›', next),
        query.get('after') && el('a', {href: address(query, {})}, 'First'));
}

function showList(page) {
    const {root, query, signal} = page;
    const search = new URLSearchParams({limit: ROWS});
    for (const name of ['health', 'version', 'channel', 'after'])
        if (query.get(name)) search.set(name, query.get(name));
    const back = trailKeep(query);
    const top = el('div'), bar = el('div', {class: 'fields'}), list = el('div');
    root.append(el('h1', null, 'Fleet'), top, el('div', {class: 'fields'}, bar, finder()), list);
    const drawTop = region(top), drawBar = region(bar), drawList = region(list);
    return async () => {
        const [fleet, found] = await Promise.all([ask('fleet', {signal}),
            ask(`devices?${search}`, {signal})]);
        drawTop(fleet, () => facts([
            ['Devices', count(fleet.devices)], ['ok', count(fleet.health.ok)],
            ['failing', count(fleet.health.failing), 'the last update failed or was rolled back'],
            ['silent', count(fleet.health.silent), 'not heard of lately'],
            ['Newest release', String(fleet.version), `offered to all: ${fleet.offered_to_all}`],
        ], 'tiles'));
        drawBar(fleet, () => filters(query, fleet));
        drawList(found, () => found.devices.length
            ? [table('Devices', columns, found.devices, {hideCaption: true}), pager(query, back, found.next)]
            : fleet.devices ? el('p', {class: 'empty'}, 'No device is like that. ',
                el('a', {href: '#/fleet'}, 'Show all'))
            : hint('No device has said anything yet. An agent that runs appears here by itself:',
                runAgent(location.origin)));
    };
}

/* ---- one device ---- */

function selfTest(test) {
    if (!test) return null;
    const part = (right, all, what) => all === undefined ? null : `${right ?? 0} of ${all} ${what}`;
    return [part(test.golden_right, test.golden, 'golden answers right'),
        part(test.replay_agreed, test.replay, 'replayed answers the same'),
        test.finite === false ? 'values that are not finite' : null].filter(Boolean).join(', ');
}

function showDevice(page) {
    const {root, id, signal} = page;
    const body = el('div'), draw = region(body);
    root.append(el('p', {class: 'path'}, el('a', {href: '#/fleet'}, 'Fleet')), el('h1', null, id), body);
    return async () => {
        const d = await askOrNull(`devices/${encodeURIComponent(id)}`, {signal});
        draw(d, () => d ? [
            section('What it is', facts([
                ['Health', state(d.health)], ['Version', String(d.version)], ['Channel', d.channel],
                ['Class', d.class], ['Program', d.program], ['First heard of', when(d.first_seen)],
                ['Last heard of', when(d.last_seen)],
                ['Parameters', d.set_sha256 && el('code', null, d.set_sha256)]])),
            section('Its last update', d.update ? facts([
                ['Outcome', state(d.update.outcome)],
                ['Release', el('a', {href: `#/releases/${d.update.version}`}, String(d.update.version))],
                ['Reported', when(d.update.at)], ['Took', d.update.seconds && duration(d.update.seconds)],
                ['Reason', d.update.reason], ['Self-test', selfTest(d.update.self_test)]])
            : el('p', {class: 'empty'}, 'It has not reported one.')),
        ] : el('p', {class: 'empty'}, badge('unknown', 'warn'), ' No device of this id has been heard of.'));
    };
}

export const show = (page) => page.id ? showDevice(page) : showList(page);
