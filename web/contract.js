/* contract.js: the bounds of a round's settings, read from the contract that the service was built
 * with, so that the form asks for what the service takes. It reads the few lines of openapi.yaml that
 * it needs, not YAML. */
import {ask} from './api.js';

/* "type: integer, minimum: 1, description: 'a, b'" -> {type: 'integer', minimum: 1, ...} */
export function fieldParse(text) {
    const field = {};
    for (const part of text.matchAll(/(\w+): (?:\[([^\]]*)\]|'((?:[^']|'')*)'|([^,]+))/g)) {
        const [, name, list, quoted, plain] = part;
        if (list !== undefined) field[name] = list.split(',').map((v) => v.trim().replace(/^'|'$/g, ''));
        else if (quoted !== undefined) field[name] = quoted;
        else field[name] = /^[-0-9.e]+$/.test(plain.trim()) ? Number(plain) : plain.trim();
    }
    return field;
}

/* The properties of components.schemas.NAME, in order: {name, type, minimum, ...}. */
export function schemaFields(contract, name) {
    const start = contract.indexOf(`\n    ${name}:\n`);
    const end = contract.slice(start + 1).search(/\n    \w+:\n/);
    if (start < 0) return [];
    const block = contract.slice(start, end < 0 ? undefined : start + 1 + end);
    return [...block.matchAll(/^ {8}(\w+): \{(.*)\}$/gm)]
        .map(([, field, rest]) => ({name: field, ...fieldParse(rest)}));
}

let fields = null;
export async function settingsFields() {
    fields ??= schemaFields(await ask('openapi.yaml'), 'Settings');
    return fields;
}
