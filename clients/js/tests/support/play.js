/** A client and a fake server for each scenario, both gone afterwards; and whatever nobody waited for is a failure. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "@weeziq/client";
import { FakeServer } from "./fake-server.js";
import { heard } from "./seen.js";

const SCENARIO_MS_MAX = 120_000;
/** Quick where a test waits for it, long where it must not come. */
export const QUICK = { backoff: { minMs: 10, maxMs: 40 } };
export const ANN = { userId: "ann", userName: "Ann" };

const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));

/**
 * @param {string} name
 * @param {(s: Scene) => Promise<void>} play
 * @param {{timeout?: number}} [options]
 */
export function scenario(name, play, { timeout = SCENARIO_MS_MAX } = {}) {
  test(name, { timeout }, async () => {
    const scene = new Scene();
    try {
      await play(scene);
    } finally {
      await scene.end();
    }
    assert.deepEqual(unhandled, [], "unhandled rejections");
  });
}

export class Scene {
  #ends = [];

  /** @param {Record<string, import("./fake-server.js").Answer>} [answers] @param {number} [port] */
  async serve(answers, port) {
    const server = await FakeServer.start(answers, port);
    this.#ends.push(() => server.stop());
    return server;
  }

  /** @param {string} url @param {import("@weeziq/client").Options} [options] */
  connect(url, options) {
    const client = connect(url, { ...QUICK, ...options });
    this.#ends.push(() => client.close());
    return Object.assign(client, { statuses: heard(client, "status"), errors: heard(client, "error") });
  }

  /** @param {() => unknown} undo */
  after(undo) {
    this.#ends.push(undo);
  }

  async end() {
    for (const end of this.#ends.reverse()) await end();
  }
}

/** @param {Promise<unknown>} promise @param {string} code */
export async function refused(promise, code) {
  const error = await promise.then(
    (value) => assert.fail(`expected ${code}, got ${JSON.stringify(value)}`),
    (reason) => reason,
  );
  assert.equal(error.name, "WeeziqError", String(error));
  assert.equal(error.code, code, error.message);
  return error;
}
