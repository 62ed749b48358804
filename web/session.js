/* session.js: who looks. Where the service asks for tokens, one is entered here; it lies in the tab's
 * sessionStorage and goes out as a bearer token with every request, the event stream's included. What
 * a role may not do is not offered. */
import {ask, token} from './api.js';
import {el} from './dom.js';

let who = null;

/* {role, name: absent where no tokens are asked for}, or null: nobody yet. */
export const me = () => who;
export const mayOperate = () => who?.role === 'operator';

/* Asks the service. Throws what it answers: 401 without a token that holds. */
export async function identify() {
    who = await ask('me');
    return who;
}

export function leave() {
    token.forget();
    who = null;
}

const roles = el('p', {class: 'note'}, 'A token of the role viewer shows everything; one of the role operator ' +
    'also starts, stops and deletes. Whoever runs the service makes one:');
const command = 'cdcca-cloud token add --role viewer --name NAME --data DIR';

/* The form; resolves when someone is in. why: what happened, or null. */
export function signIn(main, why) {
    return new Promise((resolve) => {
        const wrong = el('p', {class: 'trouble', role: 'alert', id: 'token-wrong', hidden: !why}, why);
        const field = el('input', {type: 'password', id: 'token-field', autocomplete: 'off', required: true,
            spellcheck: 'false', 'aria-describedby': 'token-wrong token-note'});
        const refuse = (text) => {
            leave();
            wrong.hidden = false;
            wrong.textContent = text[0].toUpperCase() + text.slice(1);
            field.setAttribute('aria-invalid', 'true');
            field.select();
            field.focus();
        };
        const button = el('button', {class: 'primary'}, 'Sign in');
        const submit = async (event) => {
            event.preventDefault();
            button.disabled = true;
            token.set(field.value.trim());
            try {
                const {role, name} = await identify();
                if (role === 'device') refuse(`This is the token of the device ${name}; it shows nothing here.`);
                else resolve();
            } catch (error) {
                refuse(error.message);
            }
            button.disabled = false;
        };
        main.replaceChildren(el('form', {class: 'panel signin', onsubmit: submit}, el('h1', null, 'Sign in'), wrong,
            el('label', {for: 'token-field'}, 'Token'), field,
            el('p', {class: 'note', id: 'token-note'}, 'Kept in this tab until it is closed.'),
            el('div', {class: 'buttons'}, button), roles, el('pre', {class: 'code'}, el('code', null, command))));
        field.focus();
    });
}
