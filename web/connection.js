/** A plain WebSocket, as any page could open it, that comes back; and the list of the frames that it carries. */
import { atEnd, clock, element, part, write } from "./dom.js";

/** @import { State } from "./dom.js" */

/** @typedef {Record<string, any> & {type: string}} Frame one event of the wire */
/** @typedef {Record<string, (frame: Frame) => void>} Hears what to do with each type of frame; others are left */
/** @typedef {{id: string, name: string}} Guest the one that this window speaks for */
/**
 * @typedef {object} Owner
 * @property {() => void} opened on each connection anew: whatever was said before has to be said again
 * @property {(frame: Frame) => void} received
 * @property {(state: State, sentence: string) => void} changed
 */

export const DOMAIN = location.host;
const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 20_000;
/** A page cannot see the server's pings, so it asks by itself whether a silent connection still lives. */
const SILENCE_MS_MAX = 20_000;
const PONG_WITHIN_MS = 8_000;
const FRAMES_SHOWN_MAX = 200;
const FRAME_CHARS_SHOWN_MAX = 1_200;

/** Not `crypto.randomUUID`: that one is missing where the page came over plain HTTP from another machine. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function socketAddress() {
  const address = new URL("/ws", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return address.href;
}

/** A WebSocket that comes back. */
export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  #failures = 0;
  #retry = 0;
  #watch = 0;

  /** @param {"page" | "watch"} name @param {Owner} owner */
  constructor(name, owner) {
    this.name = name;
    this.owner = owner;
    const retryNow = () => this.#socket || this.connect();
    // Both say that waiting any longer is pointless.
    addEventListener("online", retryNow);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && retryNow());
  }

  connect() {
    clearTimeout(this.#retry);
    this.owner.changed("waiting", this.#failures ? "Connecting again …" : "Connecting …");
    const socket = new WebSocket(socketAddress());
    this.#socket = socket;
    // A socket that was given up can still report; its successor must not hear of it.
    const isCurrent = () => this.#socket === socket;
    socket.addEventListener("open", () => isCurrent() && this.#opened());
    socket.addEventListener("message", ({ data }) => isCurrent() && this.#received(String(data)));
    socket.addEventListener("close", () => isCurrent() && this.#lost());
  }

  /** @param {Frame} frame @returns {boolean} false: not connected, nothing was sent */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    logFrame(this.name, frame, text, true);
    return true;
  }

  #opened() {
    this.owner.changed("good", "Connected");
    this.#expectLife();
    this.owner.opened();
  }

  /** @param {string} text */
  #received(text) {
    // Only now: a server that accepts and at once hangs up must not be stormed.
    this.#failures = 0;
    this.#expectLife();
    const frame = /** @type {Frame} */ (JSON.parse(text));
    logFrame(this.name, frame, text, false);
    this.owner.received(frame);
  }

  #expectLife() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.send({ type: "ping" });
      this.#watch = setTimeout(() => this.#lost(), PONG_WITHIN_MS);
    }, SILENCE_MS_MAX);
  }

  #lost() {
    clearTimeout(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    const ceilingMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** this.#failures++);
    // Jitter: after a restart the visitors of a site must not all come back in the same instant.
    const delayMs = (ceilingMs * (1 + Math.random())) / 2;
    this.#retry = setTimeout(() => this.connect(), delayMs);
    this.owner.changed("bad", `Connection lost, next try in ${Math.ceil(delayMs / 1000)} s`);
  }
}

let framesPassed = 0;

/** @param {"page" | "watch"} socket @param {Frame} frame @param {string} text @param {boolean} isSent */
function logFrame(socket, frame, text, isSent) {
  const list = part("wire-frames", HTMLElement);
  const cut = text.length > FRAME_CHARS_SHOWN_MAX ? `${text.slice(0, FRAME_CHARS_SHOWN_MAX)} …` : text;
  const time = element("time", "", clock(new Date().toISOString(), "2-digit"));
  const way = isSent ? element("span", "way way-sent", "sent") : element("span", "way way-received", "received");
  const line = element("li", "", time, way, element("span", "socket", socket), element("span", "text", cut));
  atEnd(list, () => list.append(line));
  if (list.childElementCount > FRAMES_SHOWN_MAX) list.firstElementChild?.remove();
  write("wire-count", String((framesPassed += 1)));
  const place = frame.index ?? frame.seq ?? "";
  write(`${socket}-pulse`, `${isSent ? "→" : "←"} ${frame.type} ${place}`);
}
