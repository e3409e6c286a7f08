/**
 * WeeziQ by the calls of the file that this takes the place of: over Socket.IO in development, over WebSocket otherwise.
 *
 * In development the address is `NEXT_PUBLIC_SOCKET_URL`, else `NEXT_PUBLIC_WS_URL` with or without `/ws`, else
 * `http://localhost:8787`.
 */
import { io, type Socket } from "socket.io-client";
import cloudflareSocketClient, { SocketClient, webSocketUrl, type Opened } from "./cloudflareSocketClient";

type Closed = { code: number; reason: string };

const ABNORMAL_CLOSURE = 1006;

/** Looks like a WebSocket: an event is a frame whose `type` is its name. */
class SocketIoWire {
  onopen: (() => void) | undefined;
  onmessage: ((event: { data: string }) => void) | undefined;
  onclose: ((event: Closed) => void) | null = null;
  #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    const closed = (reason: string) => {
      const tell = this.onclose;
      this.onclose = null;
      tell?.({ code: ABNORMAL_CLOSURE, reason });
    };
    socket.on("connect", () => this.onopen?.());
    socket.on("connect_error", (error) => closed(error.message));
    socket.on("disconnect", closed);
    // The end of a connection that was never open is kept quiet by all but the engine.
    socket.io.engine.on("close", closed);
    socket.onAny((type: string, payload: object) => this.onmessage?.({ data: JSON.stringify({ ...payload, type }) }));
  }

  send(text: string) {
    const { type, ...payload } = JSON.parse(text);
    this.#socket.emit(type, payload);
  }

  close() {
    this.#socket.disconnect();
  }
}

function openSocketIo(url: string): Opened<Socket> {
  // Coming back is the client's work: it knows where each room was. A path would be taken for a namespace.
  const socket = io(new URL(url).origin, { transports: ["websocket", "polling"], reconnection: false, forceNew: true });
  return { wire: new SocketIoWire(socket), socket };
}

const overSocketIo = () => new SocketClient(openSocketIo, () => webSocketUrl(process.env.NEXT_PUBLIC_SOCKET_URL || process.env.NEXT_PUBLIC_WS_URL || "http://localhost:8787"));

const socketClient: SocketClient<Socket> | SocketClient<WebSocket> = process.env.NODE_ENV === "development" ? overSocketIo() : cloudflareSocketClient;

export default socketClient;
