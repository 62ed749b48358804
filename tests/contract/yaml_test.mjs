// yaml_test.mjs OPENAPI: what the page at /docs reads of the contract is what a YAML library reads.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { yamlParse } from '../../web/yaml.js';

const text = readFileSync(process.argv[2], 'utf8');
assert.deepEqual(yamlParse(text), parse(text));
for (const wrong of ['a: {b: 1', 'a: "b', 'a: *b', 'a: [1}', 'a: b\n  - c\nd'])
    assert.throws(() => yamlParse(wrong), Error, wrong);
