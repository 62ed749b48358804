/* yaml.js: the YAML that openapi.yaml is written in, as data: block and flow mappings and sequences,
 * plain, quoted and literal scalars, anchors. It stops with a word at anything else.
 * tests/contract holds it against a whole YAML library. */

const KEY = /^('(?:[^']|'')*'|"[^"]*"|[^\s'"{}[\]&*|>#-][^#]*?|-[^\s][^#]*?):(?:\s+(.*))?$/;
const ANCHOR = /^&([\w-]+)\s*(.*)$/;
const ESCAPES = {n: '\n', t: '\t', '"': '"', '\\': '\\', '/': '/'};

function plain(text) {
    if (/^(null|~|)$/.test(text)) return null;
    if (/^(true|false)$/.test(text)) return text === 'true';
    if (/^[-+]?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(text)) return Number(text);
    return text;
}

/* A value that is written on its line, and perhaps goes on behind it: flow, quoted or plain. */
class Flow {
    constructor(text, anchors) {
        Object.assign(this, {text, anchors, at: 0});
    }

    wrong(what) {
        throw new Error(`${what} in "${this.text.slice(0, 60)}"`);
    }

    skip() {
        while (this.text[this.at] === ' ') this.at++;
        return this.text[this.at];
    }

    take(pattern) {
        pattern.lastIndex = this.at;
        const found = pattern.exec(this.text) ?? this.wrong('unreadable text');
        this.at = pattern.lastIndex;
        return found;
    }

    single() {
        return this.take(/'((?:[^']|'')*)'/y)[1].replaceAll("''", "'");
    }

    double() {
        return this.take(/"((?:[^"\\]|\\.)*)"/y)[1]
            .replace(/\\(.)/g, (_, c) => ESCAPES[c] ?? this.wrong(`\\${c}`));
    }

    /* Items up to the closing bracket. */
    list(end, item) {
        for (this.at++; this.skip() !== end;) {
            item();
            if (this.skip() === ',') this.at++;
            else if (this.skip() !== end) this.wrong(`no ${end}`);
        }
        this.at++;
    }

    map() {
        const out = {};
        this.list('}', () => {
            const key = String(this.value(true));
            if (this.skip() !== ':') this.wrong(`no value for ${key}`);
            this.at++;
            out[key] = this.value(true);
        });
        return out;
    }

    sequence() {
        const out = [];
        this.list(']', () => out.push(this.value(true)));
        return out;
    }

    value(inside) {
        const first = this.skip();
        if (first === '{') return this.map();
        if (first === '[') return this.sequence();
        if (first === "'") return this.single();
        if (first === '"') return this.double();
        if (first === '*') return this.anchors.get(this.take(/\*([\w-]+)/y)[1]) ?? this.wrong('no such anchor');
        const rest = inside ? this.take(/(?:[^,:{}[\]]|:(?![ ]))*/y)[0] : this.take(/.*/y)[0];
        return plain(rest.trim());
    }

    whole() {
        const value = this.value(false);
        return this.skip() === undefined ? value : this.wrong('more text');
    }
}

class Blocks {
    constructor(text) {
        this.lines = text.split('\n').map((line) => {
            const body = line.trimStart();
            return {indent: line.length - body.length, text: body.trimEnd(), raw: line};
        });
        this.at = 0;
        this.anchors = new Map();
    }

    /* The next line that says something, if it is at least that far in. */
    next(indent) {
        while (this.at < this.lines.length && /^(#.*)?$/.test(this.lines[this.at].text)) this.at++;
        const line = this.lines[this.at];
        return line && line.indent >= indent ? line : null;
    }

    named(text, build) {
        const [, name, rest] = ANCHOR.exec(text) ?? [null, null, text];
        const value = build(rest);
        if (name) this.anchors.set(name, value);
        return value;
    }

    /* "|": the lines further in than `indent`, as they are. */
    literal(indent) {
        const from = this.at;
        while (this.at < this.lines.length && (!this.lines[this.at].text || this.lines[this.at].indent > indent)) this.at++;
        const lines = this.lines.slice(from, this.at), {indent: margin} = lines.find((line) => line.text);
        return `${lines.map((line) => line.raw.slice(margin)).join('\n').trimEnd()}\n`;
    }

    /* What stands behind a key or a dash at `indent`; `rest` is on that line. */
    after(indent, rest, sequences) {
        return this.named(rest, (text) => {
            if (text === '|') return this.literal(indent);
            if (text) return this.inline(text, indent);
            const line = this.next(sequences);
            const own = line && (line.indent > indent || line.text.startsWith('- '));
            return own ? this.node(line.indent) : null;
        });
    }

    inline(text, indent) {
        const parts = [text];
        while (this.lines[this.at]?.text && this.lines[this.at].indent > indent) parts.push(this.lines[this.at++].text);
        return new Flow(parts.join(' '), this.anchors).whole();
    }

    map(indent) {
        const out = {};
        for (let line; (line = this.next(indent))?.indent === indent && !line.text.startsWith('- ');) {
            const [, key, rest = ''] = KEY.exec(line.text) ?? (() => { throw new Error(`no key in "${line.text}"`); })();
            this.at++;
            out[/^['"]/.test(key) ? key.slice(1, -1) : key] = this.after(indent, rest, indent);
        }
        return out;
    }

    sequence(indent) {
        const out = [];
        for (let line; (line = this.next(indent))?.indent === indent && line.text.startsWith('- ');) {
            const rest = line.text.slice(2).trimStart();
            if (ANCHOR.test(rest) || !KEY.test(rest)) {
                this.at++;
                out.push(this.after(indent, rest, indent + 1));
            } else {
                Object.assign(line, {indent: indent + line.text.length - rest.length, text: rest});
                out.push(this.node(line.indent));
            }
        }
        return out;
    }

    node(indent) {
        return this.next(indent).text.startsWith('- ') ? this.sequence(indent) : this.map(indent);
    }
}

export function yamlParse(text) {
    return new Blocks(text).node(0);
}
