// contract.mjs OPENAPI URL WORK: performs every operation of the contract against a running cloud
// and holds each answer against the file: status listed, required headers, content type, body by
// its JSON schema. In the end every status that a client can provoke was seen. WORK holds what
// test_contract_kept.sh put there: tokens (operator, viewer, device, code) and uploads (a, b, json).
import { readFileSync } from 'node:fs';
import { Caller } from './caller.mjs';
import { contractRead } from './file.mjs';

const [file, url, work] = process.argv.slice(2);
const contract = contractRead(file);
const { operations } = contract;
const read = (name) => readFileSync(`${work}/${name}`);
const tokens = Object.fromEntries(
    ['operator', 'viewer', 'device', 'code'].map((name) => [name, read(name).toString().trim()]));
const caller = new Caller(contract, url, tokens);
const call = caller.call.bind(caller), problem = caller.problem.bind(caller);

const JSON_TYPE = 'application/json';
const TENSORS = 'application/x-safetensors';

async function refusals() {
    for (const [name, { operation, parameters }] of operations) {
        if (operation.security?.length === 0) continue;
        const values = Object.fromEntries(parameters.filter((one) => one.in === 'path').map((one) => [one.name, 1]));
        const body = operation.requestBody ? '{}' : undefined;
        const type = body && JSON_TYPE;
        await call(name, { expect: 401, as: 'cdcca_' + '0'.repeat(64), values, body, type });
        const low = ['viewer', 'device'].find((role) => !operation['x-roles'].includes(role));
        if (low) await call(name, { expect: 403, as: low, values, body, type });
    }
}

async function uploads() {
    const key = { 'Idempotency-Key': 'k1' };
    const first = await call('postTokens', { expect: 201, body: read('a'), type: TENSORS, values: key });
    await call('postTokens', { expect: 200, body: read('a'), type: TENSORS, values: key });
    await call('postTokens', { expect: 409, body: read('b'), type: TENSORS, values: key });
    await call('postTokens', { expect: 403, as: 'device', body: read('b'), type: TENSORS });
    const json = await call('postTokens', { expect: 201, body: read('json'), type: JSON_TYPE });
    await call('postTokens', { expect: 422, body: '{}', type: JSON_TYPE });
    await call('postTokens', { expect: 415, body: 'x', type: 'text/plain' });
    await caller.tooLarge('postTokens', 9 << 20, { type: TENSORS });
    await call('postTokens', { expect: 400, body: read('b'), type: TENSORS, values: { 'Idempotency-Key': 'a b' } });
    await call('listTokens', { expect: 200, as: 'viewer', values: { limit: 1 } });
    await call('listTokens', { expect: 400, values: { limit: 101 } });
    await call('getTokens', { expect: 200, values: { id: first.json.id } });
    await call('getTokens', { expect: 404, values: { id: 999 } });
    await call('getTokensPayload', { expect: 200, values: { id: first.json.id } });
    await call('getTokensPayload', { expect: 304, values: { id: first.json.id, 'If-None-Match': '*' } });
    await call('getTokensPayload', { expect: 404, values: { id: 999 } });
    await call('deleteTokens', { expect: 204, values: { id: json.json.id } });
    await call('deleteTokens', { expect: 404, values: { id: json.json.id } });
    return first.json.id;
}

async function over(id) {
    for (;;) {
        const { json } = await call('getDistill', { expect: 200, values: { id } });
        if (!['queued', 'running'].includes(json.state)) return json;
        await new Promise((done) => setTimeout(done, 100));
    }
}

