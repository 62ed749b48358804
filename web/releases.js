/* releases.js: releases and their rollouts: the list, and one with its stages, its counts, its bytes
 * by tensor, and the three things that can be done to it. */
import {ask, askOrNull, download} from './api.js';
import {confirmed} from './dialogs.js';
import {badge, el, facts, hint, region, section, shares, table} from './dom.js';
import {bytes, count, duration, number, percent, state, when} from './format.js';
import {releaseLink, roundLink} from './rounds.js';

export const title = 'Releases', events = ['release', 'device', 'round'];

/* ---- the list ---- */

const columns = [
    {head: 'Version', cell: (r) => releaseLink(r.version)},
    {head: 'State', cell: (r) => state(r.state)},
    {head: 'Stage', num: true, cell: (r) => r.stages ? `${r.stage} of ${r.stages.length}` : '–'},
    {head: 'From', num: true, wide: true, cell: (r) => String(r.base_version)},
    {head: 'Patch', num: true, cell: (r) => bytes(r.size)},
    {head: 'Round', num: true, cell: (r) => roundLink(r.round)},
    {head: 'Created', wide: true, cell: (r) => when(r.created)},
];

function showList(page) {
    const {root, query, signal} = page;
    const before = query.get('before');
    const list = el('div'), draw = region(list);
    root.append(el('h1', null, 'Releases'), list);
    return async () => {
        const found = await ask(`releases?limit=30${before ? `&before=${before}` : ''}`, {signal});
        draw(found, () => found.releases.length ? [
            table('Releases', columns, found.releases, {hideCaption: true}),
            el('nav', {class: 'pager', 'aria-label': 'Pages of releases'},
                before && el('a', {href: '#/releases'}, '‹ Newest'),
                found.next && el('a', {href: `#/releases?before=${found.next}`}, 'Older ›')),
        ] : hint('No release yet. A round that passes its gate makes one:',
            `curl -X POST ${location.origin}/distill`));
    };
}

/* ---- one release ---- */

const actions = {
    halt: ['Halt', 'danger', 'No device is offered it until it is resumed. Devices that have it keep it.'],
    resume: ['Resume', 'primary', 'Its stage begins anew; devices that failed or were silent are offered it again.'],
    rollback: ['Roll back', 'danger', 'A new release brings back the parameters of the version before, to the bit, and is rolled out as any.'],
};

function button(page, release, verb) {
    const [name, tone, text] = actions[verb];
    return el('button', {type: 'button', class: tone, 'data-key': verb, onclick: () => page.act(async () => {
        if (!await confirmed(`${name} release ${release.version}?`, text, name, tone)) return;
        const made = await ask(`releases/${release.version}/${verb}`, {method: 'POST'});
        if (verb === 'rollback') location.hash = `#/rounds/${made.id}`;
    })}, name);
}

const fits = {halt: (s) => s === 'rolling' || s === 'complete', resume: (s) => s === 'halted',
    rollback: (s) => s !== 'superseded'};

function stages(release) {
    const now = release.stage;
    return table('Stages', [
        {head: 'Stage', cell: (s) => s.number},
        {head: 'Progress', cell: (s) => s.number < now || release.state === 'complete' ? badge('done', 'good')
            : s.number === now && release.state !== 'superseded'
                ? badge('now', release.state === 'halted' ? 'bad' : 'busy') : '–'},
        {head: 'Channel', cell: (s) => s.channel ?? 'every'},
        {head: 'Share', num: true, cell: (s) => percent(s.share)},
        {head: 'Soaks', num: true, cell: (s) => s.min_soak_s ? duration(s.min_soak_s) : 'no'},
        {head: 'Needs applied', num: true, wide: true, cell: (s) => percent(s.success)},
        {head: 'Halts above errors', num: true, wide: true, cell: (s) => percent(s.errors)},
    ], release.stages.map((s, i) => ({...s, number: i + 1})), {hideCaption: true});
}

