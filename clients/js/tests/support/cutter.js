/** A TCP proxy that cuts connections after so many bytes, anywhere in a frame. Its seed decides; no clock does. */
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { dice } from "../../../../conformance/dice.js";
import { seen } from "./seen.js";

export class Cutter {
  /** how often it has cut */
  cuts = 0;
  /** each connection that came */
  connections = seen();
  #open = new Set();
  #server = createServer((near) => this.#pass(near));
  #isDown = false;

  /**
   * @param {string} url of the server behind it
   * @param {{seed?: number, cutsMax?: number, bytesMean?: number}} [how] cuts `cutsMax` times, after `bytesMean` bytes of a connection, give or take
   */
  static async start(url, { seed = 1, cutsMax = 0, bytesMean = 10_000 } = {}) {
    const cutter = new Cutter();
    Object.assign(cutter, { dice: dice(seed), cutsMax, bytesMean, target: new URL(url) });
    cutter.#server.listen(0, "127.0.0.1");
    await once(cutter.#server, "listening");
    const through = new URL(url);
    through.port = String(cutter.#server.address().port);
    cutter.url = through.href;
    return cutter;
  }

  /** Where the server is now. @param {string} url */
  retarget(url) {
    this.target = new URL(url);
  }

  /** @param {import("node:net").Socket} near */
  #pass(near) {
    if (this.#isDown) return void near.destroy();
    const far = connect(Number(this.target.port), this.target.hostname);
    const end = () => {
      near.destroy();
      far.destroy();
      this.#open.delete(end);
    };
    this.#open.add(end);
    let left = 1 + this.dice.below(2 * this.bytesMean);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.setNoDelay(true);
      from.on("error", end);
      from.on("close", end);
      from.on("data", (bytes) => {
        left -= bytes.length;
        if (left > 0 || this.cuts >= this.cutsMax) return void to.write(bytes);
        this.cuts += 1;
        // What was before the cut may still arrive, the rest does not.
        to.end(bytes.subarray(0, bytes.length + left));
        from.destroy();
        left = Infinity;
      });
    }
    this.connections.add(near);
  }

  /** Nobody gets through, as on a train. */
  down() {
    this.#isDown = true;
    for (const end of [...this.#open]) end();
  }

  up() {
    this.#isDown = false;
  }

  async stop() {
    this.down();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
