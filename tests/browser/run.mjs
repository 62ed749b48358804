/* run.mjs BIN MODULES [SHOTS]: the dashboard as people use it, on a real service with tiny models.
 * BIN holds the built programs, MODULES the packages of package.json; screenshots go to SHOTS. Each
 * flow leaves the service as the next one wants it, so they run in this order. */
import assert from 'node:assert/strict';
import {Tab, browserOpen} from './browser.mjs';
import {Service, until} from './service.mjs';

const [bin, modules, shots] = process.argv.slice(2);
const service = new Service(bin);
const chrome = await browserOpen(modules);
const names = ['', 'fleet', 'rounds', 'releases', 'tokens'];
const FIRST_PAINT = 100000, DEVICES = 10000;

async function tabOpen(options) {
    return Tab.open(chrome, service.url, options);
}

async function tabClose(tab) {
    assert.deepEqual(await tab.close(), []);
}

async function shoot(tab, name) {
    if (shots) await tab.page.screenshot({path: `${shots}/${name}.png`, fullPage: true});
}

/* A service that asks for tokens, started by the first flow that wants it; a tab that has one. */
const guarded = new Service(bin), held = {};

async function guardedTab(name) {
    if (!guarded.bearer) {
        held.boss = guarded.bearer = guarded.token('add', '--role', 'operator', '--name', 'boss');
        held.view = guarded.token('add', '--role', 'viewer', '--name', 'view');
    }
    const tab = await Tab.open(chrome, guarded.url, {away: true});
    await tab.page.goto(guarded.url);
    await tab.page.getByLabel('Token', {exact: true}).fill(held[name]);
    await tab.button('Sign in').click();
    await tab.page.locator('.page[aria-busy="false"]').waitFor();
    return tab;
}

