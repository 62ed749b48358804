/* app.js: one page at a time. The part of the address after # says which; a page is a module with
 *
 *   title          of the document
 *   events         kinds of events after which it reads its data again
 *   show(page)     builds its frame in page.root and returns a function that reads and draws
 *
 * and page is {root, id, query, operator: may the user change things, signal (aborted when another page
 * comes), on(type, listener), act(promise maker): runs an action of the user's and shows what went
 * wrong, refresh()}. */
import * as fleet from './fleet.js';
import * as live from './live.js';
import * as overview from './overview.js';
import * as releases from './releases.js';
import * as rounds from './rounds.js';
import * as session from './session.js';
import * as tokens from './tokens.js';
import {ask, token} from './api.js';
import {el} from './dom.js';
import {whenRefresh} from './format.js';

const pages = {'': overview, fleet, rounds, releases, tokens};
const REFRESH_APART = 700, REFRESH_ALWAYS = 20000;
const at = (id) => document.getElementById(id);
let leave = null, signingIn = false;

/* '#/rounds/3?x=1' -> {name: 'rounds', id: '3', query} */
function address() {
    const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
    const [name, ...id] = path.split('/');
    return {name, id: decodeURIComponent(id.join('/')), query: new URLSearchParams(query)};
}

function mark(name) {
    for (const link of at('nav').children) {
        const own = link.getAttribute('href').replace('#/', '') === name;
        if (own) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
    }
}

/* What is wrong, above the page; it goes when the page has its data. */
function trouble(root) {
    const box = el('div', {class: 'trouble', role: 'alert', hidden: true});
    root.before(box);
    return {
        show: (text) => {
            box.hidden = false;
            box.replaceChildren(el('p', null, text),
                el('button', {type: 'button', onclick: () => { box.hidden = true; }}, 'Dismiss'));
        },
        hide: () => { box.hidden = true; },
        remove: () => box.remove(),
    };
}

/* Runs work one at a time, and once more when it was wanted meanwhile. */
function serial(work) {
    let running = false, wanted = false;
    return async function run() {
        wanted = true;
        if (running) return;
        running = true;
        while (wanted) {
            wanted = false;
            await work();
            await new Promise((resolve) => setTimeout(resolve, REFRESH_APART));
        }
        running = false;
    };
}

function open() {
    const {name, id, query} = address();
    const module = pages[name];
    if (signingIn) return;
    leave?.();
    mark(name);
    const main = at('main'), root = el('div', {class: 'page'}), stop = new AbortController();
    main.replaceChildren(root);
    const wrong = trouble(root);
    if (!module) {
        root.append(el('h1', null, 'No such page'), el('p', null, 'The pages are listed above.'));
        leave = () => {};
        return;
    }
    document.title = `${module.title} · CD-CCA`;
    let read = null, actionFailed = false;
    const refresh = serial(async () => {
        try {
            await read();
            if (!actionFailed) wrong.hide();
            root.setAttribute('aria-busy', 'false');
        } catch (error) {
            if (error.name === 'AbortError' || stop.signal.aborted) return;
            if (error.status === 401) outside(error.message);
            else if (error.status !== 0) wrong.show(error.message);
        }
    });
    const offs = [];
    const page = {root, id, query, operator: session.mayOperate(), signal: stop.signal, refresh,
        on: (type, listener) => offs.push(live.on(type, listener)),
        act: async (make) => {
            actionFailed = false;
            wrong.hide();
            try {
                return await make();
            } catch (error) {
                if (error.status === 401) {
                    outside(error.message);
                    return null;
                }
                actionFailed = true;
                wrong.show(error.message);
                return null;
            } finally {
                refresh();
            }
        }};
    read = module.show(page);
    for (const type of ['open', ...(module.events ?? [])]) page.on(type, refresh);
    const timer = setInterval(() => {
        if (!document.hidden) refresh();
        whenRefresh();
    }, REFRESH_ALWAYS);
    leave = () => {
        stop.abort();
        clearInterval(timer);
        for (const off of offs) off();
        for (const close of page.closing ?? []) close();
        wrong.remove();
    };
    refresh();
}

/* ---- who looks? ---- */

function showSession() {
    const who = session.me();
    at('nav').hidden = signingIn;
    at('who').hidden = at('leave').hidden = !who?.name;
    at('who').textContent = who?.name ? `${who.role} ${who.name}` : '';
    at('metrics').hidden = signingIn || Boolean(who?.name); /* a link shows no token */
}

/* Nobody is in, or no longer: the form takes the page's place until someone is. */
async function outside(why) {
    if (signingIn) return;
    signingIn = true;
    const was = session.me();
    leave?.();
    leave = null;
    live.stop();
    session.leave();
    showSession();
    banner({state: 'denied'});
    document.title = 'Sign in · CD-CCA';
    await session.signIn(at('main'), was ? `You were signed out: ${why}` : why);
    signingIn = false;
    inside();
}

function inside() {
    showSession();
    open();
    live.start();
}

/* At the start. Without an answer the page opens for looking, and asks again when there is one. */
async function enter() {
    try {
        await session.identify();
        inside();
    } catch (error) {
        if (error.status === 401) {
            outside(token.get() ? error.message : null);
        } else {
            open();
            live.start();
        }
    }
}

/* ---- is the service there? ---- */

const links = {open: 'live', wait: 'connecting', away: 'away', denied: 'signed out'};

function banner({state, retry_ms: retry}) {
    const box = at('banner');
    at('link').dataset.state = state;
    at('link').textContent = links[state];
    document.body.dataset.link = state;
    box.hidden = state !== 'away';
    if (state !== 'away') return;
    box.replaceChildren(el('p', null, `${location.host} does not answer; what you see may be old. ` +
        `Trying again within ${Math.ceil(retry / 1000)} s.`),
    el('button', {type: 'button', onclick: live.retry}, 'Try now'));
}

async function describe() {
    const health = await ask('healthz').catch(() => null);
    if (health?.program) at('program').textContent = health.program;
    if (!session.me() && await session.identify().catch(() => null)) inside();
}

live.on('state', (now) => now.state === 'denied' ? outside('The service no longer knows this token.') : banner(now));
live.on('open', describe);
at('leave').addEventListener('click', () => {
    session.leave();
    location.reload();
});
at('skip').addEventListener('click', (event) => {
    event.preventDefault();
    at('main').focus();
});
window.addEventListener('hashchange', () => {
    open();
    scrollTo(0, 0);
    at('main').focus({preventScroll: true});
});
enter();
