// breaking.mjs OLD NEW: what of the contract OLD a client of it would miss in NEW: an operation,
// parameter, status, content type or field that is gone, a field or parameter that became required,
// a type or enum that narrowed for requests or widened for answers. Prints each; exit 1 if any.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parse } from 'yaml';

const METHODS = ['get', 'put', 'post', 'delete'];

function resolver(contract) {
    return (node) => {
        while (node?.$ref) node = node.$ref.slice(2).split('/').reduce((at, key) => at?.[key], contract);
        return node;
    };
}

// The values a schema allows one by one, or null.
const listed = (schema) => schema.enum ?? (schema.const !== undefined ? [schema.const] : null);

// What answers repeat of a request: the schemas that bodies of requests have. A value that is new there
// comes back to those alone who sent it.
function echoed(contract) {
    const operations = Object.values(contract.paths).flatMap((item) => METHODS.map((name) => item[name]).filter(Boolean));
    return new Set(operations.flatMap((one) => Object.values(one.requestBody?.content ?? {}))
        .map((entry) => entry.schema.$ref).filter(Boolean));
}

function compareValues(at, was, is, request, echo, found) {
    const [before, after] = [listed(was), listed(is)];
    const lost = before && after ? before.filter((value) => !after.includes(value)) : [];
    const added = before && after ? after.filter((value) => !before.includes(value)) : [];
    if (request && lost.length) found.push(`${at}: no longer takes ${lost.join(', ')}`);
    if (request && !before && after) found.push(`${at}: takes only ${after.join(', ')} now`);
    if (!request && !echo && added.length) found.push(`${at}: may now be ${added.join(', ')}`);
    if (!request && before && !after) found.push(`${at}: may now be anything`);
    if (was.type && is.type && was.type !== is.type) found.push(`${at}: is ${is.type}, was ${was.type}`);
}

function compareBounds(at, was, is, found) {
    const lower = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems'];
    const upper = ['maximum', 'maxLength', 'maxItems'];
    for (const name of lower)
        if (is[name] > (was[name] ?? -Infinity)) found.push(`${at}: ${name} rose to ${is[name]}`);
    for (const name of upper)
        if (is[name] < (was[name] ?? Infinity)) found.push(`${at}: ${name} fell to ${is[name]}`);
}

function compareSchemas(at, old, now, sides, request, found) {
    const was = sides.old(old), is = sides.now(now);
    if (!was || !is) return;
    if (sides.echoed.has(old.$ref)) sides = { ...sides, echo: true };
    compareValues(at, was, is, request, sides.echo, found);
    if (request) compareBounds(at, was, is, found);
    for (const [name, field] of Object.entries(was.properties ?? {})) {
        if (!is.properties?.[name]) found.push(`${at}.${name}: is gone`);
        else compareSchemas(`${at}.${name}`, field, is.properties[name], sides, request, found);
    }
    if (was.items) compareSchemas(`${at}[]`, was.items, is.items, sides, request, found);
    const [from, to] = request ? [is, was] : [was, is];
    for (const name of from.required ?? [])
        if (!to.required?.includes(name))
            found.push(`${at}.${name}: ${request ? 'became required' : 'is no longer always there'}`);
}

function compareContent(at, was, is, sides, request, found) {
    for (const [type, entry] of Object.entries(was ?? {})) {
        if (!is?.[type]) found.push(`${at} ${type}: is gone`);
        else compareSchemas(`${at} ${type}`, entry.schema, is[type].schema, sides, request, found);
    }
}

function parametersOf(item, operation, side) {
    return new Map([...(item.parameters ?? []), ...(operation.parameters ?? [])].map(side)
        .map((one) => [`${one.in} ${one.name}`, one]));
}

function compareParameters(at, was, is, sides, found) {
    for (const [name, one] of was) {
        if (!is.has(name)) found.push(`${at} ${name}: is gone`);
        else compareSchemas(`${at} ${name}`, one.schema, is.get(name).schema, sides, true, found);
    }
    for (const [name, one] of is)
        if (one.required && !was.get(name)?.required) found.push(`${at} ${name}: became required`);
}

function compareOperations(at, [oldItem, was], [nowItem, is], sides, found) {
    compareParameters(at, parametersOf(oldItem, was, sides.old), parametersOf(nowItem, is, sides.now), sides, found);
    compareContent(`${at} request`, was.requestBody?.content, is.requestBody?.content, sides, true, found);
    if (is.requestBody?.required && !was.requestBody?.required) found.push(`${at}: a body became required`);
    for (const [status, response] of Object.entries(was.responses)) {
        const other = sides.now(is.responses[status]);
        if (!other) { if (status[0] === '2') found.push(`${at} ${status}: is gone`); continue; }
        const before = sides.old(response);
        compareContent(`${at} ${status}`, before.content, other.content, sides, false, found);
        for (const header of Object.keys(before.headers ?? {}))
            if (!other.headers?.[header]) found.push(`${at} ${status} ${header}: is gone`);
    }
}

// Each break as a sentence.
export function breaks(old, now) {
    const found = [];
    const sides = { old: resolver(old), now: resolver(now), echoed: echoed(old), echo: false };
    for (const [path, item] of Object.entries(old.paths))
        for (const method of METHODS.filter((name) => item[name])) {
            const at = `${method.toUpperCase()} ${path}`, other = now.paths[path];
            if (!other?.[method]) found.push(`${at}: is gone`);
            else compareOperations(at, [item, item[method]], [other, other[method]], sides, found);
        }
    return found;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
    const [old, now] = process.argv.slice(2).map((file) => parse(readFileSync(file, 'utf8')));
    const found = breaks(old, now);
    for (const line of found) console.error(`breaks: ${line}`);
    process.exit(found.length ? 1 : 0);
}