async function rounds(upload) {
    const post = (expect, settings, type = JSON_TYPE) =>
        call('postDistill', { expect, body: typeof settings === 'string' ? settings : JSON.stringify(settings), type });
    await post(422, { steps: 0 });
    await post(415, 'x', 'text/plain');
    await post(413, ' '.repeat(65537));
    const long = await post(202, { holdout: 0, steps: 10000, batch: 8 });
    await post(409, {});
    await call('deleteTokens', { expect: 409, values: { id: upload } });
    await call('cancelDistill', { expect: 202, values: { id: long.json.id } });
    await over(long.json.id);
    await call('cancelDistill', { expect: 409, values: { id: long.json.id } });
    const news = call('listDeltas', { expect: 200, values: { after: 0, Prefer: 'wait=60' } });
    const round = await post(202, { holdout: 0, steps: 20, batch: 8 });
    const end = await over(round.json.id);
    if (end.state !== 'released') problem('the round', JSON.stringify(end));
    if ((await news).json.deltas.length !== 1) problem('Prefer: wait=60', 'did not wait for the release');
    await call('getDistill', { expect: 404, values: { id: 999 } });
    await call('getDistillMap', { expect: 200, as: 'viewer', values: { id: round.json.id } });
    await call('getDistillMap', { expect: 404, values: { id: 999 } });
    await call('cancelDistill', { expect: 404, values: { id: 999 } });
    await call('listDistill', { expect: 200, values: { before: 100, limit: 1 } });
    await call('listDistill', { expect: 400, values: { before: 0 } });
}

async function deltas() {
    const list = await call('listDeltas', { expect: 200, as: 'device', values: { after: 0, wait: 1 } });
    await call('listDeltas', { expect: 400, values: { wait: 61 } });
    for (const [prefer, applied] of [['wait=1', 'wait=1'], ['respond-async, wait=99999', 'wait=60'],
                                     ['wait=x', null], ['wait', null]]) {
        const { headers } = await call('listDeltas', { expect: 200, values: { Prefer: prefer } });
        if (headers.get('preference-applied') !== applied)
            problem(`Prefer: ${prefer}`, `applied: ${headers.get('preference-applied')}`);
    }
    const version = list.json.deltas[0].version;
    const get = (expect, more = {}, method) => call('getDelta', { expect, values: { version, ...more }, method });
    const whole = await get(200);
    const head = await get(200, {}, 'HEAD');
    const tag = whole.headers.get('etag');
    if (head.headers.get('etag') !== tag) problem('HEAD', 'another ETag than GET');
    const part = await get(206, { Range: 'bytes=10-', 'If-Range': tag });
    if (!part.bytes.equals(whole.bytes.subarray(10))) problem('Range', 'other bytes than the whole');
    await get(304, { 'If-None-Match': tag });
    await get(416, { Range: `bytes=${whole.bytes.length}-` });
    await call('getDelta', { expect: 400, values: { version }, query: '?x=1' });
    await call('getDelta', { expect: 404, values: { version: 999 } });
    return version;
}

async function signed(version) {
    const { json } = await call('getManifest', { expect: 200, values: { version } });
    const manifest = JSON.parse(Buffer.from(json.payload, 'base64'));
    const wrong = contract.wrong('answered#/components/schemas/Manifest', manifest);
    if (wrong) problem('the manifest', wrong);
    const keys = await call('getKeys', { expect: 200, as: 'device' });
    const chain = contract.wrong('answered#/components/schemas/Keys', JSON.parse(Buffer.from(keys.json.payload, 'base64')));
    if (chain) problem('the keys', chain);
    await call('getManifest', { expect: 400, values: { version }, query: '?x=1' });
    await call('getManifest', { expect: 404, values: { version: 999 } });
    await call('getKeysVersion', { expect: 200, values: { version: 1 } });
    await call('getKeysVersion', { expect: 404, values: { version: 999 } });
    await call('listUnsigned', { expect: 200 });
    await call('listUnsigned', { expect: 400, query: '?x=1' });
    const put = (expect, body, type = JSON_TYPE, of = version) =>
        call('putManifest', { expect, body, type, values: { version: of } });
    await put(422, '{}');
    await put(415, 'x', 'text/plain');
    await put(413, ' '.repeat(65537));
    await put(409, JSON.stringify(json));
    await put(404, JSON.stringify(json), JSON_TYPE, 999);
}

