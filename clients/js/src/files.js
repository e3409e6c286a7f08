/** Files, put where the server keeps them. */
import { httpOf } from "./connection.js";
import { WeeziqError } from "./errors.js";

/** @import { Connection } from "./connection.js" */

/**
 * @typedef {{key: string, url: string, name: string, size: number, contentType: string}} Uploaded fits into `attachments`; `url` is absolute
 *
 * @typedef {object} Uploading
 * @property {string} [name] without one, the file's own
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
async function upload({ url, token }, file, { name = file.name ?? "file", onProgress, signal } = {}) {
  if (file.size > FILE_BYTES_MAX) throw new WeeziqError("too_large");
  const target = new URL(`files?name=${encodeURIComponent(name)}`, httpOf(url));
  /** @type {Record<string, string>} */
  const headers = { "content-type": file.type || "application/octet-stream" };
  if (token) headers.authorization = `Bearer ${token}`;
  const [status, text] = await put(target.href, file, headers, onProgress, signal).catch((cause) => {
    throw new WeeziqError(signal?.aborted ? "aborted" : "unreachable", String(cause), { cause });
  });
  /** @type {any} */
  let reply = {};
  try {
    reply = JSON.parse(text) ?? reply;
  } catch {
    // Something between us and the server has answered.
  }
  if (status === 201 && reply.url) return { ...reply, url: new URL(reply.url, target).href };
  throw new WeeziqError(reply.code ?? (status === 404 ? "not_found" : "bad_frame"), reply.error ?? `answered with ${status}`, reply);
}

/**
 * @param {string} url @param {Blob} body @param {Record<string, string>} headers @param {Uploading["onProgress"]} onProgress
 * @param {AbortSignal} [signal]
 * @returns {Promise<[status: number, text: string]>}
 */
async function put(url, body, headers, onProgress = () => {}, signal) {
  if (!globalThis.XMLHttpRequest) {
    const response = await fetch(url, { method: "POST", body, headers, signal });
    onProgress({ loaded: body.size, total: body.size });
    return [response.status, await response.text()];
  }
  // The one way by which a browser tells how far it is.
  const request = new XMLHttpRequest();
  signal?.addEventListener("abort", () => request.abort());
  return new Promise((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => onProgress({ loaded, total });
    request.onload = () => resolve([request.status, request.responseText]);
    request.onerror = request.onabort = reject;
    request.open("POST", url);
    for (const name in headers) request.setRequestHeader(name, headers[name] ?? "");
    if (signal?.aborted) reject();
    else request.send(body);
  });
}
