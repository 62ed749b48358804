/* rounds.js: rounds of distillation: the list, and one of them with its curve, its gate, what it
 * learnt from and with which settings. */
import {ask, askOrNull} from './api.js';
import {chart} from './charts.js';
import {confirmed} from './dialogs.js';
import {el, facts, hint, region, section, table} from './dom.js';
import {between, bytes, count, duration, number, percent, state, when} from './format.js';
import {roundStarter, settingWords} from './settings.js';
import {runAgent} from './fleet.js';

export const title = 'Rounds', events = ['round', 'release'];
const causes = {request: 'by request', count: 'enough uploads', time: 'by the clock', rollback: 'rollback'};

export const roundLink = (id) => el('a', {href: `#/rounds/${id}`}, `${id}`);
export const releaseLink = (v) => v ? el('a', {href: `#/releases/${v}`}, `${v}`) : '–';
export const isOpen = (round) => round.state === 'queued' || round.state === 'running';

/* ---- the curve ---- */

/* Losses as the service keeps them, every n-th step, and those that come by the event stream. */
export function lossCurve() {
    const plot = chart({title: 'Loss by step', kind: 'line', x: 'step', y: 'loss', zero: true,
        series: [{name: 'loss'}], format: number,
        say: (d) => d.labels.length ? `${d.labels.length} points, from ${number(d.values[0][0])} to ` +
            `${number(d.values[0].at(-1))}` : 'No step yet'});
    let steps = [], losses = [];
    const put = () => {
        plot.node.hidden = steps.length === 0;
        plot.draw({labels: steps, values: [losses]});
    };
    return {
        node: plot.node, close: plot.close,
        set(part) {
            const known = (part?.losses ?? []).map((loss, i) => [1 + i * part.loss_every, loss]);
            const last = known.length ? known.at(-1)[0] : 0;
            const later = steps.map((s, i) => [s, losses[i]]).filter(([s]) => s > last);
            steps = [...known, ...later].map((p) => p[0]);
            losses = [...known, ...later].map((p) => p[1]);
            put();
        },
        add(step) {
            if (steps.length && step.step <= steps.at(-1)) return;
            steps = [...steps, step.step];
            losses = [...losses, step.loss];
            put();
        },
        clear() {
            steps = [];
            losses = [];
            put();
        },
    };
}

/* A bar of how far a round is; step: {step, steps, loss}. */
export function progressBar() {
    const bar = el('progress', {'aria-label': 'Steps of the round', max: 1, value: 0});
    const text = el('p', {class: 'note'});
    return {
        node: el('div', {class: 'progress'}, bar, text),
        set(step) {
            bar.max = step?.steps || 1;
            bar.value = step?.step ?? 0;
            text.textContent = step?.steps
                ? `step ${step.step} of ${step.steps}, loss ${number(step.loss)}` : 'the teacher answers';
        },
    };
}

/* ---- the list ---- */

const columns = [
    {head: 'Round', cell: (r) => roundLink(r.id)},
    {head: 'State', cell: (r) => state(r.state)},
    {head: 'Cause', wide: true, cell: (r) => causes[r.cause] ?? r.cause},
    {head: 'Instances', num: true, wide: true, cell: (r) => count(r.instances)},
    {head: 'Agreement', num: true, cell: (r) => gateText(r.report, 'agreement')},
    {head: 'Loss', num: true, wide: true, cell: (r) => r.report?.loss_first === undefined ? '–'
        : `${number(r.report.loss_first)} → ${number(r.report.loss_last)}`},
    {head: 'Took', num: true, wide: true, cell: (r) => between(r.started, r.finished)},
    {head: 'Created', wide: true, cell: (r) => when(r.created)},
    {head: 'Release', num: true, cell: (r) => releaseLink(r.version)},
];

function gateText(report, kind) {
    const before = report?.[`${kind}_before`], after = report?.[`${kind}_after`];
    return before === undefined || before < 0 ? '–' : `${percent(before)} → ${percent(after)}`;
}

export const teachRound = (origin) => hint('A round learns from uploads that no round has used. They come ' +
    'from an agent:', runAgent(origin));

function showList(page) {
    const {root, query, signal} = page;
    const before = query.get('before');
    const list = el('div'), draw = region(list);
    root.append(el('h1', null, 'Rounds'),
        roundStarter(page, (id) => { location.hash = `#/rounds/${id}`; }), list);
    return async () => {
        const found = await ask(`distill?limit=30${before ? `&before=${before}` : ''}`, {signal});
        draw(found, () => found.rounds.length ? [
            table('Rounds', columns, found.rounds, {hideCaption: true}),
            el('nav', {class: 'pager', 'aria-label': 'Pages of rounds'},
                before && el('a', {href: '#/rounds'}, '‹ Newest'),
                found.next && el('a', {href: `#/rounds?before=${found.next}`}, 'Older ›')),
        ] : [el('p', {class: 'empty'}, 'No round yet.'), teachRound(location.origin),
            page.operator && hint('Then start one above, or:', `curl -X POST ${location.origin}/distill`)]);
    };
}

