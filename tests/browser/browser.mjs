/* browser.mjs: Debian's chromium, and a tab that is watched: errors on the console, requests to
 * anywhere else. */
import {createRequire} from 'node:module';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';

const PATIENCE = 120000; /* milliseconds for what must come; a machine may be busy */

export async function browserOpen(modules) {
    const load = createRequire(join(modules, 'x.cjs'));
    const {chromium} = load('playwright-core');
    const axe = readFileSync(load.resolve('axe-core/axe.min.js'), 'utf8');
    const browser = await chromium.launch({executablePath: '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']});
    return {browser, axe};
}

export class Tab {
    /* away: requests may fail, as the service is gone for a while. */
    static async open({browser, axe}, url, options = {}) {
        const tab = new Tab();
        const {away = false, blocked = null, ...context} = options;
        Object.assign(tab, {url, axe, away, wrong: []});
        tab.context = await browser.newContext({viewport: {width: 1280, height: 860},
            reducedMotion: 'reduce', ...context});
        tab.context.setDefaultTimeout(PATIENCE);
        tab.page = await tab.context.newPage();
        if (blocked) await tab.page.route(blocked, (route) => route.fulfill({status: 404}));
        tab.page.on('console', (message) => {
            const expected = tab.away && /Failed to load resource|ERR_/.test(message.text());
            if (message.type() === 'error' && !expected) tab.wrong.push(`console: ${message.text()}`);
        });
        tab.page.on('pageerror', (error) => tab.wrong.push(`exception: ${error.message}`));
        tab.page.on('request', (request) => {
            if (!request.url().startsWith(url)) tab.wrong.push(`request to ${request.url()}`);
        });
        return tab;
    }

    /* A page by its name after "#/"; complete when its data is on it. */
    async go(hash) {
        await this.page.goto(`${this.url}#/${hash}`);
        await this.page.locator('.page[aria-busy="false"]').waitFor();
    }

    /* Bytes of the dashboard's own files, the page included. */
    ownBytes() {
        return this.page.evaluate(() => [...performance.getEntriesByType('navigation'),
            ...performance.getEntriesByType('resource').filter((e) => e.name.includes('/web/'))]
            .reduce((sum, entry) => sum + entry.decodedBodySize, 0));
    }

    text(selector = '#main') {
        return this.page.locator(selector).innerText();
    }

    async sees(text, selector = '#main') {
        await this.page.locator(selector).filter({hasText: text}).first().waitFor();
    }

    button(name) {
        return this.page.getByRole('button', {name, exact: true});
    }

    /* What axe-core finds, as text; empty is right. */
    async violations() {
        await this.page.evaluate(this.axe);
        const {violations} = await this.page.evaluate(() => globalThis.axe.run(document, {
            runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}));
        return violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html).join(' ')}`);
    }

    async close() {
        await this.context.close();
        return this.wrong;
    }
}
