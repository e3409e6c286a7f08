/**
 * A server over real sockets that does what a test wants of it, and otherwise keeps a room's log as the real one does: for what no
 * healthy server would do, and for what this release of the real one cannot do yet.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { seen } from "./seen.js";

/** @typedef {(frame: any, reply: (frame: object) => void, socket: import("ws").WebSocket) => void} Answer */

export class FakeServer {
  /** what came, in order, each with its `socket` */
  frames = seen();
  /** every connection so far */
  sockets = seen();
  /** the paths of handshakes @type {string[]} */
  paths = [];
  /** how often it was asked whether it is there, by HTTP */
  probes = 0;
  /** by type, instead of what it would do by itself @type {Record<string, Answer>} */
  answers = {};
  /** 101 lets in @type {() => number} */
  admits = () => 101;
  epoch = "epoch-1";
  /** @type {any[]} */
  log = [];
  #raw = new Set();

  /** @param {Record<string, Answer>} [answers] @param {number} [port] */
  static async start(answers = {}, port = 0) {
    const server = new FakeServer();
    server.answers = answers;
    server.http = createServer((request, response) => {
      server.probes += 1;
      response.writeHead(request.url === "/healthz" ? 200 : 404).end();
    });
    server.http.on("connection", (socket) => server.#raw.add(socket));
    const sockets = new WebSocketServer({ noServer: true });
    server.http.on("upgrade", (request, socket, head) => {
      server.paths.push(request.url);
      const status = server.admits();
      if (status === 0) return;
      if (status !== 101) return socket.end(`HTTP/1.1 ${status} No\r\nConnection: close\r\n\r\n`);
      sockets.handleUpgrade(request, socket, head, (accepted) => server.accept(accepted));
    });
    server.http.listen(port, "127.0.0.1");
    await once(server.http, "listening");
    server.port = server.http.address().port;
    server.url = `ws://127.0.0.1:${server.port}/ws`;
    return server;
  }

  accept(socket) {
    socket.on("error", () => {});
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data));
      const reply = (answer) => socket.send(JSON.stringify({ ...answer, replyTo: frame.id }));
      // Before the test hears of it, so that what the test does comes after.
      (this.answers[frame.type] ?? BY_ITSELF[frame.type])?.call(this, frame, reply, socket);
      this.frames.add(Object.assign(frame, { socket }));
    });
    this.sockets.add(socket);
  }

  /** To everybody. @param {object | string} frame */
  tell(frame) {
    for (const socket of this.sockets.all) if (socket.readyState === 1) socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** What the log has of a room, which counts for itself. @param {string} roomId */
  of(roomId) {
    return this.log.filter((frame) => frame.roomId === roomId);
  }

  /** Into the log, and to everybody. @param {string} message */
  say(message, { roomId = "room", ...more } = {}) {
    const seq = this.of(roomId).length + 1;
    const frame = { type: "new-message", roomId, id: `${this.epoch}-${seq}`, seq, message, userId: "bob", userName: "Bob", role: "user", ...more };
    this.log.push(frame);
    this.tell(frame);
    return frame;
  }

  /** All connections die, as if the network had. */
  cut() {
    for (const socket of this.sockets.all) socket.terminate();
  }

  async stop() {
    for (const socket of this.#raw) socket.destroy();
    await new Promise((resolve) => this.http.close(resolve));
  }
}

const REPLAYED_MAX = 1_000;

/** @type {Record<string, (this: FakeServer, ...of: Parameters<Answer>) => void>} */
const BY_ITSELF = {
  ping: (_frame, _reply, socket) => socket.send('{"type":"pong"}'),
  "join-room"({ roomId, epoch, lastSeq }, reply, socket) {
    const log = this.of(roomId);
    const seq = log.length;
    const resumed = epoch === this.epoch && lastSeq <= seq && seq - lastSeq <= REPLAYED_MAX;
    reply({ type: "joined-room", roomId, success: true, epoch: this.epoch, seq, resumed, liveAgent: false });
    if (resumed) for (const frame of log.slice(lastSeq)) socket.send(JSON.stringify(frame));
    else if (seq > 0 || epoch) socket.send(JSON.stringify({ type: "message-history", roomId, messages: messagesOf(log).slice(-50), hasMore: seq > 50 }));
  },
  "send-message"({ roomId, message, clientMessageId }, reply) {
    const known = this.log.find((frame) => frame.clientMessageId === clientMessageId);
    const { id, seq } = known ?? this.say(message, { roomId, clientMessageId });
    reply({ type: "message-sent", success: true, id, roomId, seq, clientMessageId, ...(known ? { duplicate: true } : {}) });
  },
  "fetch-history"({ roomId, afterSeq = 0, limit = 50 }, reply) {
    const after = messagesOf(this.of(roomId)).filter(({ seq }) => seq > afterSeq);
    reply({ type: "message-history", roomId, messages: after.slice(0, limit), hasMore: after.length > limit });
  },
};

const messagesOf = (log) => log.filter(({ type }) => type === "new-message").map(({ type, ...message }) => message);
