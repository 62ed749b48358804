/* api.js: requests to the service this page came from, and its problem documents as errors. The
 * bearer token, if one is needed, lives as long as the tab. */

const KEY = 'cdcca-token';

export const token = {
    get: () => sessionStorage.getItem(KEY),
    set: (value) => sessionStorage.setItem(KEY, value),
    forget: () => sessionStorage.removeItem(KEY),
};

/* status 0: no answer at all. */
export class Problem extends Error {
    constructor(status, detail) {
        super(detail);
        this.status = status;
    }
}

export function headers(more) {
    const held = token.get();
    return held ? {...more, Authorization: `Bearer ${held}`} : {...more};
}

export const url = (path) => new URL(path, document.baseURI.replace(/#.*$/, ''));

async function problem(response) {
    const text = await response.text().catch(() => '');
    try {
        return new Problem(response.status, JSON.parse(text).detail ?? `status ${response.status}`);
    } catch {
        return new Problem(response.status, `The service answered with status ${response.status}.`);
    }
}

/* GET unless options say otherwise; body: JSON. Returns the answer's JSON, or its text. */
export async function ask(path, {method = 'GET', body, signal} = {}) {
    let response;
    try {
        response = await fetch(url(path), {
            method, signal, cache: method === 'GET' ? 'no-cache' : 'no-store',
            headers: headers(body === undefined ? {} : {'Content-Type': 'application/json'}),
            body: body === undefined ? undefined : JSON.stringify(body),
        });
    } catch (error) {
        if (error.name === 'AbortError') throw error;
        throw new Problem(0, `${location.host} does not answer.`);
    }
    if (!response.ok) throw await problem(response);
    if (response.status === 204) return null;
    return response.headers.get('Content-Type')?.startsWith('application/json')
        ? response.json() : response.text();
}

/* Saves a file under a name; a link could not show a token. */
export async function download(path, name) {
    const response = await fetch(url(path), {headers: headers()});
    if (!response.ok) throw await problem(response);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await response.blob());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/* ask, with null where there is no such thing. */
export async function askOrNull(path, options) {
    try {
        return await ask(path, options);
    } catch (error) {
        if (error.status === 404) return null;
        throw error;
    }
}
