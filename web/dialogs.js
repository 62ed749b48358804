/* dialogs.js: questions that stop the page: is it meant? Native dialogs: Escape closes them, the focus
 * stays inside and goes back to where it was. */
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