// The fleet: one device tells of itself, by its own token and by an operator's.
async function devices() {
    const self = { id: 'other' }, put = (expect, body, more) =>
        call('putDevice', { expect, as: 'device', values: self, type: JSON_TYPE, body: JSON.stringify(body), ...more });
    await put(200, { class: 'camera', channel: 'beta', version: 0, program: '0.1.0' });
    await put(200, {}, { as: 'operator', values: { id: 'kiosk-7' } });
    await put(403, {}, { values: { id: 'kiosk-7' } });
    await put(400, {}, { as: 'operator', values: { id: 'x'.repeat(65) } });
    await put(415, {}, { type: 'text/plain' });
    await put(422, { class: 1 });
    await put(413, { class: ' '.repeat(17 << 10) });
    const list = await call('listDevices', { expect: 200, as: 'viewer', values: { channel: 'beta', limit: 1 } });
    if (list.json.devices[0]?.id !== 'other') problem('listDevices', 'the device is not in its channel');
    await call('listDevices', { expect: 400, values: { health: 'tired' } });
    await call('getDevice', { expect: 200, as: 'device', values: self });
    await call('getDevice', { expect: 404, values: { id: 'nobody' } });
    await call('getFleet', { expect: 200, as: 'viewer' });
}

// A round over one more upload that goes on until it is cancelled; its id.
async function longRound(upload) {
    await call('postTokens', { expect: 201, body: read(upload), type: TENSORS });
    const settings = JSON.stringify({ holdout: 0, steps: 10000, batch: 8 });
    return (await call('postDistill', { expect: 202, body: settings, type: JSON_TYPE })).json.id;
}

// A release from the first device that is offered it to one that takes its place.
async function releases(version) {
    const self = { id: 'other' }, of = { version }, none = { version: 999 };
    const offered = await call('listDeltas', { expect: 200, as: 'device', values: { after: 0, device: 'other' } });
    if (offered.json.deltas[0]?.version !== version) problem('listDeltas', 'the device is not offered the release');
    const report = (expect, body, more) =>
        call('postFeedback', { expect, as: 'device', values: self, type: JSON_TYPE, body: JSON.stringify(body), ...more });
    await report(204, { version, outcome: 'applied', seconds: 1.5,
        self_test: { golden: 8, golden_right: 8, replay: 32, replay_agreed: 31, finite: true } });
    await report(403, { version, outcome: 'applied' }, { values: { id: 'kiosk-7' } });
    await report(404, { version: 999, outcome: 'applied' });
    await report(400, { version, outcome: 'applied' }, { as: 'operator', values: { id: 'x'.repeat(65) } });
    await report(415, {}, { type: 'text/plain' });
    await report(422, { version, outcome: 'fine' });
    await report(413, { reason: ' '.repeat(17 << 10) });
    await call('listReleases', { expect: 200, as: 'viewer', values: { before: 100, limit: 1 } });
    await call('listReleases', { expect: 400, values: { before: 0 } });
    const one = await call('getRelease', { expect: 200, as: 'viewer', values: of });
    if (one.json.counts.applied !== 1) problem('getRelease', `counts ${JSON.stringify(one.json.counts)}`);
    for (const name of ['getRelease', 'haltRelease', 'resumeRelease', 'rollBackRelease'])
        await call(name, { expect: 404, values: none });
    await call('resumeRelease', { expect: 409, values: of });
    await call('haltRelease', { expect: 200, values: of });
    await call('haltRelease', { expect: 409, values: of });
    await call('resumeRelease', { expect: 200, values: of });
    const back = (expect, body, type = JSON_TYPE) => call('rollBackRelease', { expect, values: of, body, type });
    await back(422, JSON.stringify({ to: version }));
    await back(415, 'x', 'text/plain');
    await back(413, ' '.repeat(17 << 10));
    const running = await longRound('b');
    await back(409, '{}');
    await call('cancelDistill', { expect: 202, values: { id: running } });
    await over(running);
    const round = await back(202, '{"to": 0}');
    if ((await over(round.json.id)).state !== 'released') problem('rollBackRelease', 'no release came of it');
}

