/** A WebSocket for Node 20, as much of one as this library uses: text frames, RFC 6455, no extensions. */
import { createHash, randomBytes } from "node:crypto";
import { request as plain } from "node:http";
import { request as secure } from "node:https";

/** RFC 6455, section 1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/** Larger than any answer of the server: 200 messages of 16 KiB, each byte of them escaped. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
const CLOSED_WITHIN_MS = 5_000;
const CONTINUATION = 0;
const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

export class NodeWebSocket {
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: {data: string}) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;
  /** @type {((event: any) => void) | null} */
  onerror = null;
  /** @type {import("node:stream").Duplex | undefined} */
  #socket;
  #request;
  /** @type {Buffer} */
  #unread = Buffer.alloc(0);
  /** @type {Buffer[]} */
  #fragments = [];
  #bytes = 0;
  #isClosing = false;
  #end = { code: 1006, reason: "" };
  #isOver = false;

  /** @param {string} url */
  constructor(url) {
    const key = randomBytes(16).toString("base64");
    const accept = createHash("sha1").update(key + GUID).digest("base64");
    const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": key };
    const target = new URL(url.replace("ws", "http"));
    this.#request = (target.protocol === "https:" ? secure : plain)(target, { headers, agent: false });
    this.#request.on("upgrade", (response, socket, head) => {
      if (this.#isOver || response.headers["sec-websocket-accept"] !== accept) return socket.destroy(), this.#over();
      this.#opened(socket, head);
    });
    this.#request.on("response", (response) => (response.resume(), this.#over()));
    this.#request.on("error", () => this.#over());
    this.#request.end();
  }

  /** @param {string} text */
  send(text) {
    this.#write(TEXT, Buffer.from(text));
  }

  close(code = 1000) {
    if (!this.#socket) return this.#request.destroy(), this.#over();
    this.#sayGoodbye(code);
  }

  /** @param {import("node:stream").Duplex} socket @param {Buffer} head */
  #opened(socket, head) {
    this.#socket = socket;
    /** @type {any} */ (socket).setNoDelay?.(true);
    socket.on("error", () => {});
    socket.on("close", () => this.#over());
    socket.on("end", () => socket.end());
    this.onopen?.({});
    socket.on("data", (bytes) => this.#read(bytes));
    if (head.length) this.#read(head);
  }

  /** @param {Buffer} bytes */
  #read(bytes) {
    this.#unread = this.#unread.length ? Buffer.concat([this.#unread, bytes]) : bytes;
    for (let frame; !this.#isOver && (frame = this.#take()); ) this.#frame(frame);
  }

  /** The next whole frame, if it is there. @returns {{isLast: boolean, kind: number, payload: Buffer} | undefined} */
  #take() {
    const { length } = this.#unread;
    if (length < 2) return;
    const [first, second] = [this.#unread.readUInt8(0), this.#unread.readUInt8(1)];
    const kind = first & 15;
    // No extension was agreed on, and a server does not mask.
    if (first & 0x70 || second & 0x80) return this.#fail(1002);
    if (kind >= CLOSE && (second > 125 || !(first & 0x80))) return this.#fail(1002);
    const start = second < 126 ? 2 : second === 126 ? 4 : 10;
    if (length < start) return;
    const size = second < 126 ? second : second === 126 ? this.#unread.readUInt16BE(2) : Number(this.#unread.readBigUInt64BE(2));
    if (size + this.#bytes > MESSAGE_BYTES_MAX) return this.#fail(1009);
    if (length < start + size) return;
    const payload = this.#unread.subarray(start, start + size);
    this.#unread = this.#unread.subarray(start + size);
    return { isLast: first >= 0x80, kind, payload };
  }

  /** @param {{isLast: boolean, kind: number, payload: Buffer}} frame */
  #frame({ isLast, kind, payload }) {
    if (kind === PING) return this.#write(PONG, payload);
    if (kind === PONG) return;
    if (kind === CLOSE) {
      this.#end = payload.length < 2 ? { code: 1005, reason: "" } : { code: payload.readUInt16BE(0), reason: payload.toString("utf8", 2) };
      this.#sayGoodbye(payload.length < 2 ? 1000 : this.#end.code);
      return void this.#socket?.end();
    }
    const isFirst = this.#fragments.length === 0;
    // Binary is never sent to us; whoever does is no server of ours.
    if (kind !== (isFirst ? TEXT : CONTINUATION)) return this.#fail(1002);
    this.#fragments.push(payload);
    this.#bytes += payload.length;
    if (!isLast) return;
    const whole = this.#fragments.length === 1 ? payload : Buffer.concat(this.#fragments);
    [this.#fragments, this.#bytes] = [[], 0];
    let data;
    try {
      data = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(whole);
    } catch {
      return this.#fail(1007);
    }
    if (!this.#isClosing) this.onmessage?.({ data });
  }

  /** @param {number} kind @param {Buffer} payload */
  #write(kind, payload) {
    if (!this.#socket?.writable || this.#isClosing) return;
    const { length } = payload;
    const mask = randomBytes(4);
    const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
    head.writeUInt8(0x80 | kind, 0);
    if (length < 126) head.writeUInt8(0x80 | length, 1);
    else if (length < 65_536) head.writeUInt8(0x80 | 126, 1), head.writeUInt16BE(length, 2);
    else head.writeUInt8(0x80 | 127, 1), head.writeBigUInt64BE(BigInt(length), 2);
    const masked = payload.map((byte, at) => byte ^ /** @type {number} */ (mask[at & 3]));
    this.#socket.write(Buffer.concat([head, mask, masked]));
  }

  /** @param {number} code */
  #sayGoodbye(code) {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code, 0);
    this.#write(CLOSE, payload);
    this.#isClosing = true;
    // A peer that does not hang up is not waited for.
    setTimeout(() => this.#socket?.destroy(), CLOSED_WITHIN_MS).unref();
  }

  /** @param {number} code @returns {undefined} */
  #fail(code) {
    this.#sayGoodbye(code);
    this.#end = { code, reason: "" };
    this.#socket?.destroy();
    this.#over();
  }

  #over() {
    if (this.#isOver) return;
    this.#isOver = true;
    // Never within a call of its owner.
    queueMicrotask(() => {
      if (this.#end.code === 1006) this.onerror?.({});
      this.onclose?.(this.#end);
    });
  }
}
