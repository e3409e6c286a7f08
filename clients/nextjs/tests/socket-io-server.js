/** A stock Socket.IO server that speaks the wire's events as the contract says, over what a fake server keeps of a room. */
import { createServer } from "node:http";
import { once } from "node:events";
import { Server } from "socket.io";
import { FakeServer } from "../../js/tests/support/fake-server.js";

/** Each Socket.IO connection is one of the fake server's, translated: it need not know. */
export class SocketIoServer extends FakeServer {
  static async start() {
    const server = new SocketIoServer();
    server.http = createServer((_request, response) => response.writeHead(404).end());
    server.io = new Server(server.http);
    server.io.on("connection", (socket) => server.#accept(socket));
    server.http.listen(0, "127.0.0.1");
    await once(server.http, "listening");
    server.url = `http://127.0.0.1:${server.http.address().port}`;
    return server;
  }

  /** @param {import("socket.io").Socket} socket */
  #accept(socket) {
    const translated = {
      get readyState() {
        return socket.connected ? 1 : 3;
      },
      send(text) {
        const { type, ...payload } = JSON.parse(text);
        socket.emit(type, payload);
      },
      terminate: () => socket.conn.close(),
      on() {},
      hear: undefined,
    };
    this.accept(Object.assign(translated, { on: (event, listener) => event === "message" && (translated.hear = listener) }));
    socket.onAny((type, payload) => translated.hear(JSON.stringify({ ...payload, type })));
  }

  async stop() {
    await this.io.close();
  }
}
