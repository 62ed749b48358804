/* dom.js: elements from data. Text goes in as text nodes alone: nothing that a device or a file says
 * is ever parsed as HTML. */

/* el('a', {href: '#/'}, 'text', node, null, [more]): properties that start with "on" are listeners,
 * null and false are left out, the rest are attributes. */
export function el(tag, props, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props ?? {})) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
        else node.setAttribute(name, value === true ? '' : value);
    }
    node.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
    return node;
}

/* A part of a page that is drawn anew when its data is other than before. The focus stays on the
 * element with the same data-key or href. */
export function region(node) {
    let last;
    return (data, build) => {
        const now = JSON.stringify(data);
        if (now === last) return;
        last = now;
        const active = node.contains(document.activeElement) ? document.activeElement : null;
        const held = active && (active.dataset.key ?? active.getAttribute('href'));
        node.replaceChildren(...[build(data)].flat(3).filter(Boolean));
        if (held === null || held === undefined) return;
        const same = CSS.escape(held);
        node.querySelector(`[data-key="${same}"], [href="${same}"]`)?.focus({preventScroll: true});
    };
}

/* A container that scrolls sideways can be reached by keyboard, but only while it does. */
const overflow = new ResizeObserver((entries) => {
    for (const {target} of entries) {
        const box = target.classList.contains('scroll') ? target : target.parentElement;
        if (!box) continue;
        if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
        else box.removeAttribute('tabindex');
    }
});

/* columns: {head, cell(row), num: right-aligned, wide: left out on a phone; wrap: may take
 * more than one line}. */
export function table(caption, columns, rows, {hideCaption = false} = {}) {
    const classes = (c) => [c.num && 'num', c.wide && 'wide', c.wrap && 'wrap'].filter(Boolean).join(' ') || null;
    const head = columns.map((c) => el('th', {scope: 'col', class: classes(c)}, c.head));
    const body = rows.map((row) => el('tr', null, columns.map((c) =>
        el('td', {class: classes(c)}, c.cell(row)))));
    const grid = el('table', null, el('caption', {class: hideCaption && 'hidden'}, caption),
        el('thead', null, el('tr', null, head)), el('tbody', null, body));
    const box = el('div', {class: 'scroll', role: 'region', 'aria-label': caption}, grid);
    overflow.observe(box);
    overflow.observe(grid);
    return box;
}

/* [[term, value, note?], ...]; an entry without a value is left out. */
export function facts(entries, kind = 'facts') {
    return el('dl', {class: kind}, entries
        .filter((e) => e && e[1] !== null && e[1] !== undefined && e[1] !== '')
        .map(([term, value, note]) => el('div', null, el('dt', null, term),
            el('dd', null, value), note && el('dd', {class: 'note'}, note))));
}

export function section(title, ...children) {
    return el('section', {class: 'panel'}, el('h2', null, title), children);
}

export function badge(text, tone) {
    return el('span', {class: `badge ${tone ?? ''}`}, text);
}

/* What shares a whole: [{label, count, tone}]. */
export function shares(label, parts) {
    const total = parts.reduce((sum, p) => sum + p.count, 0);
    const said = parts.filter((p) => p.count > 0).map((p) => `${p.count} ${p.label}`).join(', ');
    const bar = el('span', {class: 'shares', role: 'img', 'aria-label': `${label}: ${said || 'none'}`});
    for (const part of parts) {
        if (part.count === 0) continue;
        const piece = el('span', {class: part.tone});
        piece.style.flexGrow = part.count / total;
        bar.append(piece);
    }
    return bar;
}

/* What to do to see something here: words and a command to copy. */
export function hint(text, command) {
    const copy = el('button', {type: 'button', 'aria-label': 'Copy the command', onclick: async () => {
        try {
            await navigator.clipboard.writeText(command);
            copy.textContent = 'Copied';
        } catch {
            copy.textContent = 'Select and copy';
        }
    }}, 'Copy');
    return el('div', {class: 'hint'}, el('p', null, text), command &&
        el('div', {class: 'command'}, el('pre', null, el('code', null, command)), copy));
}
