/* settings.js: starting a round, with the service's own settings or with some of one's own. */
import {ask} from './api.js';
import {settingsFields} from './contract.js';
import {el} from './dom.js';

export const settingWords = {
    steps: 'Steps', batch: 'Batch', lr: 'Learning rate', clip: 'Gradient clip', labels: 'Labels',
    query: 'Query loss', repr: 'Representation loss', ce: 'Cross-entropy', kl: 'Divergence',
    temperature: 'Temperature', holdout: 'Held back', seed: 'Seed', budget_bytes: 'Patch budget, bytes',
    codec: 'Codec', selected_share: 'Share of values selected',
};

function range(field) {
    const low = field.minimum ?? (field.exclusiveMinimum === undefined ? null : `above ${field.exclusiveMinimum}`);
    const bounds = [low !== null && `from ${low}`.replace('from above', 'above'),
        field.maximum !== undefined && `to ${field.maximum}`].filter(Boolean).join(' ');
    return [bounds, field.description].filter(Boolean).join('; ');
}

function control(field) {
    const common = {id: `set-${field.name}`, name: field.name, 'aria-describedby': `set-${field.name}-note`};
    if (field.enum)
        return el('select', common, el('option', {value: ''}, 'the default'),
            field.enum.map((v) => el('option', {value: v}, v)));
    return el('input', {...common, type: 'number', min: field.minimum ?? field.exclusiveMinimum,
        max: field.maximum, step: field.type === 'integer' ? 1 : 'any', placeholder: 'the default'});
}

function row(field) {
    return el('div', {class: 'field'},
        el('label', {for: `set-${field.name}`}, settingWords[field.name] ?? field.name), control(field),
        el('p', {class: 'note', id: `set-${field.name}-note`}, range(field)));
}

function collect(form, fields) {
    const settings = {};
    for (const field of fields) {
        const value = form.elements[field.name]?.value ?? '';
        if (value !== '') settings[field.name] = field.enum ? value : Number(value);
    }
    return settings;
}

/* A button that starts a round, and a form behind it; where to go with the new round's id. */
export function roundStarter(page, gone) {
    if (!page.operator) return el('p', {class: 'note'}, 'Rounds are started by operators, and by the service itself.');
    let fields = [];
    const inner = el('div', {class: 'fields'});
    const form = el('form', {onsubmit: (event) => {
        event.preventDefault();
        page.act(async () => {
            const round = await ask('distill', {method: 'POST', body: collect(form, fields)});
            gone(round.id);
        });
    }});
    const more = el('details', null, el('summary', null, 'Settings of the next round'), inner);
    more.addEventListener('toggle', () => {
        if (!more.open || fields.length) return;
        page.act(async () => {
            fields = await settingsFields();
            inner.replaceChildren(...fields.map(row));
        });
    });
    form.append(el('button', {class: 'primary', 'data-key': 'start'}, 'Start a round'), more);
    return form;
}
