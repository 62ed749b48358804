// caller.mjs: a client that knows of a service what its contract says, and remembers what it saw.
import { request } from 'node:http';

export class Caller {
    // tokens: by the name that call() is given as `as`
    constructor(contract, url, tokens = {}) {
        Object.assign(this, { contract, url, tokens, failures: [] });
        this.seen = new Map([...contract.operations.keys()].map((name) => [name, new Set()])); // statuses
    }

    problem(what, ...why) {
        this.failures.push([what, ...why].join(': '));
    }

    // Holds one answer against the file. HEAD has no body to look at.
    validate(name, item, answer, body, head) {
        const header = (one) => answer.headers.get(one);
        const wrong = this.contract.check(item, { status: answer.status, header, body, head });
        if (!header('x-request-id')) wrong.push('no X-Request-Id');
        if (wrong.length) this.problem(`${name} ${answer.status}`, ...wrong);
        else this.seen.get(name).add(String(answer.status));
    }

    // Address and headers of a call, from what the file says of each parameter.
    address(item, values, as) {
        let { path } = item;
        const query = new URLSearchParams(), headers = {};
        for (const [key, value] of Object.entries(values)) {
            const parameter = item.parameters.find((one) => one.name === key);
            if (!parameter) throw new Error(`${item.path} has no parameter ${key}`);
            if (parameter.in === 'path') path = path.replace(`{${key}}`, encodeURIComponent(value).replaceAll('%40', '@'));
            else if (parameter.in === 'query') query.set(key, value);
            else headers[key] = value;
        }
        if (as) headers.Authorization = `Bearer ${this.tokens[as] ?? as}`;
        return { target: this.url + path + (query.size ? `?${query}` : ''), headers };
    }

    // call(operationId, {expect, as, values, body, type, method, query}): {bytes, json, status, headers}
    async call(name, { expect, as = 'operator', values = {}, body, type, method, query = '', asked = {} } = {}) {
        const item = this.contract.operations.get(name);
        const { target, headers } = this.address(item, values, as);
        if (type) headers['Content-Type'] = type;
        Object.assign(headers, asked);
        const answer = await fetch(target + query, { method: method ?? item.method.toUpperCase(), headers, body });
        const bytes = Buffer.from(await answer.arrayBuffer());
        this.validate(name, item, answer, bytes, method === 'HEAD');
        if (expect && answer.status !== expect)
            this.problem(name, `${answer.status}, should be ${expect}`, bytes.toString().slice(0, 300));
        const json = /json/.test(answer.headers.get('content-type') ?? '') && bytes.length ? JSON.parse(bytes) : null;
        return { bytes, json, status: answer.status, headers: answer.headers };
    }

    // Announces a body of more than 1 MiB and sends none: the refusal has to come before the body.
    tooLarge(name, size, { as = 'operator', values = {}, type = 'application/json' } = {}) {
        const item = this.contract.operations.get(name);
        const { target, headers } = this.address(item, values, as);
        return new Promise((done, failed) => {
            const sent = request(target, { method: item.method.toUpperCase(),
                headers: { ...headers, 'Content-Type': type, 'Content-Length': size } });
            sent.on('error', failed);
            sent.on('response', async (got) => {
                const parts = [];
                for await (const part of got) parts.push(part);
                sent.off('error', failed).on('error', () => {}).destroy();
                const answer = { status: got.statusCode, headers: new Headers(got.headers) };
                this.validate(name, item, answer, Buffer.concat(parts), false);
                if (answer.status !== 413) this.problem(name, `${answer.status}, should be 413`);
                done();
            });
            sent.flushHeaders();
        });
    }

    // Each status of the file was seen, but for those that `elsewhere(name, status, operation)` excuses.
    coverage(elsewhere) {
        for (const [name, { operation }] of this.contract.operations)
            for (const status of Object.keys(operation.responses))
                if (!this.seen.get(name).has(status) && !elsewhere(name, status, operation))
                    this.problem(`${name} ${status}`, 'in the contract, but never seen');
    }

    // Says what was wrong; the exit status.
    end() {
        const statuses = [...this.seen.values()].reduce((n, set) => n + set.size, 0);
        for (const line of this.failures) console.error(`FAIL: ${line}`);
        console.log(`${this.seen.size} operations, ${statuses} statuses, ${this.failures.length} failures`);
        return this.failures.length ? 1 : 0;
    }
}
