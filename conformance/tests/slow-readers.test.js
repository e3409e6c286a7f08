/**
 * Whoever does not read: what is kept for them is bounded, what may be lost is lost first, what they asked for is not held against
 * them, and everyone else gets everything. That nobody waits for them is in ordering.test.js.
 */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { join, say, sayMany, suite } from "../scenario.js";
import { assertShape } from "../shape.js";

const { scenario } = suite({}, { needs: "backpressure" });

const MIB = 1024 * 1024;
/** What the contract lets wait for one reader. */
const QUEUE_BYTES = MIB;
/** Buffers grow by doubling; and what a process holds besides, in buffers of its own, in storage, in an allocator's reserves. */
const GROWTH = 2;
const BESIDES_BYTES = 96 * MIB;
/** More than a queue and what two kernels buffer for a loopback connection. */
const FLOOD_BYTES = 12 * MIB;
const PATIENCE_MS = 60_000;
const SCENARIO_MS = 300_000;

const text = "x".repeat(15_000);
const gapless = (length, from = 1) => Array.from({ length }, (_, n) => from + n);
const said = (client) => client.frames.filter((f) => f.type === "new-message").map((f) => f.seq);

/** Members that stop reading as soon as they are in, and never go on by themselves. */
async function stalled(s, room, count) {
  const join = async (n) => {
    const client = await s.connect({ handshakeTimeout: PATIENCE_MS });
    client.send({ type: "join-room", roomId: room, userId: `stalled-${n}`, userName: "Stalled" });
    await client.next("joined-room", PATIENCE_MS);
    client.socket.pause();
    return client;
  };
  return Promise.all(gapless(count).map(join));
}

/**
 * With a host of its own, as the most that a process has ever held is all that there is to see.
 * @param {string} name
 * @param {(s: import("../scenario.js").Scenario, watch: () => (costs: number) => void) => Promise<void>} play `watch` begins to
 *   look at the memory; what it returns holds the growth since then against the bytes that the scenario may cost
 */
function measured(name, play) {
  describe(name, () => {
    const { host, scenario } = suite({}, { needs: "backpressure" });
    const peak = () => (host.capabilities.memory ? host.memoryBytesPeak() : 0);
    const watch = () => {
      const before = peak();
      return (costs) => {
        const [grown, allowed] = [peak() - before, costs + BESIDES_BYTES].map((bytes) => Math.round(bytes / MIB));
        assert.ok(grown <= allowed, `grew by ${grown} MiB, ${allowed} would be fine`);
      };
    };
    scenario(name, (s) => play(s, watch), { timeout: SCENARIO_MS });
  });
}

measured("two hundred that do not read cost a queue each, and those who read get everything in order", async (s, watch) => {
  const [room, count, total] = [s.unique("room"), 200, Math.ceil(FLOOD_BYTES / text.length)];
  const [ann, bob] = [await s.member(room, "ann"), await s.member(room, "bob")];
  const slow = await stalled(s, room, count);
  const assertCosts = watch();
  await sayMany(ann, room, "ann", total, () => text);
  for (const reader of [ann, bob]) assert.deepEqual((await reader.take(total, "new-message", PATIENCE_MS)).map((f) => f.seq), gapless(total));
  assertCosts(count * QUEUE_BYTES * GROWTH);

  // Some are enough to look at: all of it is a gigabyte.
  for (const client of slow.slice(0, 10)) {
    client.socket.resume();
    const { code } = await client.untilClosed(PATIENCE_MS);
    // 4008 if the close frame could still be written, 1006 if the connection had to be cut.
    assert.ok([4008, 1006].includes(code), `closed with ${code}`);
    assert.deepEqual(said(client), gapless(said(client).length), "what it did get is without a gap");
  }
  const lastSeq = total - 3;
  const back = await s.connect();
  assertShape(await join(back, room, "stalled-1", { epoch: ann.joined.epoch, lastSeq }), { resumed: true });
  assert.deepEqual((await back.take(3, "new-message")).map((f) => f.seq), gapless(3, total - 2));
});

