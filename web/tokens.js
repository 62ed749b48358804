/* tokens.js: uploads: the newest first, those of a round, one with its lineage; forgetting one. */
import {ask, askOrNull} from './api.js';
import {confirmed} from './dialogs.js';
import {badge, el, facts, hint, region, section, table} from './dom.js';
import {bytes, count, when} from './format.js';
import {releaseLink, roundLink} from './rounds.js';
import {runAgent} from './fleet.js';

export const title = 'Tokens', events = ['upload', 'round'];
const ROWS = 50, NEWEST = Number.MAX_SAFE_INTEGER;

function remove(page, upload, gone) {
    return el('button', {type: 'button', class: gone ? 'danger' : 'quiet', 'data-key': `delete-${upload.id}`,
        'aria-label': `Delete upload ${upload.id}`, onclick: () => page.act(async () => {
            const text = `Row and bytes of the upload of ${upload.device} are removed for good. ` +
                'What a round has learnt from it stays learnt.';
            if (!await confirmed(`Delete upload ${upload.id}?`, text, 'Delete', 'danger')) return;
            await ask(`tokens/${upload.id}`, {method: 'DELETE'});
            gone?.();
        })}, 'Delete');
}

const columns = (page) => [
    {head: 'Upload', cell: (u) => el('a', {href: `#/tokens/${u.id}`}, String(u.id))},
    {head: 'Device', cell: (u) => el('a', {href: `#/fleet/${encodeURIComponent(u.device)}`}, u.device)},
    {head: 'Received', wide: true, cell: (u) => when(u.received)},
    {head: 'Instances', num: true, cell: (u) => count(u.instances)},
    {head: 'Tokens', num: true, wide: true, cell: (u) => count(u.tokens)},
    {head: 'Bytes', num: true, wide: true, cell: (u) => count(u.size)},
    {head: 'Round', num: true, cell: (u) => u.round ? roundLink(u.round) : badge('new', 'busy')},
    {head: 'Release', num: true, wide: true, cell: (u) => releaseLink(u.version)},
    page.operator && {head: 'Forget', cell: (u) => remove(page, u)},
].filter(Boolean);

function showList(page) {
    const {root, query, signal} = page;
    const round = query.get('round'), from = query.get('before') ?? query.get('after');
    const list = el('div'), draw = region(list);
    root.append(el('h1', null, round ? `Tokens of round ${round}` : 'Tokens'), list);
    const search = new URLSearchParams({limit: ROWS, ...(round ? {round} : {before: from ?? NEWEST})});
    if (round && from) search.set('after', from);
    const link = (at) => round ? `#/tokens?round=${round}&after=${at}` : `#/tokens?before=${at}`;
    const start = round ? `#/tokens?round=${round}` : '#/tokens';
    return async () => {
        const found = await ask(`tokens?${search}`, {signal});
        draw(found, () => [
            round && el('p', null, el('a', {href: '#/tokens'}, 'Show all uploads')),
            found.uploads.length ? table('Uploads', columns(page), found.uploads, {hideCaption: true})
                : hint(from || round ? 'No upload here, or none that is still there.'
                    : 'No upload yet. An agent sends what it was unsure about:', from || round ? null
                    : runAgent(location.origin)),
            el('nav', {class: 'pager', 'aria-label': 'Pages of uploads'},
                from && el('a', {href: start}, '‹ First page'),
                found.next && el('a', {href: link(found.next)}, 'Next ›')),
        ]);
    };
}

/* From the device to the devices: what became of it. */
function lineage(u) {
    return el('ol', {class: 'lineage'},
        el('li', null, 'Sent by ', el('a', {href: `#/fleet/${encodeURIComponent(u.device)}`}, u.device),
            ` at version ${u.base_version}, `, when(u.received)),
        el('li', null, u.round ? ['Learnt from in round ', roundLink(u.round)] : 'Not used by a round yet'),
        el('li', null, u.version ? ['Part of release ', releaseLink(u.version)]
            : u.round ? 'That round has released nothing' : 'In no release yet'));
}

function showOne(page) {
    const {root, id, signal} = page;
    const body = el('div'), draw = region(body);
    root.append(el('p', {class: 'path'}, el('a', {href: '#/tokens'}, 'Tokens')),
        el('h1', null, `Upload ${id}`), body);
    return async () => {
        const u = await askOrNull(`tokens/${id}`, {signal});
        draw(u, () => u ? [
            facts([['Instances', count(u.instances)], ['Tokens', count(u.tokens)], ['Bytes', bytes(u.size)],
                ['Bytes an instance', bytes(u.size / u.instances)]], 'tiles'),
            section('Lineage', lineage(u)),
            section('Stored', facts([['SHA-256', el('code', null, u.sha256)]]),
                page.operator && remove(page, u, () => { location.hash = '#/tokens'; })),
        ] : el('p', {class: 'empty'}, 'There is no such upload; it may have been deleted.'));
    };
}

export const show = (page) => page.id ? showOne(page) : showList(page);