const flows = {
    async 'an empty service teaches what to run'() {
        const tab = await tabOpen();
        for (const name of names) {
            await tab.go(name);
            await tab.page.locator('.command code').first().waitFor();
            assert.deepEqual(await tab.violations(), [], name);
            const own = await tab.ownBytes();
            assert.ok(own > 10000 && own < FIRST_PAINT, `${own} bytes of own code`);
            await shoot(tab, `empty-${name || 'overview'}`);
        }
        await tabClose(tab);
    },

    async 'a round is started with settings and watched live'() {
        for (const seed of [1, 2, 3]) await service.upload(seed, 64, 0, seed === 3 ? 'd09999' : 'edge-1');
        const tab = await tabOpen();
        await tab.go('');
        await tab.page.getByText('Settings of the next round').click();
        await tab.page.getByLabel('Steps', {exact: true}).fill('400');
        await tab.page.getByLabel('Batch', {exact: true}).fill('16');
        await tab.page.getByLabel('Held back', {exact: true}).fill('0');
        assert.equal(await tab.page.locator('form .field input, form .field select').count(), 15);
        await tab.button('Start a round').click();
        const points = async () => Number((await tab.page.getByRole('img', {name: /^Loss by step/})
            .getAttribute('aria-label')).match(/(\d+) points/)?.[1] ?? 0);
        const early = await until('two points', async () => (await points()) >= 2 && points());
        await until('the curve grows', async () => (await points()) > early);
        assert.match(await tab.text('.progress'), /step \d+ of 400/);
        await shoot(tab, 'live');
        await service.roundOver(1);
        await tab.sees('released');
        await until('all of the curve', async () => (await points()) > 100);
        await tabClose(tab);
    },

    async 'a round shows its visual tokens, by device or by class'() {
        await service.ask('devices/d09999', {method: 'PUT', body: {class: 'robot'}});
        const tab = await tabOpen(), page = tab.page;
        await tab.go('rounds/1');
        await tab.sees('1,000 visual tokens, evenly from 1,536, of 2 devices');
        const picture = page.getByRole('img', {name: /^Visual tokens by device.*1,000 visual tokens/});
        await picture.waitFor();
        const rows = page.getByRole('region', {name: 'Visual tokens by device'}).locator('tbody tr');
        assert.match(await rows.nth(0).innerText(), /^edge-1\s+2\s+66[67]\s/);
        assert.match(await rows.nth(1).innerText(), /^d09999\s+1\s+33[34]\s+–/);
        await page.getByLabel('Colour by').selectOption('class');
        await tab.sees('of 2 classes');
        assert.match(await page.getByRole('region', {name: 'Visual tokens by class'}).innerText(), /robot/);
        assert.deepEqual(await tab.violations(), []);
        await shoot(tab, 'tokens-map');
        await tabClose(tab);
    },

    async 'ten thousand devices, one page of rows'() {
        await service.devices(DEVICES);
        const tab = await tabOpen(), page = tab.page;
        await tab.go('fleet');
        await tab.sees('10,000');
        const rows = page.locator('tbody tr'), first = () => rows.first().locator('a').innerText();
        assert.equal(await rows.count(), 50);
        await page.getByRole('link', {name: 'Next ›'}).click();
        await until('the second page', async () => (await first()) === 'd00050');
        await page.getByRole('link', {name: '‹ Back'}).click();
        await until('the first page', async () => (await first()) === 'd00000');
        await page.getByLabel('Channel').selectOption('beta');
        await until('beta alone', async () => (await rows.nth(1).locator('a').innerText()) === 'd00010');
        assert.ok(await page.evaluate(() => document.querySelectorAll('*').length) < 2000);
        await page.getByLabel('Health').selectOption('failing');
        await tab.sees('No device is like that.');
        await page.getByLabel('Device', {exact: true}).fill('d09999');
        await page.keyboard.press('Enter');
        await tab.sees('camera');
        assert.deepEqual(await tab.violations(), []);
        await tabClose(tab);
    },

    async 'a release is halted, resumed and rolled back'() {
        await service.ask('deltas?after=0&device=d00000');
        await service.ask('devices/d00000/feedback', {method: 'POST', body: {version: 1, outcome: 'applied'}});
        const tab = await tabOpen();
        await tab.go('releases/1');
        await tab.sees('Bytes by tensor');
        const press = async (name, confirm) => {
            await tab.button(name).click();
            await tab.page.getByRole('dialog').getByRole('button', {name: confirm}).click();
        };
        await press('Halt', 'Cancel');
        assert.equal((await service.ask('releases/1')).state, 'rolling');
        await press('Halt', 'Halt');
        await tab.sees('halted by request');
        assert.equal((await service.ask('releases/1')).state, 'halted');
        await press('Resume', 'Resume');
        await tab.button('Halt').waitFor();
        await shoot(tab, 'release');
        await press('Roll back', 'Roll back');
        await tab.page.waitForURL(/#\/rounds\/2$/);
        await tab.sees('rollback');
        await service.roundOver(2);
        await tab.go('releases/1');
        await tab.sees('superseded');
        await tabClose(tab);
    },

    async 'an upload is followed to its release, and deleted'() {
        const tab = await tabOpen();
        await tab.go('tokens');
        assert.equal(await tab.page.locator('tbody tr td a').first().innerText(), '3');
        await tab.page.locator('a[href="#/tokens/1"]').click();
        await tab.sees('Part of release 1');
        await tab.go('tokens');
        await tab.button('Delete upload 2').click();
        await tab.page.getByRole('dialog').getByRole('button', {name: 'Delete'}).click();
        await until('two are left', async () => (await tab.page.locator('tbody tr').count()) === 2);
        assert.equal((await service.ask('tokens')).uploads.length, 2);
        await tab.go('rounds/1');
        await tab.sees('evenly from 1,024');
        await tabClose(tab);
    },

    async 'a service that is killed is said to be away, and comes back by itself'() {
        const tab = await tabOpen({away: true});
        await tab.go('');
        await service.kill();
        await tab.sees('does not answer', '#banner');
        assert.deepEqual(await tab.violations(), []);
        await shoot(tab, 'away');
        await service.start();
        await tab.page.locator('#banner').waitFor({state: 'hidden', timeout: 60000});
        await service.upload(9, 8);
        await tab.sees('upload 4');
        await tabClose(tab);
    },

    async 'everything is reached by keyboard'() {
        const tab = await tabOpen(), page = tab.page;
        const focused = () => page.evaluate(() => {
            const at = document.activeElement, outline = getComputedStyle(at).outlineStyle;
            return {text: at.textContent.slice(0, 40), tag: at.tagName, id: at.id, outline};
        });
        await tab.go('releases/2');
        await tab.button('Halt').waitFor();
        await page.keyboard.press('Tab');
        assert.equal((await focused()).text, 'Skip to content');
        const seen = [];
        for (let i = 0; i < 120; i++) {
            await page.keyboard.press('Tab');
            const at = await focused();
            if (at.tag === 'BODY') break;
            assert.notEqual(at.outline, 'none', `no visible focus on ${at.tag} ${at.text}`);
            seen.push(at.text);
        }
        for (const text of ['Overview', 'Tokens', 'Halt', 'Roll back', 'Metrics'])
            assert.ok(seen.includes(text), `${text} is not reached: ${seen}`);
        await tab.button('Halt').focus();
        await page.keyboard.press('Enter');
        await page.getByRole('dialog').waitFor();
        await page.keyboard.press('Escape');
        assert.equal((await focused()).text, 'Halt');
        await page.locator('#skip').focus();
        await page.keyboard.press('Enter');
        assert.equal((await focused()).id, 'main');
        await tabClose(tab);
    },

    async 'it fits a phone, light and dark'() {
        for (const colorScheme of ['light', 'dark']) {
            const tab = await tabOpen({viewport: {width: 360, height: 740}, colorScheme});
            for (const name of [...names, 'rounds/1', 'releases/1', 'tokens/1', 'fleet/d00000']) {
                await tab.go(name);
                const wide = await tab.page.evaluate(() => document.documentElement.scrollWidth);
                assert.ok(wide <= 360, `${name} is ${wide} wide`);
                assert.deepEqual(await tab.violations(), [], `${name}, ${colorScheme}`);
                await shoot(tab, `${colorScheme}-${(name || 'overview').replace('/', '-')}`);
            }
            await tabClose(tab);
        }
    },

    async 'the contract is a page to read'() {
        const operations = (await service.ask('openapi.yaml')).match(/operationId: /g).length;
        for (const options of [{}, {viewport: {width: 360, height: 740}, colorScheme: 'dark'}]) {
            const tab = await tabOpen(options), page = tab.page;
            await page.goto(`${service.url}#/`);
            await page.getByRole('link', {name: 'Contract'}).click();
            await page.locator('main[aria-busy="false"]').waitFor();
            assert.equal(await page.locator('.operation').count(), operations);
            assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
            assert.deepEqual(await tab.violations(), []);
            await shoot(tab, options.colorScheme ? 'docs-phone' : 'docs');
            if (options.colorScheme) await page.getByText('Operations', {exact: true}).click();
            await page.getByLabel('Filter').fill('post rollback');
            assert.equal(await page.locator('#operations li:visible').count(), 1);
            await page.keyboard.press('Tab');
            await page.keyboard.press('Enter');
            await page.waitForURL(/#rollBackRelease$/);
            const dead = await page.evaluate(() => [...document.querySelectorAll('main a[href^="#"]')]
                .map((link) => link.getAttribute('href')).filter((to) => !document.getElementById(to.slice(1))));
            assert.deepEqual(dead, []);
            await page.goto(`${service.url}problems/busy`);
            await tab.sees('Retry-After', 'main');
            assert.deepEqual(await tab.violations(), []);
            await tabClose(tab);
        }
    },

    async 'without the chart library there are tables'() {
        const tab = await tabOpen({away: true, blocked: '**/vendor/chart.js'});
        await tab.go('rounds/1');
        await tab.sees('libjs-chart.js');
        assert.ok(await tab.page.locator('figure tbody tr').count() > 10);
        await tab.sees('Nearest is alike');
        await tabClose(tab);
    },

    async 'where tokens are asked for, a wrong one is told apart from a right one'() {
        await guarded.start('--auth');
        const tab = await Tab.open(chrome, guarded.url, {away: true}), page = tab.page;
        const enter = async (token) => {
            await page.getByLabel('Token', {exact: true}).fill(token);
            await page.keyboard.press('Enter');
        };
        const viewer = guarded.token('add', '--role', 'viewer', '--name', 'anna');
        await page.goto(`${guarded.url}#/rounds`);
        await tab.sees('Sign in');
        assert.equal(await page.locator('nav#nav').isVisible(), false);
        assert.equal(await page.locator('#token-wrong').isVisible(), false);
        assert.deepEqual(await tab.violations(), []);
        await shoot(tab, 'signin');
        await enter(`cdcca_${'0'.repeat(64)}`);
        await page.getByRole('alert').filter({hasText: 'token'}).waitFor();
        await enter(guarded.token('add', '--role', 'device', '--name', 'kiosk-7'));
        await tab.sees('the token of the device kiosk-7');
        assert.equal(await page.evaluate(() => sessionStorage.length), 0);
        assert.deepEqual(await tab.violations(), []);
        await enter(viewer);
        await tab.sees('Rounds are started by operators');
        assert.equal(await page.locator('#who').innerText(), 'viewer anna');
        await page.locator('#link[data-state="open"]').waitFor();
        await tabClose(tab);
    },

    async 'a viewer is offered nothing that would be refused, and hears what happens'() {
        const tab = await guardedTab('view'), page = tab.page;
        for (const seed of [1, 2]) await guarded.upload(seed, 32);
        await tab.sees('upload 2');
        await guarded.ask('distill', {method: 'POST', body: {steps: 20, batch: 8, holdout: 0}});
        await guarded.roundOver(1);
        await tab.sees('released');
        for (const name of ['', 'rounds', 'rounds/1', 'releases/1', 'tokens', 'tokens/1']) {
            await tab.go(name);
            await page.locator('#who').waitFor();
            const buttons = await page.locator('main button').allInnerTexts();
            assert.deepEqual(buttons.filter((text) => text !== 'Copy'), [], name);
            assert.deepEqual(await tab.violations(), [], name);
        }
        await tabClose(tab);
    },

    async 'an operator steers, takes a patch, and signs out'() {
        const tab = await guardedTab('boss'), page = tab.page;
        await tab.go('releases/1');
        await tab.button('Halt').click();
        await page.getByRole('dialog').getByRole('button', {name: 'Halt'}).click();
        await tab.sees('halted by request');
        const [file] = await Promise.all([page.waitForEvent('download'), page.locator('a[href="deltas/1"]').click()]);
        assert.equal(file.suggestedFilename(), 'delta-1.zst');
        await tab.button('Sign out').click();
        await tab.sees('Sign in');
        assert.equal(await page.evaluate(() => sessionStorage.length), 0);
        await tabClose(tab);
    },

    async 'a token that ends while it is used leads back to the form, and from there to the page'() {
        const tab = await guardedTab('view'), page = tab.page;
        await tab.go('releases/1');
        await page.locator('#link[data-state="open"]').waitFor();
        guarded.token('revoke', 'view');
        const next = guarded.token('add', '--role', 'viewer', '--name', 'view');
        await guarded.upload(3, 8);
        await guarded.ask('releases/1/resume', {method: 'POST'});
        await tab.sees('You were signed out');
        assert.equal(await page.locator('#link').innerText(), 'signed out');
        await page.getByLabel('Token', {exact: true}).fill(next);
        await tab.button('Sign in').click();
        await tab.sees('Bytes by tensor');
        assert.equal(await page.locator('#who').innerText(), 'viewer view');
        await page.locator('#link[data-state="open"]').waitFor();
        await tabClose(tab);
    },
};

let failed = 0;
await service.start('--rollout', 'beta=100%:1h,100%');
for (const [name, flow] of Object.entries(flows)) {
    try {
        await flow();
        console.log(`ok: ${name}`);
    } catch (error) {
        failed++;
        console.log(`FAIL: ${name}\n${error.stack}`);
    }
}
if (failed) console.log(service.logTail());
await chrome.browser.close();
await service.close();
await guarded.close();
process.exit(failed ? 1 : 0);