/** A kilobyte or two of it, of whichever kind. */
const status = (room) => ({ type: "user-online", roomId: room, userId: "𝄢".repeat(128), userName: "𝄞".repeat(256), status: "𝄢".repeat(256) });
const STATUS_BYTES = 4 * (128 + 256 + 256);

for (const [how, everyNth] of [["alone", Infinity], ["among messages", 50]]) {
  scenario(`presence and typing ${how} cost a slow reader nothing but themselves: it stays, and has each message`, async (s) => {
    const room = s.unique("room");
    const [ann, bob, [slow]] = [await s.member(room, "ann"), await s.member(room, "bob"), await stalled(s, room, 1)];
    const count = Math.ceil(FLOOD_BYTES / STATUS_BYTES);
    for (let n = 1; n <= count; n += 1) {
      ann.send(n % 2 ? status(room) : { type: "typing-start", roomId: room, userId: "ann" });
      ann.send(status(room));
      if (n % everyNth === 0) await say(ann, room, "ann", "in between");
      else if (n % 200 === 0) await ann.fence(room);
    }
    for (const message of ["one", "two", "three"]) await say(ann, room, "ann", message);
    slow.socket.resume();
    const last = await slow.next({ type: "new-message", message: "three" }, PATIENCE_MS);
    assert.deepEqual(said(slow), gapless(last.seq));
    await slow.fence(room);
    await bob.fence(room);
    const volatile = (client) => client.frames.filter((f) => ["user-presence", "user-typing"].includes(f.type)).length;
    assert.ok(volatile(slow) < volatile(bob), `all ${volatile(bob)} were kept, though nobody read`);
    assert.equal(slow.closed, null);
  }, { timeout: SCENARIO_MS });
}

measured("a replay is not held against who asked for it, however long it takes them to read", async (s, watch) => {
  const [room, total] = [s.unique("room"), 1_000];
  const ann = await s.member(room, "ann");
  await sayMany(ann, room, "ann", total, () => text);
  const assertCosts = watch();
  const slow = await s.connect();
  slow.socket.pause();
  slow.send({ type: "join-room", roomId: room, userId: "slow", userName: "Slow", epoch: ann.joined.epoch, lastSeq: 0 });
  await ann.next({ type: "user-joined", userId: "slow" }, PATIENCE_MS);
  // Half a queue more, which counts.
  await sayMany(ann, room, "ann", 30, () => text);
  await ann.fence(room);
  slow.socket.resume();
  assertShape(await slow.next("joined-room", PATIENCE_MS), { resumed: true });
  await slow.next({ type: "new-message", seq: total + 30 }, PATIENCE_MS);
  assert.deepEqual(said(slow), gapless(total + 30));
  await slow.fence(room);
  assertCosts(GROWTH * total * text.length);
});

measured("who asks for a history again and again without reading costs one reply", async (s, watch) => {
  const [room, askers, questions, messages] = [s.unique("room"), 20, 500, 200];
  const ann = await s.member(room, "ann");
  await sayMany(ann, room, "ann", messages, () => text);
  const slow = [];
  for (let n = 0; n < askers; n += 1) slow.push(await s.connect());
  const assertCosts = watch();
  for (const client of slow) {
    client.socket.pause();
    for (let n = 0; n < questions; n += 1) client.send({ type: "fetch-history", roomId: room, limit: messages, id: `q-${n}` });
  }
  // The room has work to do besides, and the questions have every chance to be answered.
  const acks = await sayMany(ann, room, "ann", 300, () => "and on");
  assert.equal(acks.at(-1).seq, messages + 300);
  for (let n = 0; n < 20; n += 1) await ann.fence(room);
  const reply = messages * text.length;
  assertCosts(askers * (reply * GROWTH + QUEUE_BYTES));

  const [reader] = slow;
  reader.socket.resume();
  for (let n = 0; n < 5; n += 1) assertShape(await reader.next("message-history", PATIENCE_MS), { replyTo: `q-${n}` });
});
