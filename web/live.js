/* live.js: what happens, as it happens: the service's event stream, read by fetch because an
 * EventSource cannot carry a token. A stream that breaks is opened again with what was read last,
 * after a wait that doubles up to half a minute; a tab in the background lets its stream go, since a
 * browser has only six connections for one host.
 *
 *   on(type, listener)   upload, round, step, release, device: the event's JSON
 *                        open: connected, and pages read their data again
 *                        state: {state: 'open' | 'wait' | 'away' | 'denied', retry_ms, detail} */
import {headers, url} from './api.js';

const WAIT_MIN = 1000, WAIT_MAX = 30000, SILENCE = 45000, HIDDEN = 60000;

const listeners = new Map();
let current = null, lastId = null, wait = WAIT_MIN, wake = null, paused = false;

export function on(type, listener) {
    if (!listeners.has(type)) listeners.set(type, new Set());
    listeners.get(type).add(listener);
    return () => listeners.get(type).delete(listener);
}

function tell(type, data) {
    for (const listener of listeners.get(type) ?? []) listener(data);
}

/* One event's lines. */
function take(block) {
    let type = 'message', data = '';
    for (const line of block.split('\n')) {
        const colon = line.indexOf(':');
        if (colon <= 0) continue;
        const name = line.slice(0, colon), value = line.slice(colon + 1).replace(/^ /, '');
        if (name === 'id') lastId = value;
        else if (name === 'event') type = value;
        else if (name === 'data') data += value;
    }
    if (!data) return;
    tell(type === 'reset' ? 'open' : type, JSON.parse(data));
}

async function read(body, alive) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
        const {value, done} = await reader.read();
        if (done) return;
        alive();
        text += value;
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
            take(text.slice(0, end));
            text = text.slice(end + 2);
        }
    }
}

/* Until the stream ends. Returns what was wrong, or null. */
async function stream() {
    current = new AbortController();
    let watchdog;
    const alive = () => {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => current.abort(), SILENCE);
    };
    try {
        const response = await fetch(url('events'), {
            cache: 'no-store', signal: current.signal,
            headers: headers({Accept: 'text/event-stream', ...(lastId && {'Last-Event-ID': lastId})}),
        });
        if (response.status === 401 || response.status === 403) return {denied: true};
        if (!response.ok) return {detail: `status ${response.status}`};
        wait = WAIT_MIN;
        tell('state', {state: 'open'});
        tell('open', {});
        alive();
        await read(response.body, alive);
        return null;
    } catch {
        return paused ? null : {detail: 'no answer'};
    } finally {
        clearTimeout(watchdog);
    }
}

const sleep = (ms) => new Promise((resolve) => {
    const timer = ms === null ? null : setTimeout(resolve, ms);
    wake = () => {
        clearTimeout(timer);
        resolve();
    };
});

async function run() {
    for (;;) {
        const wrong = await stream();
        if (paused) {
            await sleep(null);
        } else if (wrong?.denied) {
            tell('state', {state: 'denied'});
            await sleep(null);
        } else {
            const pause = wrong ? wait * (0.75 + Math.random() / 2) : 250;
            if (wrong) {
                tell('state', {state: 'away', detail: wrong.detail, retry_ms: pause});
                wait = Math.min(WAIT_MAX, wait * 2);
            }
            await sleep(pause);
        }
    }
}

/* Lets the stream go until retry. */
export function stop() {
    paused = true;
    current?.abort();
}

/* Tries at once: someone asked, a token was given, the tab is looked at again. */
export function retry() {
    wait = WAIT_MIN;
    paused = false;
    if (wake) wake();
}

let running = false;
export function start() {
    if (running) return retry();
    running = true;
    return run();
}

let hidden;
document.addEventListener('visibilitychange', () => {
    clearTimeout(hidden);
    if (document.hidden) hidden = setTimeout(stop, HIDDEN);
    else if (paused) retry();
});
