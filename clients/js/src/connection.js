/** One WebSocket that comes back. */
import { emitter } from "./emitter.js";
import { WeeziqError, wrapped } from "./errors.js";
import { requests } from "./requests.js";

/** @import { On } from "./emitter.js" */
/** @import { How, Settle } from "./requests.js" */
/** @import { AllDomainStats, Frame, VisitorActivity, VisitorJoined, VisitorLeft } from "./wire.js" */

/**
 * @typedef {object} Options
 * @property {string | (() => string | undefined | Promise<string | undefined>)} [token] a function is asked before each connection,
 *   so a token that expires is replaced by whatever it then returns
 * @property {import("./storage.js").Storage} [storage] keeps what is not sent yet over a reload, e.g. `indexedDbStorage()`
 * @property {number} [queueMax] unsent messages a room, 1,000 if not given; the next one is refused with `queue_full`
 * @property {{minMs?: number, maxMs?: number}} [backoff] 500, 30,000; after the server closed for abuse twice the most
 * @property {number} [heartbeatMs] silence after which the server is asked whether it lives, 20,000
 * @property {number} [deadlineMs] how long any answer may take, 15,000
 * @property {new (url: string) => any} [WebSocket] another implementation
 *
 * @typedef {"connecting" | "open" | "waiting" | "closed"} State
 * @typedef {object} Status
 * @property {State} state
 * @property {number} [attempt] how many times in a row it failed, with `waiting`
 * @property {number} [retryInMs] with `waiting`
 * @property {WeeziqError} [error] why it waits, or is closed
 *
 * @typedef {object} ConnectionEvents
 * @property {Status} status
 * @property {WeeziqError} error what no caller waits for; on the console if nobody listens
 * @property {Frame} frame each event of the server, known or not
 * @property {VisitorJoined} visitor-joined-domain
 * @property {VisitorLeft} visitor-left-domain
 * @property {VisitorActivity} visitor-activity
 * @property {AllDomainStats} all-domain-stats
 * @property {{roomId: string, customerId: string, customerName: string, domainId?: string, timestamp: string}} customer-joined-room
 */

/**
 * What rooms, the AI, visitors and files work with.
 * @typedef {object} Connection
 * @property {State} state
 * @property {URL} url the server's WebSocket, without the token
 * @property {string | undefined} token of this connection
 * @property {Options} options
 * @property {On<ConnectionEvents>} on
 * @property {(error: WeeziqError) => void} failed
 * @property {(frame: Frame) => boolean} send false: not connected, nothing was sent. Throws if it is too large
 * @property {(frame: Frame, settle: Settle, how?: How) => () => void} ask the end is heard at once, before any later frame
 * @property {(frame: Frame, how?: How) => Promise<any>} request the reply, or a {@link WeeziqError}; the door to whatever has no
 *   method here
 * @property {(error: WeeziqError) => void} drop gives this connection up for the next one
 * @property {() => void} wake no more waiting: tries at once, or asks a silent server whether it is there. A server's own hint is kept to
 * @property {(error?: WeeziqError) => void} close for good. What was not answered is refused with `closed`, or with why; what is
 *   stored stays so
 */

const ABUSE = 1008;

