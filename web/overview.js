/* overview.js: the loop at a glance: who runs what, what comes up, the round under way, what rounds
 * have gained, and what it cost in bytes beside what else could have been sent. */
import {ask} from './api.js';
import {chart} from './charts.js';
import {el, facts, hint, region, section, shares, table} from './dom.js';
import {groupTable, groupsBy, healthParts, runAgent} from './fleet.js';
import {bytes, count, counted, number, percent, state, times, when} from './format.js';
import {isOpen, lossCurve, progressBar, releaseLink, roundLink, teachRound} from './rounds.js';
import {roundStarter} from './settings.js';

export const title = 'Overview', events = ['upload', 'round', 'release', 'device'];
const ROUNDS = 30;

/* ---- the top ---- */

const gauge = (metrics, name) => Number(metrics.match(new RegExp(`^${name} (\\S+)`, 'm'))?.[1] ?? 0);

function top({fleet, release, waiting, round}) {
    return facts([
        ['Newest release', release ? releaseLink(release.version) : '0',
            release ? state(release.state) : 'the factory model'],
        ['Devices', el('a', {href: '#/fleet'}, count(fleet.devices)),
            fleet.devices ? shares('Health', healthParts(fleet.health)) : 'none has said anything'],
        ['New instances', el('a', {href: '#/tokens'}, count(waiting)), 'no round has used them'],
        ['Round', round ? roundLink(round.id) : '–', round ? state(round.state) : 'none yet'],
    ], 'tiles');
}

function fleetPart(fleet) {
    if (!fleet.devices)
        return hint('No device has said anything yet. An agent that runs appears here by itself:',
            runAgent(location.origin));
    return [groupTable('Devices by version', 'Version', groupsBy(fleet, 'version'),
        (v) => el('a', {href: `#/fleet?version=${v}`}, v === 0 ? '0, the factory\'s' : `${v}`)),
    groupTable('Devices by channel', 'Channel', groupsBy(fleet, 'channel'),
        (c) => el('a', {href: `#/fleet?channel=${c}`}, c))];
}

/* ---- bytes ---- */

/* Rounds with what they took up and what came down, oldest first. */
function costs(rounds, releases) {
    const byVersion = new Map(releases.map((r) => [r.version, r]));
    return rounds.filter((r) => r.instances > 0).reverse().map((r) => ({
        id: r.id, up: r.size, instances: r.instances, tokens: r.tokens, down: byVersion.get(r.version)?.size ?? null}));
}

function byteRows(model, cost) {
    const sum = (key) => cost.reduce((total, c) => total + (c[key] ?? 0), 0);
    const down = cost.filter((c) => c.down !== null);
    const one = sum('instances') ? sum('up') / sum('instances') : null;
    const patch = down.length ? sum('down') / down.length : null;
    const all = model.tokens_per_image * model.token_width;
    const set = model.trainable.parameters, whole = model.student.parameters;
    return [
        one !== null && {what: 'Up, an instance: tokens as sent', size: one, than: one},
        one !== null && {what: '… all of its visual tokens, float16', size: all * 2, than: one},
        one !== null && model.image_size && {what: '… the pixels the encoder sees, raw',
            size: model.image_size * model.image_size * 3, than: one},
        patch !== null && {what: 'Down, a release: patch as sent', size: patch, than: patch},
        patch !== null && {what: '… all trainable parameters, float16', size: set * 2, than: patch},
        patch !== null && {what: '… the whole student, bfloat16', size: whole * 2, than: patch},
    ].filter(Boolean);
}

function byteTable(model, cost) {
    const rows = byteRows(model, cost);
    const patch = cost.filter((c) => c.down !== null);
    const bits = patch.length ? patch.at(-1).down * 8 / model.trainable.parameters : null;
    return [table('Bytes beside the alternatives', [
        {head: 'What', wrap: true, cell: (r) => r.what}, {head: 'Bytes', num: true, cell: (r) => bytes(r.size)},
        {head: 'Compared', num: true, cell: (r) => r.size === r.than ? '1×' : times(r.size, r.than)},
    ], rows, {hideCaption: true}),
    bits !== null && el('p', {class: 'note'}, `The newest patch takes ${number(bits)} bits for each of ` +
        `${count(model.trainable.parameters)} trainable parameters. A JPEG takes far less ` +
        'than the raw pixels, often as little as the tokens; the agents alone see images, and their report ' +
        '(./quickstart demo) has it.')];
}

