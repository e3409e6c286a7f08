/**
 * The stock Socket.IO client with the manners of `client.js`: every event is kept, waiting is by condition. An event looks
 * as its frame over `/ws` would, so that the same shapes and predicates hold both.
 */
import { randomUUID } from "node:crypto";
import { Agent } from "node:http";
import { io } from "socket.io-client";

const GUARD_MS = 30_000;

/** What a client may be told to use, by name. */
export const TRANSPORTS = { websocket: ["websocket"], polling: ["polling"], default: ["polling", "websocket"] };

/** @typedef {import("./client.js").Frame} Frame */

export class SocketIoClient {
  /** @type {Frame[]} */
  frames = [];
  /** offsets of the events that had one, in order @type {string[]} */
  offsets = [];
  /** @type {Frame[]} */
  #unread = [];
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /** @param {string} url @param {Partial<import("socket.io-client").ManagerOptions & import("socket.io-client").SocketOptions>} [options] */
  constructor(url, options = {}) {
    this.agent = new Agent({ keepAlive: false });
    this.socket = io(url, { forceNew: true, reconnection: false, agent: this.agent, ...options });
    this.socket.onAny((type, payload, offset) => this.#arrived({ type, ...payload }, offset));
    for (const type of ["connect", "connect_error", "disconnect"]) {
      this.socket.on(type, (detail) => this.#arrived({ type: `(${type})`, detail, recovered: this.socket.recovered }));
    }
  }

  /** Resolves once it is in the namespace. */
  static async connect(url, options) {
    const client = new SocketIoClient(url, options);
    const frame = await client.next((f) => f.type === "(connect)" || f.type === "(connect_error)");
    if (frame.type === "(connect)") return client;
    client.close();
    throw Object.assign(new Error(`refused: ${frame.detail.message}`), { cause: frame.detail });
  }

  #arrived(frame, offset) {
    this.frames.push(frame);
    if (typeof offset === "string") this.offsets.push(offset);
    this.#unread.push(frame);
    for (const check of [...this.#waiting]) check();
  }

  get transport() {
    return this.socket.io.engine?.transport.name;
  }

  /** @param {Frame} event */
  send({ type, ...payload }) {
    this.socket.emit(type, payload);
  }

  /** What the acknowledgement says. @param {Frame} event */
  ack({ type, ...payload }) {
    return this.socket.timeout(GUARD_MS).emitWithAck(type, payload);
  }

  /** As `Client.ask`: the reply that bears the event's `id`. */
  async ask(event, type) {
    const id = event.id ?? randomUUID();
    this.send({ ...event, id });
    const reply = await this.next((frame) => frame.replyTo === id);
    if (type && reply.type !== type) throw new Error(`${event.type} was answered with ${JSON.stringify(reply)}, expected ${type}`);
    return reply;
  }

  /** Takes the first unread event that matches, as `Client.next`. */
  next(match, guardMs = GUARD_MS) {
    const matches = matcher(match);
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle(value);
      };
      const check = () => {
        const at = this.#unread.findIndex(matches);
        if (at >= 0) finish(resolve, this.#unread.splice(at, 1)[0]);
      };
      const tail = () => this.frames.slice(-12).map((frame) => JSON.stringify(frame).slice(0, 300)).join("\n");
      const timer = setTimeout(() => finish(reject, new Error(`no event like ${typeof match === "function" ? match : JSON.stringify(match)} within ${guardMs} ms; ${this.frames.length} came, the last of them:\n${tail()}`)), guardMs);
      this.#waiting.add(check);
      check();
    });
  }

  async take(count, match, guardMs = GUARD_MS) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next(match, guardMs));
    return taken;
  }

  unread(match) {
    return this.#unread.filter(matcher(match));
  }

  expectNone(match) {
    const found = this.unread(match);
    if (found.length > 0) throw new Error(`not expected: ${found.map((frame) => JSON.stringify(frame)).join(" ")}`);
  }

  async fence(roomId) {
    await this.ask({ type: "fetch-history", roomId, limit: 1 }, "message-history");
  }

  /** Once the transport is a WebSocket. */
  async upgraded() {
    const { engine } = this.socket.io;
    if (engine.transport.name === "websocket") return;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no upgrade came")), GUARD_MS);
      engine.once("upgrade", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Dies without a goodbye, as a phone that loses its network does; what it knows of the session stays. */
  die() {
    const { engine } = this.socket.io;
    if (engine.transport.name === "websocket") engine.transport.ws.terminate();
    else {
      // The stock client would still say goodbye in a request of its own, which a network that is gone does not carry.
      engine.transport.doClose = () => {};
      this.agent.destroy();
    }
  }

  /** The same, until it has noticed. */
  async lose(guardMs = 30_000) {
    // Between two requests that poll there is nothing to cut.
    const cutting = setInterval(() => this.die(), 20);
    this.die();
    await this.next("(disconnect)", guardMs).finally(() => clearInterval(cutting));
  }

  /** Reads no more, until told to. */
  stall() {
    const { transport } = this.socket.io.engine;
    if (transport.name === "websocket") transport.ws.pause();
    else transport._poll = () => {};
  }

  resume() {
    const { transport } = this.socket.io.engine;
    if (transport.name === "websocket") return transport.ws.resume();
    delete transport._poll;
    transport._poll();
  }

  close() {
    this.socket.close();
  }
}

function matcher(match) {
  if (typeof match === "function") return match;
  const fields = typeof match === "string" ? { type: match } : match;
  return (frame) => Object.entries(fields).every(([key, value]) => frame[key] === value);
}
