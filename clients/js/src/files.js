/** Files, put where the server keeps them. */
import { httpOf } from "./connection.js";
import { WeeziqError, wrapped } from "./errors.js";

/** @import { Connection } from "./connection.js" */

/**
 * @typedef {{key: string, url: string, name: string, size: number, contentType: string, sha256: string, width?: number, height?: number}} Uploaded fits
 *   into `attachments` of its room; `url` is absolute
 *
 * @typedef {object} Uploading
 * @property {string} [name] without one, the file's own
 * @property {string} [roomId] the room whose messages may name it; a file that none names is deleted after a day. Without one it
 *   belongs to the site and to no room
 * @property {string} [domainId]
 * @property {string} [userId]
 * @property {(progress: {loaded: number, total: number}) => void} [onProgress] step by step in a browser; elsewhere at the end
 * @property {AbortSignal} [signal]
 *
 * @typedef {object} Files
 * @property {(file: Blob & {name?: string}, uploading?: Uploading) => Promise<Uploaded>} upload 25 MiB at most
 */

const FILE_BYTES_MAX = 25 * 1024 * 1024;

/** @param {Connection} connection @returns {Files} */
export const files = (connection) => ({
  upload(file, uploading) {
    const uploaded = upload(connection, file, uploading);
    // A rejection that nobody waits for must not end a process.
    uploaded.catch(() => {});
    return uploaded;
  },
});

/** @param {Connection} connection @param {Blob & {name?: string}} file @param {Uploading} [uploading] @returns {Promise<Uploaded>} */
async function upload({ url, token }, file, { onProgress, signal, ...about } = {}) {
  if (file.size > FILE_BYTES_MAX) throw new WeeziqError("too_large");
  const target = new URL("files", httpOf(url));
  about.name ??= file.name ?? "file";
  for (const [name, value] of Object.entries(about)) if (value) target.searchParams.set(name, value);
  const [status, text] = await put(target.href, file, token, onProgress, signal).catch((cause) => {
    throw wrapped(signal?.aborted ? "aborted" : "unreachable", cause);
  });
  /** @type {any} */
  let reply = {};
  try {
    reply = JSON.parse(text) ?? reply;
  } catch {
    // Something between us and the server has answered.
  }
  if (status === 201 && reply.url) return { ...reply, url: new URL(reply.url, target).href };
  throw new WeeziqError(reply.code ?? (status === 404 ? "not_found" : "bad_frame"), reply.error ?? `HTTP ${status}`, reply);
}

/**
 * @param {string} url @param {Blob} body what it is, it says itself @param {string | undefined} token @param {Uploading["onProgress"]} onProgress
 * @param {AbortSignal} [signal]
 * @returns {Promise<[status: number, text: string]>}
 */
async function put(url, body, token, onProgress, signal) {
  if (!globalThis.XMLHttpRequest) {
    const response = await fetch(url, { method: "POST", body, signal, headers: token ? { authorization: `Bearer ${token}` } : {} });
    onProgress?.({ loaded: body.size, total: body.size });
    return [response.status, await response.text()];
  }
  // The one way by which a browser tells how far it is.
  const request = new XMLHttpRequest();
  signal?.addEventListener("abort", () => request.abort());
  return new Promise((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => onProgress?.({ loaded, total });
    request.onload = () => resolve([request.status, request.responseText]);
    request.onerror = request.onabort = reject;
    request.open("POST", url);
    if (token) request.setRequestHeader("authorization", `Bearer ${token}`);
    if (signal?.aborted) reject();
    else request.send(body);
  });
}
