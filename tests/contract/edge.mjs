// edge.mjs EDGE_CONTRACT URL PICTURE: performs every operation of edge.yaml against a running
// `cdcca-edge serve`, and sees every status that a client can provoke.
import { readFileSync } from 'node:fs';
import { Caller } from './caller.mjs';
import { contractRead } from './file.mjs';

const [file, url, picture] = process.argv.slice(2);
const contract = contractRead(file);
const caller = new Caller(contract, url);
const call = (name, options) => caller.call(name, { as: null, ...options });
const JSON_TYPE = 'application/json';
const unknown = { query: '?x=1' }, elsewhere = { Host: 'example.com' };
const image = `data:image/png;base64,${readFileSync(picture).toString('base64')}`;
const question = (more) => JSON.stringify({ model: 'student', max_tokens: 4, messages: [{ role: 'user', content: [
    { type: 'text', text: 'what color is it?' }, { type: 'image_url', image_url: { url: image } }] }], ...more });

// fetch names the host by itself; a request of another name is made by hand.
async function foreign(name, values = {}) {
    const { request } = await import('node:http');
    const item = contract.operations.get(name), { target } = caller.address(item, values);
    const body = item.operation.requestBody ? '{}' : undefined;
    await new Promise((done, failed) => {
        const sent = request(target, { method: item.method.toUpperCase(), headers: { ...elsewhere,
            ...(body && { 'Content-Type': JSON_TYPE, 'Content-Length': body.length }) } }, async (got) => {
            const parts = [];
            for await (const part of got) parts.push(part);
            const answer = { status: got.statusCode, headers: new Headers(got.headers) };
            caller.validate(name, item, answer, Buffer.concat(parts), false);
            if (answer.status !== 403) caller.problem(name, `${answer.status} for another host, should be 403`);
            done();
        });
        sent.on('error', failed).end(body);
    });
}

async function chats() {
    const post = (expect, body, type = JSON_TYPE) => call('postChatCompletion', { expect, body, type });
    const { json } = await post(200, question());
    const stream = await post(200, question({ stream: true }));
    if (!stream.bytes.toString().trimEnd().endsWith('data: [DONE]')) caller.problem('the stream', 'has no end');
    await post(200, question({ logprobs: true, top_logprobs: 2 }));
    await post(400, question({ temperature: 3 }));
    await post(404, question({ model: 'gpt-4o' }));
    await post(415, question(), 'text/plain');
    await caller.tooLarge('postChatCompletion', 49 << 20, { as: null });
    await foreign('postChatCompletion');
    return json.id;
}

async function feedback(id) {
    const post = (expect, body, type = JSON_TYPE) => call('postFeedback', { expect, body: JSON.stringify(body), type });
    await post(200, { id, correction: 'red' });
    await post(400, { id, correction: ' ' });
    await post(404, { id: 'chatcmpl-0', correction: 'red' });
    await post(415, {}, 'text/plain');
    await caller.tooLarge('postFeedback', 2 << 20, { as: null });
    await foreign('postFeedback');
}

async function models() {
    const { json } = await call('getModels', { expect: 200 });
    await call('getModels', { expect: 400, ...unknown });
    await foreign('getModels');
    const of = (id) => ({ values: { id } });
    for (const { id } of json.data) await call('getModel', { expect: 200, ...of(id) });
    await call('getModel', { expect: 404, ...of('gpt-4o') });
    await call('getModel', { expect: 400, ...of('student'), ...unknown });
    await foreign('getModel', { id: 'student' });
}

await call('getRoot', { expect: 200 });
await feedback(await chats());
await models();
caller.coverage((name, status) => status[0] === '5');
process.exit(caller.end());
