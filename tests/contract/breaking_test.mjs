// breaking_test.mjs OPENAPI: each kind of break, made in a copy of the contract, is found and named;
// additions are none.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { breaks } from './breaking.mjs';

const contract = parse(readFileSync(process.argv[2], 'utf8'));
const schemas = (copy) => copy.components.schemas;
const cases = [
    ['DELETE /tokens/{id}: is gone', (copy) => delete copy.paths['/tokens/{id}'].delete],
    ['GET /deltas query wait: is gone', (copy) => {
        const get = copy.paths['/deltas'].get;
        get.parameters = get.parameters.filter((one) => one.name !== 'wait');
    }],
    ['GET /deltas 200 application/json.deltas[].sha256: is gone',
     (copy) => delete schemas(copy).Release.properties.sha256],
    ['.seed: became required', (copy) => (schemas(copy).Settings.required = ['seed'])],
    ['.labels: no longer takes soft', (copy) => (schemas(copy).Settings.properties.labels.enum = ['hard'])],
    ['.state: may now be lost', (copy) => schemas(copy).Round.properties.state.enum.push('lost')],
    ['.steps: maximum fell to 10', (copy) => (schemas(copy).Settings.properties.steps.maximum = 10)],
    ['.id: is no longer always there', (copy) => schemas(copy).Round.required.shift()],
    ['POST /tokens 201: is gone', (copy) => delete copy.paths['/tokens'].post.responses['201']],
    ['GET /deltas/{version} 200 ETag: is gone',
     (copy) => delete copy.paths['/deltas/{version}'].get.responses['200'].headers.ETag],
];
for (const [sentence, change] of cases) {
    const copy = structuredClone(contract);
    change(copy);
    const found = breaks(contract, copy);
    assert(found.some((line) => line.includes(sentence)), `"${sentence}" is not in ${JSON.stringify(found)}`);
}
const more = structuredClone(contract);
more.paths['/more'] = { get: { responses: {} } };
more.components.schemas.Settings.properties.more = { type: 'integer' };
more.components.schemas.Settings.properties.codec.enum.push('more');
more.components.schemas.Release.properties.more = { type: 'integer' };
assert.deepEqual(breaks(contract, more), []);