/** @param {string | URL} address @param {Options} [options] @returns {Connection} */
export function openConnection(address, options = {}) {
  const { token, backoff = {}, heartbeatMs = 20_000, deadlineMs = 15_000, WebSocket = globalThis.WebSocket } = options;
  const { on, emit, failed } = emitter(console.error);
  const url = parse(address);
  if (!WebSocket) throw new WeeziqError("no_websocket");

  /** @type {any} */
  let socket;
  /** What an earlier attempt still reports is not heard. */
  let attempts = 0;
  let failures = 0;
  let hasAnswered = false;
  let isHeard = false;
  let isHinted = false;
  /** for the next attempt, the handshake, or the heartbeat: one of them at a time @type {any} */
  let timer;
  const ended = new AbortController();

  /** @param {Status} status */
  const change = (status) => {
    connection.state = status.state;
    emit("status", status);
  };

  const { settle, flush, interrupt, refuse, ...asking } = requests((text) => {
    if (connection.state !== "open") return false;
    socket.send(text);
    return true;
  }, deadlineMs);

  /** @param {() => void} then @param {number} ms */
  const after = (then, ms) => {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
  };

  const hangUp = () => {
    attempts += 1;
    socket?.close();
    socket = undefined;
  };

  /** @param {WeeziqError} error @param {string} [hintMs] */
  const drop = (error, hintMs = "0") => {
    if (/closed|waiting/.test(connection.state)) return;
    const { minMs = 500, maxMs = 30_000 } = backoff;
    hangUp();
    failures = Math.min(failures + 1, hasAnswered ? 2 : 16);
    hasAnswered = false;
    const leastMs = error.closeCode === ABUSE ? 2 * maxMs : +hintMs;
    isHinted = leastMs > 0;
    // Jitter, also over a hint: the visitors of a site must not all come back in the same instant.
    const spreadMs = (leastMs || Math.min(maxMs, minMs * 2 ** failures)) / 2;
    const retryInMs = (leastMs || spreadMs) + Math.random() * spreadMs;
    after(connectNow, retryInMs);
    // Nothing of this is answered any more; a listener may ask anew, which is then another request.
    connection.state = "waiting";
    interrupt(error);
    change({ state: "waiting", attempt: failures, retryInMs, error });
  };

  const connectNow = async () => {
    if (connection.state !== "waiting") return;
    const attempt = (attempts += 1);
    const isCurrent = () => attempt === attempts;
    after(() => drop(new WeeziqError("unreachable", url.href)), deadlineMs);
    change({ state: "connecting" });
    /** @type {import("./errors.js").ErrorCode} */
    let blame = "unauthorized";
    try {
      connection.token = typeof token === "function" ? await token() : token;
      if (!isCurrent()) return;
      blame = "unreachable";
      const target = new URL(url);
      if (connection.token) target.searchParams.set("token", connection.token);
      socket = new WebSocket(target.href);
    } catch (cause) {
      if (isCurrent()) drop(wrapped(blame, cause));
      return;
    }
    socket.onopen = () => isCurrent() && opened();
    socket.onmessage = (/** @type {{data: string}} */ { data }) => isCurrent() && received(data);
    const gone = async (/** @type {{code: number, reason: string}} */ { code: closeCode, reason }) => {
      if (!isCurrent()) return;
      socket.onclose = null;
      if (connection.state === "open") {
        const hint = /retryAfterMs=(\d+)/.exec(reason);
        return drop(new WeeziqError("lost", `${closeCode} ${reason}`, { closeCode }), hint?.[1]);
      }
      const code = (await answers(new URL("healthz", httpOf(url)), deadlineMs)) ? "refused" : "unreachable";
      if (isCurrent()) drop(new WeeziqError(code, url.href));
    };
    // Node 22 says of a handshake that failed nothing else. Unheard it would end a process.
    socket.onerror = (/** @type {any} */ event) => connection.state !== "open" && gone(event);
    socket.onclose = gone;
  };

  const opened = () => {
    listen();
    change({ state: "open" });
    flush();
  };

  const received = (/** @type {string} */ data) => {
    isHeard = true;
    /** @type {Frame} */
    let frame;
    try {
      frame = JSON.parse(data);
      // Also of null, which has none.
      frame.type.length;
    } catch (cause) {
      return failed(new WeeziqError("bad_frame", data, { cause }));
    }
    const { type, replyTo } = frame;
    if (type !== "error") {
      emit("frame", frame);
      // That name is not the server's to use.
      if (type !== "status") emit(type, frame);
      if (settle(replyTo, null, frame)) hasAnswered = true;
      return;
    }
    const error = new WeeziqError(frame.code, frame.message, frame);
    if (!settle(replyTo, error)) failed(error);
    if (error.code !== "unauthorized") return;
    // Expired while connected: the next connection asks for a new one. One that is no better has to wait longer, and one that
    // cannot become any better is no reason to come back.
    hasAnswered = false;
    if (typeof token === "string") connection.close(error);
    else drop(error);
  };

  /** Silence is checked, not each frame timed: a busy connection costs one timer in twenty seconds. */
  const listen = () => {
    isHeard = false;
    after(() => {
      // So long alive, it owes nothing to the failures before it.
      failures = 0;
      if (isHeard) listen();
      else probe();
    }, heartbeatMs);
  };

  const probe = () => {
    isHeard = false;
    asking.send({ type: "ping" });
    after(() => (isHeard ? listen() : drop(new WeeziqError("silent"))), deadlineMs);
  };

  const wake = () => {
    if (connection.state === "open") probe();
    else if (!isHinted) connectNow();
  };

  /** @type {Connection} */
  const connection = {
    state: "waiting",
    url,
    token: undefined,
    options,
    on,
    failed,
    drop,
    wake,
    ...asking,
    close(error = new WeeziqError("closed")) {
      if (connection.state === "closed") return;
      clearTimeout(timer);
      ended.abort();
      hangUp();
      change({ state: "closed", error });
      refuse(error);
    },
  };
  watchPage(wake, ended.signal);
  // Whoever made this wants to listen first.
  queueMicrotask(connectNow);
  return connection;
}

/** @param {string | URL} address */
function parse(address) {
  try {
    const url = new URL(address, globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (!/^ws/.test(url.protocol)) throw url.protocol;
    if (url.pathname === "/") url.pathname = "/ws";
    return url;
  } catch (cause) {
    throw new WeeziqError("invalid_url", `${address}`, { cause });
  }
}

/** Where the same server is asked by HTTP. @param {URL} url */
export const httpOf = ({ href }) => href.replace("ws", "http");

/**
 * A browser tells nobody why a handshake failed. Whether anybody is there can be asked, without reading the answer.
 * @param {URL} url @param {number} ms
 */
const answers = (url, ms) =>
  fetch(url, { method: "HEAD", mode: "no-cors", signal: AbortSignal.timeout(ms) }).then(
    () => true,
    () => false,
  );

/**
 * What the page and its machine say: waiting any longer is pointless, or a silent connection may be dead.
 * @param {() => void} wake @param {AbortSignal} signal
 */
function watchPage(wake, signal) {
  const { document, navigator } = globalThis;
  const how = { signal };
  // Not everywhere where there is an addEventListener are there such events: a Cloudflare Worker has none.
  if (navigator && "onLine" in navigator) addEventListener("online", wake, how);
  document?.addEventListener("visibilitychange", () => document.hidden || wake(), how);
}
