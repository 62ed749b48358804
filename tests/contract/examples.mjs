// examples.mjs FILE...: each operation of the contracts shows what it takes and gives: an example of
// every JSON and text/event-stream body and of every path parameter, and each is as its schema says.
// An error's example has the status that it stands under.
import { contractRead } from './file.mjs';

const SHOWN = ['application/json', 'application/problem+json', 'text/event-stream'];

// The examples of one body, as [name, value].
function examplesOf(entry) {
    if (entry.example !== undefined) return [['example', entry.example]];
    return Object.entries(entry.examples ?? {}).map(([name, one]) => [name, one.value]);
}

function bodies(contract, side, base, content, wrong) {
    for (const [type, entry] of Object.entries(content ?? {}).filter(([name]) => SHOWN.includes(name))) {
        const examples = examplesOf(entry);
        if (!examples.length) wrong(`${type}: no example`);
        for (const [name, value] of examples) {
            const why = contract.wrong(`${side}${base}/content/${type.replaceAll('/', '~1')}/schema`, value);
            if (why) wrong(`${type}: ${name}: ${why}`);
        }
    }
    return content?.['application/problem+json'] ? examplesOf(content['application/problem+json']) : [];
}

function operation(contract, item, wrong) {
    const { operation: { requestBody, responses }, parameters } = item;
    for (const one of parameters.filter((parameter) => parameter.in === 'path')) {
        const shown = one.example ?? contract.resolve(one.schema).examples?.[0];
        if (shown === undefined) wrong(`parameter ${one.name}: no example`);
    }
    if (requestBody) bodies(contract, 'said', contract.at(item, 'requestBody'), requestBody.content, (text) => wrong(`request: ${text}`));
    for (const [status, entry] of Object.entries(responses)) {
        const base = entry.$ref ?? contract.at(item, 'responses', status);
        const problems = bodies(contract, 'answered', base, contract.resolve(entry).content, (text) => wrong(`${status}: ${text}`));
        if (problems.length && !problems.some(([, value]) => String(value.status) === status))
            wrong(`${status}: no example with that status`);
    }
}

const failures = [];
let count = 0;
for (const file of process.argv.slice(2)) {
    const contract = contractRead(file);
    for (const [name, item] of contract.operations) {
        operation(contract, item, (text) => failures.push(`${name}: ${text}`));
        count++;
    }
}
for (const line of new Set(failures)) console.error(`FAIL: ${line}`);
console.log(`examples of ${count} operations, ${failures.length} failures`);
process.exit(failures.length ? 1 : 0);
