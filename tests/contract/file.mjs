// file.mjs: a contract as the tests use it. Which operation a request is for, and what of an exchange
// the file does not say: a status, a header, a content type, a body that its JSON schema refuses, a
// field that it does not list.
import { readFileSync } from 'node:fs';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';

const METHODS = ['get', 'put', 'post', 'delete'];

// A copy whose answers hold listed fields alone: objects with properties take no others.
function closed(node) {
    if (Array.isArray(node)) return node.map(closed);
    if (!node || typeof node !== 'object') return node;
    const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closed(value)]));
    const open = copy.properties && copy.type === 'object' && copy.additionalProperties === undefined;
    return open ? { ...copy, additionalProperties: false } : copy;
}

const escaped = (part) => part.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D');

export class Contract {
    // anywhere: the statuses that any operation may answer, in the form of the file's response `errors`
    constructor(file, { anywhere = [], errors = null } = {}) {
        this.text = readFileSync(file, 'utf8');
        this.file = parse(this.text);
        Object.assign(this, { anywhere, errors });
        this.ajv = new Ajv2020({ strict: false, allErrors: true });
        addFormats(this.ajv);
        this.ajv.addSchema(this.file, 'said').addSchema(closed(this.file), 'answered');
        this.operations = new Map(); // operationId -> {name, method, path, pattern, operation, parameters}
        for (const [path, item] of Object.entries(this.file.paths))
            for (const method of METHODS.filter((name) => item[name])) this.add(path, item, method);
    }

    add(path, item, method) {
        const operation = item[method];
        const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map((one) => this.resolve(one));
        const pattern = new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}$`);
        this.operations.set(operation.operationId, { name: operation.operationId, method, path, pattern, operation, parameters });
    }

    // Where a $ref of the file leads.
    resolve(node) {
        while (node?.$ref) node = node.$ref.slice(2).split('/').reduce((at, key) => at[key], this.file);
        return node;
    }

    // The operation of a request, or null; HEAD is GET's.
    find(method, target) {
        const path = target.split('?')[0], wanted = method === 'HEAD' ? 'get' : method.toLowerCase();
        return [...this.operations.values()].find((one) => one.method === wanted && one.pattern.test(path)) ?? null;
    }

    // A text that says what is wrong with a value, or null.
    wrong(schema, value) {
        const check = this.ajv.getSchema(schema) ?? this.ajv.compile({ $ref: schema });
        return check(value) ? null : this.ajv.errorsText(check.errors);
    }

    at({ path, method }, ...rest) {
        return `#/paths/${[path, method, ...rest].map(escaped).join('/')}`;
    }

    checkHeaders(response, header, problems) {
        for (const [name, entry] of Object.entries(response?.headers ?? {})) {
            const value = header(name), { schema, required } = this.resolve(entry);
            if (value === null && required === false) continue;
            if (value === null) problems.push(`no ${name}`);
            else if (schema.const !== undefined && schema.const !== value) problems.push(`${name} is ${value}`);
            else if (schema.type === 'integer' && !/^\d+$/.test(value)) problems.push(`${name} is ${value}`);
        }
    }

    checkBody(response, base, { header, body, head }, problems) {
        const type = header('content-type')?.split(';')[0];
        if (!response.content) return body.length && problems.push('has a body, the contract lists none');
        if (!response.content[type]) return problems.push(`content type ${type} is not listed`);
        if (head || !/json$/.test(type)) return null;
        const why = this.wrong(`answered${base}/content/${escaped(type)}/schema`, JSON.parse(body));
        return why && problems.push(why, body.toString().slice(0, 300));
    }

    // What an answer {status, header(name), body, head} has that the contract does not say, as texts.
    check(item, answer) {
        const problems = [], general = this.anywhere.includes(answer.status) && { $ref: `#/components/responses/${this.errors}` };
        const listed = item.operation.responses[answer.status] ?? (general || null);
        if (!listed) return ['the contract does not list this status', answer.body.toString().slice(0, 200)];
        const response = this.resolve(listed), base = listed.$ref ?? this.at(item, 'responses', String(answer.status));
        this.checkHeaders(response, answer.header, problems);
        this.checkBody(response, base, answer, problems);
        return problems;
    }

    // What of a request that was taken the contract would refuse.
    checkRequest(item, target, type, body) {
        const problems = [], known = item.parameters.filter((one) => one.in === 'query');
        for (const [name, value] of new URLSearchParams(target.split('?')[1] ?? '')) {
            const parameter = known.find((one) => one.name === name);
            if (!parameter && known.length) problems.push(`the contract has no parameter ${name}`);
            if (parameter?.schema.type === 'integer' && !/^\d+$/.test(value)) problems.push(`${name} is ${value}`);
        }
        if (!body.length) return problems;
        if (!item.operation.requestBody?.content[type]) return [...problems, `takes a body of type ${type}`];
        if (type !== 'application/json') return problems;
        const why = this.wrong(`said${this.at(item, 'requestBody', 'content', type, 'schema')}`, JSON.parse(body));
        return why ? [...problems, `takes a body that ${why}`] : problems;
    }
}

// openapi.yaml or edge.yaml: what each says, in its description, of every operation.
export function contractRead(file) {
    const errors = file.endsWith('edge.yaml') ? 'Error' : 'BadRequest';
    return new Contract(file, { anywhere: [400, 408, 414, 431, 503], errors });
}
