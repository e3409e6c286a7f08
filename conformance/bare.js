/** A bare TCP connection, for what no client library would send. */
import { connect } from "node:net";

const GUARD_MS = 60_000;

/** @param {string} baseUrl @returns {Promise<Bare>} */
export async function bare(baseUrl) {
  const { hostname, port } = new URL(baseUrl);
  const socket = connect(Number(port), hostname);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return new Bare(socket);
}

export class Bare {
  /** all that came, as latin-1 */
  received = "";
  isClosed = false;

  /** @param {import("node:net").Socket} socket */
  constructor(socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding("latin1");
    socket.on("data", (text) => (this.received += text));
    // Whoever is cut off in the middle of a word sees a reset.
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.isClosed = true;
        resolve(undefined);
      });
    });
  }

  /** @param {string | Buffer} data */
  write(data) {
    if (this.socket.writable) this.socket.write(data);
  }

  /** Waits until the other side has ended it. @returns {Promise<string>} all that came */
  async untilClosed() {
    let guard;
    const late = new Promise((_, reject) => {
      guard = setTimeout(() => reject(new Error(`not let go within ${GUARD_MS} ms; it was sent ${JSON.stringify(this.received)}`)), GUARD_MS);
    });
    await Promise.race([this.closed, late]).finally(() => clearTimeout(guard));
    return this.received;
  }

  /** Waits for a piece of text. @param {RegExp} pattern */
  async untilReceived(pattern) {
    while (!pattern.test(this.received)) {
      if (this.isClosed) throw new Error(`closed before ${pattern} came; it was sent ${JSON.stringify(this.received)}`);
      await Promise.race([new Promise((resolve) => this.socket.once("data", resolve)), this.untilClosed()]);
    }
    return this.received;
  }

  destroy() {
    this.socket.destroy();
  }
}
