/* service.mjs: the real cdcca-cloud on tiny models, as the flows drive it: started, killed, started
 * again on the same port, filled with uploads and devices. */
import {execFile, execFileSync, spawn} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {promisify} from 'node:util';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Until look() gives something; it may throw meanwhile. */
export async function until(what, look, ms = 60000) {
    const end = Date.now() + ms;
    let last;
    for (;;) {
        try {
            const found = await look();
            if (found) return found;
        } catch (error) {
            last = error;
        }
        if (Date.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}; ${last?.message ?? ''}`);
        await sleep(100);
    }
}

export class Service {
    constructor(bin) {
        this.bin = bin;
        this.work = mkdtempSync(join(tmpdir(), 'cdcca-browser-'));
        this.log = '';
        this.port = 0;
        execFileSync(join(bin, 'make_tiny'), [this.work]);
    }

    async start(...options) {
        const dir = (name) => join(this.work, name);
        this.log = '';
        this.child = spawn(join(this.bin, 'cdcca-cloud'), ['serve', '--listen', `127.0.0.1:${this.port}`,
            '--data', dir('data'), '--teacher', dir('teacher'), '--student', dir('student'),
            '--threads', '1', ...options], {stdio: ['ignore', 'ignore', 'pipe']});
        this.child.stderr.on('data', (text) => { this.log += text; });
        const listening = () => this.child.exitCode !== null ? [0, 0]
            : this.log.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
        this.port = Number((await until('the cloud listens', listening))[1]);
        if (!this.port) throw new Error(`the cloud did not start: ${this.log}`);
        this.url = `http://127.0.0.1:${this.port}/`;
    }

    kill() {
        return new Promise((resolve) => {
            if (!this.child || this.child.exitCode !== null) return resolve();
            this.child.once('exit', resolve);
            this.child.kill('SIGKILL');
            return null;
        });
    }

    async close() {
        await this.kill();
        rmSync(this.work, {recursive: true, force: true});
    }

    /* cdcca-cloud token VERB ...: what it prints, a token for most verbs. */
    token(...words) {
        return execFileSync(join(this.bin, 'cdcca-cloud'), ['token', ...words, '--data', join(this.work, 'data')],
            {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']}).trim();
    }

    /* What each request shows when the service asks for tokens. */
    headers(more) {
        return {...more, ...(this.bearer && {Authorization: `Bearer ${this.bearer}`})};
    }

    async ask(path, {method = 'GET', body} = {}) {
        const response = await fetch(new URL(path, this.url), {method,
            headers: this.headers(body === undefined ? {} : {'Content-Type': 'application/json'}),
            body: body === undefined ? undefined : JSON.stringify(body)});
        const text = await response.text();
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
        return text && response.headers.get('Content-Type').includes('json') ? JSON.parse(text) : text;
    }

    async upload(seed, instances, base = 0, device = 'edge-1') {
        const payload = execFileSync(join(this.bin, 'make_payload'), [join(this.work, 'student'),
            String(seed), String(instances)], {env: {...process.env, BASE: String(base), DEVICE: device}});
        const response = await fetch(new URL('tokens', this.url), {method: 'POST', body: payload,
            headers: this.headers({'Content-Type': 'application/x-safetensors'})});
        if (response.status !== 201) throw new Error(`upload: ${response.status} ${await response.text()}`);
    }

    roundOver(id) {
        return until(`round ${id} is over`, async () => {
            const round = await this.ask(`distill/${id}`);
            return round.state !== 'queued' && round.state !== 'running' ? round : null;
        }, 120000);
    }

    /* Devices 0 to count-1 by one curl over a few connections; meanwhile the log is read, or the
     * service would wait for room in the pipe. */
    async devices(count) {
        const file = join(this.work, 'devices.curl');
        const lines = Array.from({length: count}, (_, i) => [`url = "${this.url}devices/d${String(i).padStart(5, '0')}"`,
            'request = PUT', 'header = "Content-Type: application/json"', 'output = /dev/null',
            `data = "{\\"channel\\":\\"${i % 10 ? 'stable' : 'beta'}\\",\\"class\\":\\"camera\\"}"`].join('\n'));
        writeFileSync(file, lines.join('\nnext\n'));
        await promisify(execFile)('curl', ['-s', '-Z', '--parallel-max', '100', '-K', file], {maxBuffer: 1 << 26});
    }

    logTail() {
        return this.log.split('\n').slice(-15).join('\n');
    }
}

