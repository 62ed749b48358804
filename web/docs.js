/* docs.js: openapi.yaml as a page to read. Operations by part, each with its parameters, bodies,
 * answers and a line for curl; then the schemas they name. */
import {el, table} from './dom.js';
import {yamlParse} from './yaml.js';

const METHODS = ['get', 'put', 'post', 'delete'];
const at = (id) => document.getElementById(id);
let contract = null;

const nameOf = (ref) => ref.split('/').pop();

function resolve(node) {
    while (node?.$ref) node = node.$ref.slice(2).split('/').reduce((part, key) => part[key], contract);
    return node;
}

/* `code` as code, the rest as words. */
function words(text) {
    return text.split(/(`[^`]+`)/).map((part) => part.startsWith('`') ? el('code', null, part.slice(1, -1)) : part);
}

/* Text with paragraphs. */
function prose(text) {
    return (text ?? '').trim().split(/\n\s*\n/).filter(Boolean).map((part) => el('p', null, words(part)));
}

/* ---- schemas ---- */

function bounds(schema) {
    const {minimum: low, maximum: high, minLength, maxLength, minItems, maxItems} = schema;
    const range = (from, to, unit) => from === undefined && to === undefined ? null
        : to === undefined ? `at least ${from}${unit}` : `${from ?? 0} to ${to}${unit}`;
    return [range(low, high, ''), schema.exclusiveMinimum !== undefined && `more than ${schema.exclusiveMinimum}`,
        range(minLength, maxLength, ' characters'), range(minItems, maxItems, ' items')];
}

/* "integer, 1 to 100, default 20" */
function typeText(schema) {
    const kind = schema.const !== undefined ? JSON.stringify(schema.const)
        : schema.enum ? `one of ${schema.enum.join(', ')}` : [schema.type ?? 'anything'].flat().join(' or ');
    return [kind, schema.format, schema.contentEncoding, ...bounds(schema),
        schema.default !== undefined && `default ${schema.default}`].filter(Boolean).join(', ');
}

function fields(schema) {
    return el('ul', {class: 'fields-of'}, Object.entries(schema.properties).map(([name, field]) =>
        el('li', null, el('code', null, name), ' ', shape(field, schema.required?.includes(name)))));
}

/* What a value is: in words, and its fields below them. */
function shape(schema, required = false) {
    const mark = required ? el('span', {class: 'type'}, ', required') : null;
    const note = schema.description ? [' ', prose(schema.description)] : [];
    if (schema.$ref) {
        const name = nameOf(schema.$ref);
        return [el('a', {href: `#schema-${name}`}, name), mark, note];
    }
    const said = (text) => el('span', {class: 'type'}, text);
    if (schema.oneOf) return [said('one of'), mark, note, el('ul', {class: 'fields-of'}, schema.oneOf.map((one) => el('li', null, shape(one))))];
    if (schema.type === 'array' && schema.items) return [said(['array', ...bounds(schema)].filter(Boolean).join(', ')), mark, note, ' of ', shape(schema.items)];
    const pattern = schema.pattern && [' ', el('code', null, schema.pattern)];
    return [said(typeText(schema)), pattern, mark, note, schema.properties && fields(schema)];
}

/* ---- bodies ---- */

const exampleOf = (entry) => entry.example ?? Object.values(entry.examples ?? {})[0]?.value;

function exampleText(value) {
    return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

function bodies(content) {
    return Object.entries(content ?? {}).map(([type, entry]) => {
        const example = exampleOf(entry);
        return el('div', null, el('p', null, el('code', null, type), ' ', shape(entry.schema)),
            example !== undefined && el('pre', null, el('code', null, exampleText(example))));
    });
}

function headersOf(response) {
    const list = Object.entries(response.headers ?? {}).map(([name, entry]) => [name, resolve(entry)]);
    return list.length > 0 && el('ul', {class: 'fields-of'}, list.map(([name, header]) => el('li', null,
        el('code', null, name), ' ', header.description ? prose(header.description) : el('span', {class: 'type'}, typeText(header.schema)))));
}

function responseOf([status, entry]) {
    const response = resolve(entry), tone = status < 300 ? 'good' : status < 400 ? 'busy' : 'bad';
    const more = [headersOf(response), bodies(response.content)].flat().filter(Boolean);
    return el('div', {class: 'response'}, el('span', {class: `badge ${tone}`}, status), prose(response.description),
        more.length > 0 && (status < 300 ? more : el('details', null, el('summary', null, 'Its form'), more)));
}

/* ---- operations ---- */

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/* The operation as one would call it by hand. */
function curlLine({method, path, operation, parameters}) {
    const value = (one) => one.example ?? one.schema.examples?.[0] ?? resolve(one.schema).examples?.[0] ?? 1;
    const target = path.replace(/\{(\w+)\}/g, (_, name) => value(parameters.find((one) => one.in === 'path' && one.name === name)));
    const query = parameters.filter((one) => one.in === 'query' && one.example !== undefined)
        .map((one) => `${one.name}=${encodeURIComponent(one.example).replaceAll('%2C', ',')}`).join('&');
    const json = operation.requestBody?.content['application/json'];
    const page = operation.responses['200']?.content?.['text/html'];
    return ['curl', method !== 'get' && !(method === 'post' && json) && `-X ${method.toUpperCase()}`,
        operation.responses['200']?.content?.['text/event-stream'] && '-N',
        quoted(`${location.origin}${target}${query && `?${query}`}`),
        !operation.security && "-H \"Authorization: Bearer $TOKEN\"",
        page && path !== '/' && "-H 'Accept: text/html'",
        json && "-H 'Content-Type: application/json'",
        json && `-d ${quoted(JSON.stringify(exampleOf(json)))}`].filter(Boolean).join(' ');
}

function parametersTable(parameters, operation) {
    return parameters.length > 0 && [el('h4', null, 'Parameters'), table(`Parameters of ${operation}`, [
        {head: 'Name', cell: (one) => [el('code', null, one.name), el('div', {class: 'type'}, one.required ? `${one.in}, required` : one.in)]},
        {head: 'What', cell: (one) => [prose(one.description), el('p', null, shape(one.schema))]},
    ], parameters, {hideCaption: true})];
}

function operationOf(item) {
    const {method, path, operation, parameters} = item, body = operation.requestBody;
    return el('section', {class: 'panel operation', id: operation.operationId, 'aria-label': `${method.toUpperCase()} ${path}`},
        el('h3', null, el('span', {class: `method ${method}`}, method.toUpperCase()), el('code', null, path),
            el('a', {href: `#${operation.operationId}`, 'aria-label': `Link to ${operation.operationId}`}, operation.operationId)),
        el('p', {class: 'summary'}, operation.summary),
        prose(operation.description),
        el('p', null, operation['x-roles'].map((role) => el('span', {class: 'badge'}, role))),
        parametersTable(parameters, operation.operationId),
        body && [el('h4', null, body.required ? 'Body, required' : 'Body'), prose(body.description), bodies(body.content)],
        el('h4', null, 'With curl'), el('pre', null, el('code', null, curlLine(item))),
        el('h4', null, 'Answers'), Object.entries(operation.responses).map(responseOf));
}

function operationsOf() {
    return Object.entries(contract.paths).flatMap(([path, item]) => METHODS.filter((name) => item[name]).map((method) => {
        const operation = item[method];
        const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
        return {method, path, operation, parameters};
    }));
}

/* ---- the page ---- */

function linkTo({method, path, operation}) {
    const said = [method, path, operation.operationId, operation.summary, ...operation['x-roles']].join(' ').toLowerCase();
    return el('li', {'data-said': said}, el('a', {href: `#${operation.operationId}`},
        el('span', {class: `method ${method}`}, method.toUpperCase()), path));
}

function filterTo(text) {
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const part of at('operations').children) {
        const links = [...part.querySelectorAll('li')];
        for (const link of links) link.hidden = !wanted.every((word) => link.dataset.said.includes(word));
        part.hidden = links.every((link) => link.hidden);
    }
}

function draw() {
    const {info, tags, components} = contract, all = operationsOf();
    const parts = tags.map((tag) => ({...tag, items: all.filter((one) => one.operation.tags.includes(tag.name))}));
    const schemas = Object.entries(components.schemas);
    at('nav').replaceChildren(...[...parts.map((part) => part.name), 'schemas'].map((name) => el('a', {href: `#part-${name}`}, name)));
    at('operations').replaceChildren(...parts.map((part) =>
        el('div', null, el('h2', null, part.description), el('ul', null, part.items.map(linkTo)))));
    at('main').replaceChildren(el('h1', null, `${info.title} ${info.version}`), el('p', {class: 'summary'}, info.summary),
        ...prose(info.description),
        ...parts.map((part) => el('section', {id: `part-${part.name}`}, el('h2', {class: 'part'}, part.description), part.items.map(operationOf))),
        el('section', {id: 'part-schemas'}, el('h2', {class: 'part'}, 'Schemas'), schemas.map(([name, schema]) =>
            el('section', {class: 'panel schema', id: `schema-${name}`}, el('h3', null, name), el('div', null, shape(schema))))));
    at('main').setAttribute('aria-busy', 'false');
    if (location.hash) at(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

async function start() {
    if (matchMedia('(max-width: 820px)').matches) at('contents').open = false;
    at('filter').addEventListener('input', (event) => filterTo(event.target.value));
    try {
        const response = await fetch('openapi.yaml');
        if (!response.ok) throw new Error(`the service answered ${response.status}`);
        contract = yamlParse(await response.text());
        draw();
    } catch (error) {
        at('main').replaceChildren(el('div', {class: 'trouble', role: 'alert'},
            el('p', null, `The contract could not be shown: ${error.message}. `, el('a', {href: 'openapi.yaml'}, 'openapi.yaml'), ' is the same as a file.')));
    }
}
start();
