/** Through a network that cuts connections at random, on a real host: everything once, in order, and nothing lost. */
import assert from "node:assert/strict";
import { SEEDS } from "../../../conformance/dice.js";
import { NodeWebSocket } from "../src/node-websocket.js";
import { cutter, hosted, hostName, unique } from "./support/host.js";
import { scenario } from "./support/play.js";
import { heard } from "./support/seen.js";

const SCENARIO_MS = 600_000;
const GUARD_MS = 580_000;
const PATIENT = { backoff: { minMs: 5, maxMs: 50 }, queueMax: 20_000 };
// What is at stake here is the wire; waiting for the disk at each of 10,000 messages would be most of the time.
const host = hosted(hostName === "native" ? { DURABILITY: "normal" } : {});

/** @param {any} room */
const history = (room) => {
  const messages = heard(room, "message");
  return Object.assign(messages, { texts: () => messages.all.map(({ message }) => message), seqs: () => messages.all.map(({ seq }) => seq) });
};

scenario("10,000 messages through 50 cuts: each exactly once and in order, for who sends and for who reads", async (s) => {
  const COUNT = 10_000;
  // Few bytes, as some pairs of client and host compress.
  const ways = [await cutter(s, host, { seed: 1, cutsMax: 30, bytesMean: 15_000 }), await cutter(s, host, { seed: 2, cutsMax: 20, bytesMean: 8_000 })];
  const name = unique("room");
  // One of them with what Node 20 gets, whichever Node this is.
  const sockets = [{}, { WebSocket: NodeWebSocket }];
  const [sender, reader] = ways.map(({ url }, n) => s.connect(url, { ...PATIENT, ...sockets[n] }).join(name, { userId: `user-${n}`, userName: "User" }));
  const lists = [sender, reader].map(history);
  await Promise.all([sender.ready, reader.ready]);
  const texts = Array.from({ length: COUNT }, (_, n) => `message ${n + 1}`);
  const acks = await Promise.all(texts.map((text) => sender.send(text)));
  assert.deepEqual(acks.map(({ seq }) => seq), texts.map((_, n) => n + 1));
  for (const list of lists) {
    await list.next({ seq: COUNT }, GUARD_MS);
    assert.deepEqual(list.seqs(), texts.map((_, n) => n + 1));
    assert.deepEqual(list.texts(), texts);
  }
  assert.deepEqual(ways.map(({ cuts }) => cuts), [30, 20]);
}, { timeout: SCENARIO_MS });

for (const seed of SEEDS) {
  scenario(`seed ${seed}: five who talk at once, each through a network of its own, and edit what they said: one log for all`, async (s) => {
    const EACH = 100;
    const name = unique("room");
    const ways = await Promise.all([1, 2, 3, 4, 5].map((n) => cutter(s, host, { seed: seed * 10 + n, cutsMax: 10, bytesMean: 6_000 })));
    const rooms = ways.map(({ url }, n) => s.connect(url, PATIENT).join(name, { userId: `user-${n}`, userName: "User" }));
    const logs = rooms.map((room) => {
      const log = heard(room, "message");
      for (const event of ["updated", "deleted"]) room.on(event, (frame) => log.add({ event, ...frame }));
      return log;
    });
    await Promise.all(rooms.map(({ ready }) => ready));
    let edits = 0;
    await Promise.all(rooms.map(async (room, n) => {
      for (let from = 0; from < EACH; from += 20) {
        const acks = await Promise.all(Array.from({ length: 20 }, (_, at) => room.send(`${n}: ${from + at}`)));
        // An edit that is cut off may or may not have happened.
        edits += await room.edit(acks[0].id, "edited").then(() => 1, ({ code }) => assert.equal(code, "interrupted") ?? 0);
      }
    }));
    const { seq: end } = await rooms[0].send("the end");
    for (const log of logs) await log.next({ seq: end }, GUARD_MS);
    for (const [n, log] of logs.entries()) {
      assert.deepEqual(log.all.map(({ seq }) => seq), Array.from({ length: end }, (_, at) => at + 1), `user-${n}`);
      assert.deepEqual(log.all, logs[0].all);
      const own = log.all.filter(({ event, message }) => !event && message.startsWith(`${n}: `));
      assert.deepEqual(own.map(({ message }) => message), Array.from({ length: EACH }, (_, at) => `${n}: ${at}`));
    }
    assert.ok(logs[0].all.filter(({ event }) => event === "updated").length >= edits);
    assert.ok(ways.every(({ cuts }) => cuts > 0));
  }, { timeout: SCENARIO_MS });
}

scenario("away for more than the server replays: every message comes all the same", async (s) => {
  const COUNT = 2_500;
  const name = unique("room");
  const way = await cutter(s, host);
  const reader = s.connect(way.url, PATIENT).join(name, { userId: "reader", userName: "Reader" });
  const messages = history(reader);
  const resets = heard(reader, "reset");
  const sender = s.connect(host.wsUrl, PATIENT).join(name, { userId: "sender", userName: "Sender" });
  await reader.ready;
  await sender.send("message 1");
  await messages.next({ seq: 1 });
  way.down();
  await Promise.all(Array.from({ length: COUNT - 1 }, (_, n) => sender.send(`message ${n + 2}`)));
  way.up();
  await messages.next({ seq: COUNT }, GUARD_MS);
  assert.deepEqual(messages.texts(), Array.from({ length: COUNT }, (_, n) => `message ${n + 1}`));
  assert.deepEqual(resets.all.map(({ reason, after, seq }) => [reason, after, seq]), [["missed", 1, COUNT]]);
}, { timeout: SCENARIO_MS });
