/**
 * A WebSocket client that remembers every frame. Waiting is by condition, never by time: a time-out is only the guard
 * that turns a hang into a failure which lists what did arrive.
 */
import { WebSocket } from "ws";
import { randomUUID } from "node:crypto";

const GUARD_MS = 30_000;

/** @typedef {Record<string, any> & {type: string}} Frame */
/** @typedef {string | Record<string, any> | ((frame: Frame) => boolean)} Match a type, some fields with their values, or a predicate */

export class Client {
  /** every text frame so far, parsed, in order of arrival @type {Frame[]} */
  frames = [];
  /** the same frames as the bytes they were @type {string[]} */
  raw = [];
  /** @type {{code: number, reason: string} | null} */
  closed = null;
  /** frames that no `next` has taken yet @type {Frame[]} */
  #unread = [];
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /**
   * @param {string} url
   * @param {import("ws").ClientOptions} [options] e.g. `{headers: {origin: "https://shop.example"}}`
   * @returns {Promise<Client>} rejects with a {@link HandshakeRefused} if the server answers anything but 101
   */
  static connect(url, options = {}) {
    const socket = new WebSocket(url, { handshakeTimeout: GUARD_MS, ...options });
    const client = new Client(socket);
    return new Promise((resolve, reject) => {
      socket.once("open", () => resolve(client));
      socket.once("error", reject);
      socket.once("unexpected-response", (_request, response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (text) => (body += text));
        response.on("end", () => reject(new HandshakeRefused(response, body)));
      });
    });
  }

  constructor(socket) {
    this.socket = socket;
    socket.on("message", (data, isBinary) => this.#arrived(data, isBinary));
    socket.on("close", (code, reason) => {
      this.closed = { code, reason: String(reason) };
      this.#wake();
    });
    // A reset connection shows as a close with 1006; without a listener the error would end the test process.
    socket.on("error", () => {});
  }

  #arrived(data, isBinary) {
    const text = String(data);
    const frame = isBinary ? { type: "(binary)", text } : JSON.parse(text);
    this.raw.push(text);
    this.frames.push(frame);
    this.#unread.push(frame);
    this.#wake();
  }

  #wake() {
    for (const check of [...this.#waiting]) check();
  }

  /** @param {Frame} event */
  send(event) {
    this.socket.send(JSON.stringify(event));
  }

  /** @param {string | Buffer} data @param {object} [options] of ws: `binary`, `fin` */
  sendRaw(data, options) {
    this.socket.send(data, options);
  }

  /**
   * Sends an event with an `id` of its own and takes the reply or error that carries it back as `replyTo`.
   * @param {Frame} event
   * @param {string} [type] the reply must be of this type; otherwise the failure shows what came
   * @returns {Promise<Frame>}
   */
  async ask(event, type) {
    const id = event.id ?? randomUUID();
    this.send({ ...event, id });
    const reply = await this.next((frame) => frame.replyTo === id);
    if (type && reply.type !== type) {
      throw new Error(`${event.type} was answered with ${brief(reply)}, expected ${type}`);
    }
    return reply;
  }

  /**
   * Takes the first unread frame that matches, waiting for it if needed; frames before it stay unread.
   * @param {Match} match
   * @param {number} [guardMs]
   * @returns {Promise<Frame>}
   */
  next(match, guardMs = GUARD_MS) {
    const matches = matcher(match);
    const take = () => {
      const at = this.#unread.findIndex(matches);
      return at < 0 ? undefined : this.#unread.splice(at, 1)[0];
    };
    return this.#until(take, `no frame like ${describeMatch(match)}`, guardMs);
  }

  /** Takes `count` matching frames, in order of arrival. @returns {Promise<Frame[]>} */
  async take(count, match, guardMs = GUARD_MS) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next(match, guardMs));
    return taken;
  }

  /** The unread frames that match. Meaningful only after a fence. @returns {Frame[]} */
  unread(match) {
    return this.#unread.filter(matcher(match));
  }

  /**
   * Proves that no unread frame matches *now*. Put a fence before it: whatever the server had to say before the fence's
   * reply has then arrived, as one connection is served in order.
   * @param {Match} match
   */
  expectNone(match) {
    const found = this.unread(match);
    if (found.length > 0) throw new Error(`not expected: ${found.map(brief).join(" ")}`);
  }

  /**
   * A round trip through the room, so that all it sent to this connection before has arrived. A ping is no such fence:
   * a host may answer it without asking the room.
   */
  async fence(roomId) {
    await this.ask({ type: "fetch-history", roomId, limit: 1 }, "message-history");
  }

  /** The same through a domain's visitors. In open mode this makes a connection that may observe an observer. */
  async domainFence(domainId) {
    await this.ask({ type: "get-domain-stats", domainId }, "domain-stats");
  }

  /** Waits until the server has closed the connection. @returns {Promise<{code: number, reason: string}>} */
  untilClosed(guardMs = GUARD_MS) {
    return this.#until(() => this.closed ?? undefined, "the connection was not closed", guardMs, true);
  }

  /** Closes with a close handshake, as a page that is left does. */
  async close() {
    this.socket.close(1000);
    await this.untilClosed();
  }

  /** Dies without a close frame, as a phone that loses its network does. */
  async die() {
    this.socket.terminate();
    await this.untilClosed();
  }

  #until(poll, sentence, guardMs, closedIsFine = false) {
    return new Promise((resolve, reject) => {
      const finish = (settle, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle(value);
      };
      const check = () => {
        const value = poll();
        if (value !== undefined) return finish(resolve, value);
        if (this.closed && !closedIsFine) {
          finish(reject, new Error(`${sentence}: closed with ${this.closed.code} ${this.closed.reason}; ${this.#transcript()}`));
        }
      };
      const timer = setTimeout(
        () => finish(reject, new Error(`${sentence} within ${guardMs} ms; ${this.#transcript()}`)),
        guardMs,
      );
      this.#waiting.add(check);
      check();
    });
  }

  #transcript() {
    const shown = this.raw.slice(-15).map((text) => `  ${clip(text)}`);
    return `${this.raw.length} frames had arrived, the last of them:\n${shown.join("\n")}`;
  }
}

export class HandshakeRefused extends Error {
  /** @param {import("node:http").IncomingMessage} response @param {string} body */
  constructor(response, body) {
    super(`handshake answered ${response.statusCode}: ${clip(body)}`);
    this.status = response.statusCode;
    this.headers = response.headers;
    this.body = body;
  }
}

/** @param {Match} match @returns {(frame: Frame) => boolean} */
function matcher(match) {
  if (typeof match === "function") return match;
  const fields = typeof match === "string" ? { type: match } : match;
  return (frame) => Object.entries(fields).every(([key, value]) => frame[key] === value);
}

function describeMatch(match) {
  return typeof match === "function" ? String(match) : JSON.stringify(match);
}

function brief(frame) {
  return clip(JSON.stringify(frame));
}

function clip(text) {
  return text.length > 400 ? `${text.slice(0, 400)}… (${text.length} characters)` : text;
}