// The stream's head and its first bytes; it ends only with the connection.
async function events() {
    await call('getEvents', { expect: 400, values: { types: 'nothing' } });
    const stop = new AbortController();
    const answer = await fetch(`${url}/events`, { headers: { Authorization: `Bearer ${tokens.viewer}` }, signal: stop.signal });
    caller.validate('getEvents', operations.get('getEvents'), answer, Buffer.alloc(0), true);
    const { value } = await answer.body.getReader().read();
    if (!/^(retry|id|event|:)/.test(Buffer.from(value).toString())) problem('getEvents', 'does not begin as a stream');
    stop.abort();
}

async function service() {
    await call('getModel', { expect: 200, as: 'device' });
    for (const as of ['operator', 'viewer', 'device'])
        if ((await call('getMe', { expect: 200, as })).json.role !== as) problem('getMe', `${as} is another`);
    await call('getMetrics', { expect: 200, as: 'viewer' });
    for (const name of ['getHealth', 'getReady', 'getIndex']) await call(name, { expect: 200, as: null });
    const page = { Accept: 'text/html' };
    for (const name of ['getIndex', 'getDocs', 'getContract'])
        for (const asked of [page, {}]) {
            const { headers } = await call(name, { expect: 200, as: null, asked });
            await call(name, { expect: 304, as: null, asked: { ...asked, 'If-None-Match': headers.get('etag') } });
        }
    const asText = await call('getDocs', { expect: 200, as: null });
    if (asText.bytes.toString() !== contract.text) problem('getDocs', 'serves another contract than the file');
    for (const kind of operations.get('getProblem').parameters[0].schema.enum)
        for (const asked of [page, {}]) await call('getProblem', { expect: 200, as: null, values: { name: kind }, asked });
    await call('getProblem', { expect: 404, as: null, values: { name: 'none' } });
    for (const [name, file] of [['getWeb', 'app.js'], ['getVendor', 'chart.js']]) {
        const got = await call(name, { expect: 200, as: null, values: { file } });
        await call(name, { expect: 304, as: null, values: { file }, asked: { 'If-None-Match': got.headers.get('etag') } });
        await call(name, { expect: 404, as: null, values: { file: 'none.js' } });
    }
    const served = await call('getContract', { expect: 200, as: null });
    if (served.bytes.toString() !== contract.text) problem('getContract', 'serves another contract than the file');
    const enroll = (expect, body, type = JSON_TYPE) =>
        call('postEnroll', { expect, as: null, body: typeof body === 'string' ? body : JSON.stringify(body), type });
    await enroll(201, { code: tokens.code, device: 'contract-1' });
    await enroll(403, { code: tokens.code, device: 'contract-2' });
    await enroll(422, {});
    await enroll(415, 'x', 'text/plain');
    await enroll(413, ' '.repeat(5000));
}

// Whoever calls too often without a token is told when to come again, whatever is called.
async function tired() {
    const drain = async () => {
        for (;;) if ((await fetch(`${url}/healthz`)).status === 429) return;
    };
    for (const [name, { parameters }] of operations) {
        const values = Object.fromEntries(parameters.filter((one) => one.in === 'path').map((one) => [one.name, 1]));
        for (let status; status !== 429;) { // a call may come back to the address meanwhile
            await drain();
            ({ status } = await call(name, { as: null, values }));
        }
    }
}

// What this run cannot provoke, and where it is provoked; 5xx depend on the machine, not the client.
const elsewhere = {
    'putManifest 200': 'wants the release key apart: test_signed.sh',
    'putManifest 403': 'by the role, above; by the signature: test_signed.sh',
    'postEnroll 409': 'wants a device that enrols at the same moment',
};

// A route for every role refuses none.
function excused(name, status, operation) {
    const forAll = status === '403' && operation['x-roles'].length === 3;
    return status[0] === '5' || forAll || elsewhere[`${name} ${status}`];
}

await refusals();
const upload = await uploads();
await devices();
await rounds(upload);
const version = await deltas();
await signed(version);
await releases(version);
await events();
await service();
await tired();
caller.coverage(excused);
process.exit(caller.end());