function counts(c) {
    const waiting = Math.max(0, c.offered - c.applied - c.failed - c.silent);
    const parts = [{label: 'applied', count: c.applied, tone: 'good'}, {label: 'waiting', count: waiting, tone: 'idle'},
        {label: 'silent', count: c.silent, tone: 'warn'}, {label: 'failed', count: c.failed, tone: 'bad'}];
    if (!c.offered)
        return [el('p', {class: 'empty'}, 'Offered to no device yet: agents ask by themselves.')];
    return [shares('Devices offered the release', parts), facts([['Offered', count(c.offered)],
        ...parts.map((p) => [p.label, count(p.count)])], 'tiles')];
}

const codecs = {0: 'nothing', s: 'sign', b: 'sign, 9 blocks of 10', h: 'sign, 4 blocks of 10', x: 'exact', 2: 'two bits', n: 'NF4', 8: 'eight bits', f: 'float32', k: 'NF4, selected'};

const LARGEST = 12;

function tensors(release) {
    const all = [...release.tensors].sort((a, b) => b.bytes - a.bytes), most = Math.max(all[0]?.bytes, 1);
    const first = all.slice(0, LARGEST), rest = all.slice(LARGEST);
    const total = all.reduce((sum, t) => sum + t.bytes, 0), values = all.reduce((sum, t) => sum + t.values, 0);
    const bar = (t) => el('meter', {min: 0, max: most, value: t.bytes, 'aria-label': `${t.name}: ${t.bytes} bytes`});
    const tensorColumns = [
        {head: 'Tensor', cell: (t) => el('code', null, t.name)},
        {head: 'Code', wide: true, cell: (t) => codecs[t.codec] ?? t.codec},
        {head: 'Values', num: true, wide: true, cell: (t) => count(t.values)},
        {head: 'Bytes', num: true, cell: (t) => count(t.bytes)},
        {head: 'Bits a value', num: true, wide: true, cell: (t) => number(t.bytes * 8 / t.values)},
        {head: 'Beside the largest', wide: true, cell: bar},
    ];
    return [el('p', null, `${count(all.length)} tensors, ${count(values)} parameters: ${bytes(total)} before ` +
        `zstd, ${bytes(release.size)} after; ${number(release.size * 8 / values)} bits a parameter.`),
    table(`The largest ${first.length} tensors`, tensorColumns, first, {hideCaption: true}),
    rest.length > 0 && el('details', null, el('summary', null, `The other ${count(rest.length)}`),
        table('The other tensors', tensorColumns, rest, {hideCaption: true}))];
}

const uploads = (ids) => el('p', null, ids.slice(0, 60).map((id, i) =>
    [i ? ', ' : '', el('a', {href: `#/tokens/${id}`}, String(id))]),
ids.length > 60 ? ` and ${ids.length - 60} more` : '');

const patchLink = (page, r) => el('a', {href: `deltas/${r.version}`, onclick: (event) => {
    event.preventDefault();
    page.act(() => download(`deltas/${r.version}`, `delta-${r.version}.zst`));
}}, bytes(r.size));

function showOne(page) {
    const {root, id, signal} = page;
    const body = el('div'), draw = region(body);
    root.append(el('p', {class: 'path'}, el('a', {href: '#/releases'}, 'Releases')),
        el('h1', null, `Release ${id}`), body);
    return async () => {
        const r = await askOrNull(`releases/${id}`, {signal});
        draw(r, () => r ? [
            facts([['State', state(r.state), r.detail], ['From', `version ${r.base_version}`],
                ['Patch', patchLink(page, r)],
                ['Round', roundLink(r.round)], ['Created', when(r.created)]], 'tiles'),
            page.operator && el('div', {class: 'buttons'}, Object.keys(actions).filter((verb) => fits[verb](r.state))
                .map((verb) => button(page, r, verb))),
            section('Rollout', counts(r.counts), stages(r)),
            r.tensors && section('Bytes by tensor', tensors(r)),
            section('What is behind it', r.upload_ids.length ? [el('p', null, 'Uploads that its round learnt from:'),
                uploads(r.upload_ids)] : el('p', {class: 'empty'}, 'No upload, or none that is still there.'),
            facts([['Patch SHA-256', el('code', null, r.sha256)],
                ['Parameters SHA-256', el('code', null, r.set_sha256)]])),
        ] : el('p', {class: 'empty'}, 'There is no such release.'));
    };
}

export const show = (page) => page.id ? showOne(page) : showList(page);
