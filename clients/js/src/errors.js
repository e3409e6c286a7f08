/** Everything that goes wrong has one shape and a code to branch on. */

/**
 * The server's own codes, or one of ours:
 *
 * | code | means |
 * |---|---|
 * | `invalid_url` | what `connect` was given names no server |
 * | `no_websocket` | this runtime has no `WebSocket` and none was given |
 * | `unreachable` | nobody answers |
 * | `refused` | somebody answers, but not to a WebSocket: the origin is not allowed, the token is bad, or the address is wrong |
 * | `lost` | the connection ended; `closeCode` says how |
 * | `silent` | it did not end, but nothing came through it any more |
 * | `bad_frame` | what came is not an event |
 * | `timeout` | no answer within the deadline |
 * | `interrupted` | the connection ended between request and answer, and asking twice would not be the same as once |
 * | `closed` | `close` or `leave` was called |
 * | `queue_full` | more messages wait than `queueMax` |
 * | `storage` | the storage of the offline queue failed; what it should have kept is only in memory |
 * | `aborted` | the caller's signal |
 * | `callback` | a listener threw; `cause` is what it threw |
 *
 * @typedef {"invalid_json" | "invalid_request" | "unknown_type" | "too_large" | "unauthorized" | "forbidden" | "not_found"
 *   | "rate_limited" | "unsupported_model" | "ai_unavailable" | "ai_timeout" | "ai_content_filtered" | "unavailable" | "internal"
 *   | "invalid_url" | "no_websocket" | "unreachable" | "refused" | "lost" | "silent" | "bad_frame" | "timeout" | "interrupted"
 *   | "closed" | "queue_full" | "storage" | "aborted" | "callback"} ErrorCode
 */

export class WeeziqError extends Error {
  /** @override */
  name = "WeeziqError";

  /**
   * @param {ErrorCode} code
   * @param {string} [message]
   * @param {{cause?: unknown, retryAfterMs?: number, closeCode?: number, [more: string]: unknown}} [more]
   */
  constructor(code, message, more = {}) {
    super(message ?? code, more);
    this.code = code;
    /** when the server says that trying again may help, in milliseconds */
    this.retryAfterMs = more.retryAfterMs;
    /** of the WebSocket, with `lost` */
    this.closeCode = more.closeCode;
  }
}

/** What something else threw, as an error of ours. @param {ErrorCode} code @param {unknown} cause */
export const wrapped = (code, cause) => new WeeziqError(code, String(cause), { cause });

/** A server that is busy says these; the same request may do later. @param {WeeziqError} error */
export const isPassing = ({ code }) => /^(rate_limited|unavailable|interrupted|timeout|bad_frame|unauthorized)$/.test(code);

/** When to try again what was refused for a while. Jitter, or all who were refused come back together. @param {WeeziqError | null} error */
export const againInMs = (error) => (error?.retryAfterMs ?? 1_000) * (1 + Math.random());

/**
 * A promise and what settles it. A rejection that nobody waits for must not end a process.
 * @template T
 * @returns {{promise: Promise<T>, resolve: (value: T) => void, reject: (error: WeeziqError) => void}}
 */
export function deferred() {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {});
  return made;
}
