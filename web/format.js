/* format.js: numbers, bytes and times for people. Nothing here touches the page but `when`, which
 * makes a <time>. */
import {badge, el} from './dom.js';

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', {maximumSignificantDigits: 3});
const day = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'medium'});

export const count = (n) => n === undefined ? '–' : whole.format(n);
export const counted = (n, what) => `${count(n)} ${what}${n === 1 ? '' : 's'}`;
export const number = (n) => n === undefined || n === null ? '–' : short.format(n);
export const percent = (share) => share === undefined || share < 0 ? '–' : `${Number((share * 100).toFixed(1))}%`;

export function bytes(n) {
    if (n === undefined || n === null) return '–';
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    let at = 0;
    while (n >= 1000 && at < units.length - 1) {
        n /= 1000;
        at++;
    }
    return `${at === 0 ? whole.format(Math.round(n)) : short.format(n)} ${units[at]}`;
}

/* "12×" as much; what it is compared with first. */
export const times = (more, less) => less > 0 ? `${short.format(more / less)}×` : '–';

export function duration(seconds) {
    if (seconds === undefined || seconds === null) return '–';
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 60) return `${short.format(seconds)} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
    if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    return `${Math.round(minutes / 1440)} days`;
}

export const between = (from, to) => from && to ? duration((Date.parse(to) - Date.parse(from)) / 1000) : '–';

function ago(ms) {
    const seconds = Math.max(0, Math.round(ms / 1000));
    if (seconds < 5) return 'just now';
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
}

export function when(text) {
    if (!text) return '–';
    const at = Date.parse(text);
    return el('time', {datetime: text, title: day.format(at)}, ago(Date.now() - at));
}

/* Times that stand on the page go on aging. */
export function whenRefresh() {
    for (const node of document.querySelectorAll('time[datetime]'))
        node.textContent = ago(Date.now() - Date.parse(node.dateTime));
}

const tones = {
    ok: 'good', released: 'good', complete: 'good', applied: 'good', passed: 'good',
    running: 'busy', queued: 'busy', rolling: 'busy',
    failing: 'bad', failed: 'bad', rejected: 'bad', halted: 'bad', rolled_back: 'bad',
    silent: 'warn', unsigned: 'warn', cancelled: 'warn',
};
export const state = (name) => name ? badge(name.replace('_', ' '), tones[name]) : '–';