/* ---- one round ---- */

function gateRow(name, before, after) {
    return {name, before, after, change: after - before};
}

function gate(report) {
    if (!report.held)
        return [el('p', null, state(report.passed ? 'passed' : 'rejected'), ' No instance was held back, so there was nothing to compare on.')];
    const rows = [gateRow('Held back from this round', report.agreement_before, report.agreement_after)];
    if (report.replay_before >= 0)
        rows.push(gateRow('Replay of earlier uploads', report.replay_before, report.replay_after));
    return [el('p', null, state(report.passed ? 'passed' : 'rejected'), ` The answers that agree with the ` +
        `teacher's, on ${count(report.held)} held-back instances.`),
    table('Gate', [
        {head: 'On', wrap: true, cell: (r) => r.name}, {head: 'Before', num: true, cell: (r) => percent(r.before)},
        {head: 'After', num: true, cell: (r) => percent(r.after)},
        {head: 'Change', num: true, cell: (r) => el('span', {class: r.change < 0 && 'falls'},
            `${r.change < 0 ? '−' : '+'}${percent(Math.abs(r.change))}`)},
    ], rows, {hideCaption: true})];
}

const leftOut = {unusable: 'Left out: unusable', over_share: 'Left out: over a device\'s share',
    strange: 'Left out: not like an image'};
const believed = {believed: 'Corrections believed', over_share: 'Corrections over a share', doubted: 'Corrections doubted'};
const some = (counts, words) => Object.entries(words).filter(([key]) => counts?.[key] > 0)
    .map(([key, text]) => [text, count(counts[key])]);

const reportFacts = (report) => facts([
    ['Devices', count(report.devices)], ['Instances', count(report.instances)], ['Trained on', count(report.trained)],
    ...some(report.left_out, leftOut), ...some(report.corrections, believed),
    ['Loss, first step', number(report.loss_first)], ['Loss, last step', number(report.loss_last)],
    ['Took', duration(report.seconds)], ['of it the teacher', duration(report.teacher_seconds)]]);

function head(round) {
    return facts([['State', state(round.state), round.detail], ['Cause', causes[round.cause] ?? round.cause],
        ['Uploads', el('a', {href: `#/tokens?round=${round.id}`}, count(round.uploads)),
            round.size ? bytes(round.size) : null],
        ['Instances', count(round.instances)], ['Created', when(round.created)],
        ['Took', round.finished ? between(round.started, round.finished) : null],
        ['Release', round.version ? releaseLink(round.version) : null],
        ['Brings back', round.target === undefined ? null : `version ${round.target}`]], 'tiles');
}

function showOne(page) {
    const {root, id, signal} = page;
    const top = el('div'), body = el('div'), running = el('div', {hidden: true});
    const curve = lossCurve(), progress = progressBar();
    const curvePanel = section('Training', running, curve.node);
    const drawTop = region(top), drawBody = region(body);
    const place = el('div');
    let map = null;
    running.append(progress.node, page.operator ? el('button', {type: 'button', class: 'danger', onclick: () => page.act(async () => {
        if (await confirmed(`Cancel round ${id}?`, 'It ends between two steps; its uploads are new again.',
            'Cancel the round', 'danger')) await ask(`distill/${id}`, {method: 'DELETE'});
    })}, 'Cancel this round') : '');
    root.append(el('p', {class: 'path'}, el('a', {href: '#/rounds'}, 'Rounds')),
        el('h1', null, `Round ${id}`), top, curvePanel, place, body);
    page.closing = [curve.close, () => map?.close()];
    page.on('step', (step) => {
        if (String(step.round) !== id) return;
        curve.add(step);
        progress.set(step);
    });
    return async () => {
        const round = await askOrNull(`distill/${id}`, {signal});
        curvePanel.hidden = !round || round.cause === 'rollback';
        if (!map) {
            map = (await import('./map.js')).tokenMap(page, id); /* not needed for the first paint */
            place.append(map.node);
        }
        map.set(round, round && isOpen(round));
        if (!round) {
            drawTop(null, () => el('p', {class: 'empty'}, 'There is no such round.'));
            return;
        }
        running.hidden = !isOpen(round);
        if (round.progress) progress.set(round.progress);
        curve.set(round.report ?? round.progress);
        const {report, settings, ...rest} = round;
        drawTop({...rest, progress: null}, () => head(round));
        drawBody({report, settings}, () => [
            el('div', {class: 'pair'},
                report?.agreement_before !== undefined && section('Gate', gate(report)),
                report?.seconds !== undefined && section('Report', reportFacts(report))),
            section('Settings', facts(Object.entries(settings).map(([k, v]) => [settingWords[k] ?? k, String(v)])))]);
    };
}

export const show = (page) => page.id ? showOne(page) : showList(page);
