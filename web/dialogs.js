/* dialogs.js: questions that stop the page: is it meant, and which token. Native dialogs: Escape
 * closes them, the focus stays inside and goes back to where it was. */
import {token} from './api.js';
import {el} from './dom.js';

function open(title, content, buttons) {
    return new Promise((resolve) => {
        const form = el('form', {method: 'dialog'}, el('h2', {id: 'dialog-title'}, title), content,
            el('div', {class: 'buttons'}, buttons));
        const box = el('dialog', {'aria-labelledby': 'dialog-title'}, form);
        box.addEventListener('close', () => {
            box.remove();
            resolve(box.returnValue);
        });
        document.body.append(box);
        box.showModal();
    });
}

/* Was the action confirmed? */
export async function confirmed(title, text, action, tone) {
    const buttons = [el('button', {value: ''}, 'Cancel'),
        el('button', {value: 'yes', class: tone ?? 'primary'}, action)];
    return await open(title, el('p', null, text), buttons) === 'yes';
}

let asking = null;

/* Asks for a bearer token once, however many requests want one; true when one was given. */
export function askToken(why) {
    asking ??= (async () => {
        const field = el('input', {type: 'password', id: 'token-field', autocomplete: 'off',
            required: true, spellcheck: 'false'});
        const content = [el('p', null, why), el('label', {for: 'token-field'}, 'Token'), field,
            el('p', {class: 'note'}, 'Kept in this tab until it is closed.')];
        const buttons = [el('button', {value: '', formnovalidate: true}, 'Cancel'),
            el('button', {value: 'yes', class: 'primary'}, 'Use it')];
        const given = await open('This service asks for a token', content, buttons) === 'yes';
        if (given) token.set(field.value.trim());
        asking = null;
        return given;
    })();
    return asking;
}