function resultCharts() {
    const share = (n) => percent(n);
    const agreement = chart({title: 'Agreement with the teacher', kind: 'line', x: 'round', format: share, most: 1, zero: true,
        series: [{name: 'after the round'}, {name: 'before it'}, {name: 'replay, after', colour: 3}],
        say: (d) => `${d.labels.length} rounds, ${share(d.values[0]?.at(-1))} after the last`});
    const size = chart({title: 'Bytes by round', kind: 'bar', x: 'round', format: bytes, zero: true,
        series: [{name: 'up, all uploads'}, {name: 'down, to each device', colour: 2}],
        say: (d) => `${d.labels.length} rounds`});
    return {nodes: [agreement.node, size.node], close: () => { agreement.close(); size.close(); },
        draw(rounds, cost) {
            const gated = rounds.filter((r) => r.report?.agreement_before !== undefined).reverse();
            agreement.node.hidden = gated.length === 0;
            const known = (n) => n === undefined || n < 0 ? null : n;
            agreement.draw({labels: gated.map((r) => r.id), values: [
                gated.map((r) => known(r.report.agreement_after)), gated.map((r) => known(r.report.agreement_before)),
                gated.map((r) => known(r.report.replay_after))]});
            size.draw({labels: cost.map((c) => c.id), values: [cost.map((c) => c.up), cost.map((c) => c.down)]});
        }};
}

/* ---- now ---- */

function lately(page) {
    const list = el('ul', {class: 'feed'}), none = el('p', {class: 'note'}, 'Uploads show here as they arrive.');
    page.on('upload', (u) => {
        none.remove();
        list.prepend(el('li', null, el('a', {href: `#/tokens/${u.id}`}, `upload ${u.id}`),
            ` of ${u.device}: ${counted(u.instances, 'instance')}, ${bytes(u.size)}, `, when(new Date().toISOString())));
        while (list.children.length > 5) list.lastChild.remove();
    });
    return [none, list];
}

function loopNow(page) {
    const curve = lossCurve(), progress = progressBar();
    const starter = roundStarter(page, page.refresh);
    const text = el('div'), draw = region(text), live = el('div', null, progress.node);
    let shown = null;
    page.on('step', (step) => {
        if (step.round !== shown) return page.refresh();
        curve.add(step);
        progress.set(step);
        return null;
    });
    return {
        nodes: [starter, text, live, curve.node], close: curve.close,
        set(round, waiting) {
            if (round?.id !== shown) curve.clear();
            shown = round?.id ?? null;
            live.hidden = !round || !isOpen(round);
            starter.hidden = Boolean(round && isOpen(round));
            progress.set(round?.progress);
            if (round) curve.set(round.report ?? round.progress);
            draw([round?.id, round?.state, waiting > 0], () => round
                ? el('p', null, 'Round ', roundLink(round.id), ' ', state(round.state),
                    !isOpen(round) && waiting > 0 && ' There are new instances: a round can start.')
                : waiting > 0 && !page.operator ? el('p', null, 'There are new instances and no round yet.')
                : waiting > 0 ? hint('There are new instances and no round yet. Start one above, or:',
                    `curl -X POST ${location.origin}/distill`) : teachRound(location.origin));
        },
    };
}

/* ---- the page ---- */

async function read(signal) {
    const [fleet, model, metrics, found, listed] = await Promise.all([ask('fleet', {signal}),
        ask('model', {signal}), ask('metrics', {signal}), ask(`distill?limit=${ROUNDS}`, {signal}),
        ask(`releases?limit=${ROUNDS}`, {signal})]);
    const rounds = found.rounds;
    const round = rounds.length && isOpen(rounds[0]) ? await ask(`distill/${rounds[0].id}`, {signal})
        : rounds[0] ?? null;
    return {fleet, model, rounds, round, releases: listed.releases, waiting: gauge(metrics, 'cdcca_instances_new')};
}

export function show(page) {
    const {root, signal} = page;
    const head = el('div'), who = el('div'), results = el('div'), comparison = el('div');
    const now = loopNow(page), charts = resultCharts();
    const drawHead = region(head), drawWho = region(who), drawBytes = region(comparison);
    const nothing = el('p', {class: 'empty'}, 'What rounds gain, and what they cost, shows after the first one.');
    results.append(el('div', {class: 'pair'}, charts.nodes), comparison);
    root.append(el('h1', null, 'Overview'), head,
        el('div', {class: 'pair'},
            section('The loop now', now.nodes),
            el('div', null, section('Fleet', who), section('Uploads just in', lately(page)))),
        section('Results', nothing, results));
    page.closing = [now.close, charts.close];
    return async () => {
        const all = await read(signal);
        const cost = costs(all.rounds, all.releases);
        drawHead({...all, model: null, rounds: null, round: [all.round?.id, all.round?.state]}, () => top({
            ...all, release: all.releases[0]}));
        drawWho(all.fleet, () => fleetPart(all.fleet));
        now.set(all.round, all.waiting);
        results.hidden = cost.length === 0;
        nothing.hidden = cost.length > 0;
        charts.draw(all.rounds, cost);
        drawBytes(cost, () => byteTable(all.model, cost));
    };
}
