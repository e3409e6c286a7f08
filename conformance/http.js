/** The few HTTP calls of the tests. Node's fetch is used as it is; a guard turns a hang into a failure. */

/** Files of 25 MiB come and go by it, too. */
const GUARD_MS = 60_000;

/** @typedef {{status: number, headers: Headers, text: string, json: any}} Reply `json` is undefined if the body is none */

/** @param {string} url @param {RequestInit} [init] @returns {Promise<Reply>} */
export async function request(url, init = {}) {
  const response = await fetch(url, { signal: AbortSignal.timeout(GUARD_MS), ...init });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parsed(text) };
}

export function get(url, headers = {}) {
  return request(url, { headers });
}

/** @param {string} url @param {unknown} body a string or Buffer is sent as it is @param {Record<string, string>} [headers] */
export function post(url, body, headers = {}) {
  const raw = typeof body === "string" || Buffer.isBuffer(body);
  return request(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: raw ? body : JSON.stringify(body),
  });
}

/**
 * Opens a streamed answer without waiting for its end.
 * @returns {Promise<{status: number, headers: Headers, read: () => Promise<string | null>, rest: () => Promise<string>, cancel: () => Promise<void>}>}
 *   `read` gives what arrived next, null at the end
 */
export async function openStream(url, body, headers = {}) {
  const response = await fetch(url, {
    method: "POST",
    signal: AbortSignal.timeout(GUARD_MS),
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const read = async () => {
    const { done, value } = await reader.read();
    return done ? null : decoder.decode(value, { stream: true });
  };
  const rest = async () => {
    let all = "";
    for (let piece = await read(); piece !== null; piece = await read()) all += piece;
    return all;
  };
  return { status: response.status, headers: response.headers, read, rest, cancel: () => reader.cancel() };
}

/** @param {string} stream a whole text/event-stream body @returns {{event: string, id?: string, data: any}[]} */
export function sseEvents(stream) {
  return stream
    .replaceAll("\r\n", "\n")
    .split("\n\n")
    .map((block) => block.split("\n").filter((line) => line && !line.startsWith(":")))
    .filter((lines) => lines.length > 0)
    .map((lines) => {
      const field = (name) => lines.filter((l) => l.startsWith(`${name}:`)).map((l) => l.slice(name.length + 1).replace(/^ /, ""));
      return { event: field("event")[0] ?? "message", id: field("id")[0], data: parsed(field("data").join("\n")) };
    });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
