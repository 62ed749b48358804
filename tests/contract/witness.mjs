// witness.mjs OPENAPI UPSTREAM REPORT: between the clients of a test and its cloud, as a wire would
// be. Listens on a port of 127.0.0.1 (printed), hands bytes on both ways as they come to the port that
// the file UPSTREAM holds, and reads along: each exchange is held against the contract. REPORT gets a
// line for each: "ok OPERATION STATUS", "none STATUS METHOD TARGET" where nothing is served, or "FAIL".
// It changes nothing: framing, cuts and silence reach the other end as they are.
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { contractRead } from './file.mjs';

const [file, upstream, report] = process.argv.slice(2);
const contract = contractRead(file);

// What one end sends, message by message. take(bytes) hands each whole message to `found`; a message
// whose framing is not plain ends the reading: the rest of that connection is not looked at.
class Messages {
    constructor(request, found, bodiless) {
        Object.assign(this, { request, found, bodiless, held: Buffer.alloc(0), head: null, odd: false });
    }

    take(bytes) {
        this.held = Buffer.concat([this.held, bytes]);
        while (!this.odd && this.step());
    }

    // The end of the connection ends a body that nothing else does.
    end() {
        if (!this.odd && this.head && this.head.stream) this.give(this.held);
    }

    give(body) {
        this.found({ ...this.head, body });
        this.head = null;
    }

    readHead() {
        const end = this.held.indexOf('\r\n\r\n');
        if (end < 0) return false;
        const [first, ...lines] = this.held.subarray(0, end).toString('latin1').split('\r\n');
        const fields = lines.map((line) => /^([^:]+):\s*(.*?)\s*$/.exec(line)?.slice(1)).filter(Boolean);
        const all = (name) => fields.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value);
        this.held = this.held.subarray(end + 4);
        const start = this.request ? /^(\S+) (\S+) HTTP\/1\.1$/.exec(first) : /^HTTP\/1\.1 (\d+) /.exec(first);
        const lengths = all('content-length'), codings = all('transfer-encoding');
        this.odd = !start || lengths.length + codings.length > 1;
        this.head = { start, header: (name) => all(name.toLowerCase())[0] ?? null,
            length: Number(lengths[0] ?? 0), chunked: codings.length > 0, chunks: [],
            stream: !this.request && !lengths.length && !codings.length };
        return true;
    }

    chunk() {
        const line = this.held.indexOf('\r\n');
        if (line < 0) return false;
        const size = parseInt(this.held.subarray(0, line).toString(), 16);
        if (this.held.length < line + 2 + size + 2) return false;
        if (size) this.head.chunks.push(this.held.subarray(line + 2, line + 2 + size));
        this.held = this.held.subarray(line + 2 + size + 2);
        if (!size) this.give(Buffer.concat(this.head.chunks));
        return true;
    }

    step() {
        if (!this.head) return this.readHead();
        if (!this.request && this.bodiless(this.head)) return this.give(Buffer.alloc(0)), true;
        if (this.head.chunked) return this.chunk();
        if (this.head.stream || this.held.length < this.head.length) return false;
        const body = this.held.subarray(0, this.head.length);
        this.held = this.held.subarray(this.head.length);
        this.give(body);
        return true;
    }
}

function judge({ method, target, type, encoding, sent }, answer) {
    const item = contract.find(method, target), { status } = answer;
    if (!item && [400, 404, 405, 414].includes(status)) return `none ${status} ${method} ${target}`;
    const wrong = item ? contract.check(item, answer) : ['the contract has no such operation'];
    if (![408, 503].includes(status) && !answer.header('x-request-id')) wrong.push('no X-Request-Id');
    if (item && status < 300 && sent && !encoding) wrong.push(...contract.checkRequest(item, target, type, sent));
    return wrong.length ? `FAIL ${method} ${target} ${status}: ${wrong.join(': ').replaceAll('\n', ' ')}`
        : `ok ${item.name} ${status}`;
}

// The exchanges of one connection: answers come in the order of their requests.
function listen(client, server) {
    const asked = []; // heads of requests, and their bodies once these are whole
    const asking = new Messages(true, ({ body }) => { asking.last.sent = body; }, null);
    const readHead = asking.readHead.bind(asking);
    asking.readHead = () => {
        if (!readHead()) return false;
        const { start, header } = asking.head;
        if (asking.odd) return asked.push(null), true;
        asking.last = { method: start[1], target: start[2], type: header('content-type')?.split(';')[0].toLowerCase(),
            encoding: header('content-encoding') };
        asked.push(asking.last);
        return true;
    };
    const whole = ({ start, header, body }) => {
        const status = Number(start[1]), request = status === 100 ? null : asked.shift();
        if (!request) return; // nothing was asked that could be read
        const head = request.method === 'HEAD';
        appendFileSync(report, `${judge(request, { status, header, body, head })}\n`);
    };
    const answering = new Messages(false, whole, ({ start }) =>
        [100, 204, 304].includes(Number(start[1])) || asked[0]?.method === 'HEAD');
    client.on('data', (bytes) => { asking.take(bytes); server.write(bytes); });
    server.on('data', (bytes) => { answering.take(bytes); client.write(bytes); });
    client.on('end', () => server.end());
    server.on('end', () => { answering.end(); client.end(); });
    for (const [one, other] of [[client, server], [server, client]]) {
        one.on('error', () => other.resetAndDestroy());
        one.on('close', () => other.destroy());
    }
}

const witness = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const server = connect({ port: Number(readFileSync(upstream, 'utf8')), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    listen(client, server);
});
witness.listen(0, '127.0.0.1', () => console.log(witness.address().port));
